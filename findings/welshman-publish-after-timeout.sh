#!/usr/bin/env bash
# Packages: @welshman/net, @welshman/lib and @welshman/util 0.8.15, nostr-tools 2.25.2, ws 8.18.0 (npm).
#
# Guess: when publish() says "timeout" or "aborted", the library is done with the event. It may have been stored or not,
# and only the program sends it again.
#
# Behaviour: the connection keeps each event for which no OK has come, whatever the call was told, and sends it again,
# on its own, each time that the relay comes back. Nothing but an OK ends this, not even the AbortSignal of the call.
# Seen (a relay that answers no EVENT, and closes its first two connections with 1012):
#   the calls        timeout after one second, aborted after two
#   connection 1     both events
#   connection 2     both events again
#   connection 3     both events again
#
# Why it matters: a post that its author gave up, or wrote anew because "it failed", comes out after the next restart of
# the relay, perhaps hours later. A relay that is silent where OK is due (on ephemeral events, say) gets all events of
# the session again after each restart, from every such client at once.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps \
    @welshman/net@0.8.15 @welshman/lib@0.8.15 @welshman/util@0.8.15 nostr-tools@2.25.2 @noble/curves@1.9.7 ws@8.18.0

cat > look.mjs <<'JS'
import WebSocket, {WebSocketServer} from 'ws'
import {finalizeEvent, generateSecretKey} from 'nostr-tools/pure'
import {publish} from '@welshman/net'
globalThis.WebSocket ??= WebSocket

setTimeout(() => process.exit(2), 50000)
const server = new WebSocketServer({host: '127.0.0.1', port: 0})
await new Promise(resolve => server.on('listening', resolve))
const got = []
const third = new Promise(resolve => server.on('connection', socket => {
  const contents = []
  got.push(contents)
  if (got.length < 3) setTimeout(() => socket.close(1012), 3000)
  else setTimeout(resolve, 3000)
  socket.on('message', data => {
    const [word, event] = JSON.parse(data)
    if (word === 'EVENT') contents.push(event.content)
  })
}))
const url = `ws://127.0.0.1:${server.address().port}/`
const key = generateSecretKey()
const call = async (content, options) => {
  const event = finalizeEvent({kind: 1, created_at: 1700000000, tags: [], content}, key)
  const answer = await publish({relays: [url], event, ...options})
  return `the call with ${content}: ${answer[url].status}, connections so far: ${got.length}`
}
const stop = new AbortController()
setTimeout(() => stop.abort(), 2000)
console.log((await Promise.all([
  call('a time-out', {timeout: 1000}), call('a signal', {signal: stop.signal})])).join('\n'))
await third
for (const [n, contents] of got.entries()) console.log(`connection ${n + 1}: ${contents.sort().join(', ')}`)
process.exit(0)
JS
seen=$(node look.mjs)
expected='the call with a time-out: timeout, connections so far: 1
the call with a signal: aborted, connections so far: 1
connection 1: a signal, a time-out
connection 2: a signal, a time-out
connection 3: a signal, a time-out'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
