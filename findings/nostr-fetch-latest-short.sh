#!/usr/bin/env bash
# Package: nostr-fetch 0.17.0 (npm), with ws 8.18.3 for the relay and the connection.
#
# Guess: fetchLatestEvents(relays, filter, 25) goes on page by page as long as the relay has events, and gives the 25
# newest, also where the relay sends 10 a request at most.
#
# Behaviour: each further page is asked for up to and with the second of the last event, and with a limit of what is
# still wanted. The relay answers with the newest of that, which are the events of that second that are there already;
# if they fill the limit, nothing new comes, and the library takes that for the end. So the last event never comes, and
# where several share a second, several do not. fetchAllEvents, which keeps its limit large, gets them all.
# Seen (33 events in the relay, 10 a request):
#   one event a second    11 asked: 10 given, 25 asked: 24 given, all asked: 33
#   five a second         14 asked: 10 given, 25 asked: 20 given, all asked: 33
#
# Why it matters: whoever compares counts concludes that the relay lost events, for the request is valid, each answer
# is right, and no error is raised. Ask for more than is needed, or for everything since a time. A relay sees the same
# second asked for with limit 1 once or twice, and then nothing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts nostr-fetch@0.17.0 nostr-tools@2.25.2 ws@8.18.3

cat > look.mjs <<'JS'
import {NostrFetcher} from 'nostr-fetch'
import {finalizeEvent} from 'nostr-tools'
import WebSocket, {WebSocketServer} from 'ws'

console.log = () => {}  // the library prints its relays
const secret = Uint8Array.from(Buffer.from('00'.repeat(31) + '01', 'hex'))
const notes = perSecond => Array.from({length: 33}, (_, number) => finalizeEvent(
  {kind: 1, content: `${number}`, tags: [], created_at: 1700000000 - Math.floor(number / perSecond)}, secret))

async function relay(events) {  // which stand newest first
  const server = new WebSocketServer({port: 0, host: '127.0.0.1'})
  server.on('connection', socket => socket.on('message', data => {
    const [verb, id, filter] = JSON.parse(data), send = message => socket.send(JSON.stringify(message))
    if (verb !== 'REQ') return
    const page = events.filter(({created_at}) => created_at <= (filter.until ?? Infinity))
    for (const event of page.slice(0, Math.min(10, filter.limit ?? 10))) send(['EVENT', id, event])
    send(['EOSE', id])
  }))
  await new Promise(resolve => server.on('listening', resolve))
  return `ws://127.0.0.1:${server.address().port}`
}
for (const perSecond of [1, 5]) {
  const urls = [await relay(notes(perSecond))], filter = {kinds: [1]}
  const fetcher = NostrFetcher.init({webSocketConstructor: WebSocket})
  for (const count of [11, 14, 25]) {
    const found = await fetcher.fetchLatestEvents(urls, filter, count)
    process.stdout.write(`${perSecond} a second: ${count} asked, ${found.length} given\n`)
  }
  const all = await fetcher.fetchAllEvents(urls, filter, {})
  process.stdout.write(`${perSecond} a second: all asked, ${all.length} given\n`)
}
process.exit(0)
JS
seen=$(timeout 60 node look.mjs)
printf '%s\n' "$seen"
expected='1 a second: 11 asked, 10 given
1 a second: 14 asked, 13 given
1 a second: 25 asked, 24 given
1 a second: all asked, 33 given
5 a second: 11 asked, 10 given
5 a second: 14 asked, 10 given
5 a second: 25 asked, 20 given
5 a second: all asked, 33 given'
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
