#!/usr/bin/env bash
# Packages: nostr-fetch 0.17.0, @nostrify/nostrify 0.54.1, nostr-relaypool 0.6.30, ws 8.18.0, nostr-tools 2.25.2 (npm).
#
# Guess: a client that knows ["EOSE", id] takes ["EOSE", id, ["finish"]] (NIP-67) for an EOSE too and ignores the rest,
# as readers of JSON arrays do with what they don't know.
#
# Behaviour: these three look at the length of the message and drop it. nostr-fetch waits for its own time-out of ten
# seconds and then hands out the events as if all were well, nostrify's query lasts until the caller's signal ends it
# and then throws the events away, nostr-relaypool never calls the end-of-stored-events function.
# Seen (a local relay with one event; a caller's patience of four seconds for the last two):
#                    ["EOSE", id]     ["EOSE", id, ["finish"]]
#   nostr-fetch      1 event, soon    1 event after 10 seconds
#   nostrify         1 event          AbortError
#   nostr-relaypool  EOSE             no EOSE
#
# Why it matters: a relay that adds the hint to every EOSE becomes a hundred times slower for such clients, without one
# error anywhere. Send the hint only to those that show that they know it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps \
    nostr-fetch@0.17.0 @nostrify/nostrify@0.54.1 nostr-relaypool@0.6.30 ws@8.18.0 nostr-tools@2.25.2

cat > look.mjs <<'JS'
import WebSocket, {WebSocketServer} from 'ws'
globalThis.WebSocket ??= WebSocket
const {finalizeEvent} = await import('nostr-tools')
const {NostrFetcher} = await import('nostr-fetch')
const {NRelay1} = await import('@nostrify/nostrify')
const {RelayPool} = await import('nostr-relaypool')

setTimeout(() => process.exit(2), 60000)
const secret = new Uint8Array(32)
secret[31] = 1
const event = finalizeEvent({kind: 1, created_at: 1700000000, tags: [], content: 'hello'}, secret)
const sleep = time => new Promise(resolve => setTimeout(resolve, time))

for (const extra of [[], [['finish']]]) {
  const server = new WebSocketServer({host: '127.0.0.1', port: 0})
  await new Promise(resolve => server.on('listening', resolve))
  server.on('connection', socket => socket.on('message', data => {
    const [word, id] = JSON.parse(data)
    if (word !== 'REQ') return
    socket.send(JSON.stringify(['EVENT', id, event]))
    socket.send(JSON.stringify(['EOSE', id, ...extra]))
  }))
  const url = `ws://127.0.0.1:${server.address().port}/`
  const form = extra.length ? 'with a hint:' : 'plain:'

  const fetcher = NostrFetcher.init({minLogLevel: 'none', webSocketConstructor: WebSocket})
  const start = Date.now()
  const events = await fetcher.fetchLatestEvents([url], {kinds: [1]}, 1)
  const slow = Date.now() - start > 9000
  console.log('nostr-fetch', form, events.length, slow ? 'event after its time-out' : 'event soon')
  fetcher.shutdown()

  const relay = new NRelay1(url)
  try {
    const events = await relay.query([{kinds: [1]}], {signal: AbortSignal.timeout(4000)})
    console.log('nostrify', form, events.length, 'event')
  } catch (error) {
    console.log('nostrify', form, error.name)
  }
  await relay.close()

  const log = console.error
  console.error = () => {}
  let ended = false
  const pool = new RelayPool()
  pool.subscribe([{kinds: [1]}], [url], () => {}, undefined, () => { ended = true })
  await sleep(4000)
  console.log('nostr-relaypool', form, ended ? 'EOSE' : 'no EOSE')
  pool.close()
  console.error = log
  for (const socket of server.clients) socket.terminate()
  server.close()
}
process.exit(0)
JS
seen=$(node look.mjs 2>/dev/null | grep -E '^(nostr-fetch|nostrify|nostr-relaypool) ')
expected='nostr-fetch plain: 1 event soon
nostrify plain: 1 event
nostr-relaypool plain: EOSE
nostr-fetch with a hint: 1 event after its time-out
nostrify with a hint: AbortError
nostr-relaypool with a hint: no EOSE'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
