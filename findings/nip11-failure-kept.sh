#!/usr/bin/env bash
# Packages: rx-nostr 3.7.5, @nostrify/nostrify 0.54.1, nostr-tools 2.25.2, ws 8.18.0 (npm).
#
# Guess: a library that keeps a relay's information document (NIP-11) keeps what it got. If it could not be had, because
# the relay was just starting, the next one who needs it asks again, at the latest on the next connection.
#
# Behaviour: the failure is what is kept, for as long as the program runs. rx-nostr takes it for an empty document, and
# from then on the relay has no limits: it opens five subscriptions where two are allowed, and again on each later
# connection. In nostrify it is enough that one caller was in a hurry: its signal ends the one request that all share,
# and whoever asks that connection later is told "no document", at once.
# Seen (a relay whose document says max_subscriptions 2; asked is the number of requests for the document):
#   rx-nostr, document at once           2 REQs, asked 1
#   rx-nostr, 503 the first time         5 REQs; 5 REQs after it came back, asked 1
#   nostrify, 503 the first time         none, none, asked 1
#   nostrify, first caller gives up      none for all three, asked 1
#
# Why it matters: a web server that answers 503 for the second that the relay behind it needs to start leaves clients
# that run for days without its limits, and the relay then refuses what they ask beyond them. A relay should have its
# document ready as soon as anything listens.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps \
    rx-nostr@3.7.5 @nostrify/nostrify@0.54.1 nostr-tools@2.25.2 ws@8.18.0

cat > look.mjs <<'JS'
import {createServer} from 'node:http'
import WebSocket, {WebSocketServer} from 'ws'
import {verifyEvent} from 'nostr-tools/pure'
import {createRxForwardReq, createRxNostr} from 'rx-nostr'
import {NRelay1} from '@nostrify/nostrify'
globalThis.WebSocket ??= WebSocket

setTimeout(() => process.exit(2), 50000)
const pause = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds))
const relay = async ({fails = 0, takes = 0}) => {
  const seen = {asked: 0, requests: [], sockets: []}
  const server = createServer(async (_, answer) => {
    const failed = ++seen.asked <= fails
    await pause(takes)
    answer.writeHead(failed ? 503 : 200, {'content-type': 'application/nostr+json'})
    answer.end(failed ? 'starting' : '{"limitation":{"max_subscriptions":2}}')
  })
  new WebSocketServer({server}).on('connection', socket => {
    const number = seen.sockets.push(socket)
    seen.requests.push(0)
    socket.on('message', data => { if (JSON.parse(data)[0] === 'REQ') seen.requests[number - 1]++ })
  })
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
  seen.url = `ws://127.0.0.1:${server.address().port}/`
  return seen
}

const rx = async (name, options) => {
  const seen = await relay(options)
  const client = createRxNostr({verifier: async event => verifyEvent(event), websocketCtor: WebSocket})
  client.setDefaultRelays([seen.url])
  for (let n = 0; n < 5; n++) {
    const request = createRxForwardReq()
    client.use(request).subscribe()
    request.emit([{kinds: [n]}])
  }
  await pause(2000)
  seen.sockets[0].close(1012)
  await pause(8000)
  console.log(`rx-nostr, ${name}: REQs by connection ${seen.requests.join(' and ')}, asked ${seen.asked}`)
}
const ify = async (name, options, signal) => {
  const seen = await relay(options)
  const client = new NRelay1(seen.url)
  const answers = await Promise.all([client.getRelayInfo({signal}), client.getRelayInfo()])
  answers.push(await client.getRelayInfo())
  const words = answers.map(info => info ? info.limitation.max_subscriptions : 'none')
  console.log(`nostrify, ${name}: ${words.join(', ')}, asked ${seen.asked}`)
}
await rx('document at once', {})
await rx('503 the first time', {fails: 1})
await ify('document at once', {})
await ify('503 the first time', {fails: 1})
await ify('first caller gives up', {takes: 1000}, AbortSignal.timeout(200))
process.exit(0)
JS
seen=$(node look.mjs)
expected='rx-nostr, document at once: REQs by connection 2 and 2, asked 1
rx-nostr, 503 the first time: REQs by connection 5 and 5, asked 1
nostrify, document at once: 2, 2, 2, asked 1
nostrify, 503 the first time: none, none, none, asked 1
nostrify, first caller gives up: none, none, none, asked 1'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
