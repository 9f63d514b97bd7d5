#!/usr/bin/env bash
# Packages: @nostr-dev-kit/ndk 3.0.3, nostr-tools 2.25.2, ws 8.18.0 (npm).
#
# Guess: a client that connects again by itself also repeats the requests that were open, or it need not connect.
#
# Behaviour: a connection that is lost is made again after a second, and stays; the subscription that was running on it
# is not asked for again, by neither way of naming the relay. It is still open as far as the program can see: no "close",
# no "closed", no error.
# Seen (the relay cuts the first connection, and says on each later one what it is asked for):
#   relays of the client     2 connections, 1 REQ, running
#   relays of the request    2 connections, 1 REQ, running
#
# Why it matters: the status of the relay says "connected", and the feed stays empty until the program starts again. A
# restart of a relay that takes a second costs all such listeners, whatever close code it sends.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps \
    @nostr-dev-kit/ndk@3.0.3 nostr-tools@2.25.2 ws@8.18.0

cat > look.mjs <<'JS'
import WebSocket, {WebSocketServer} from 'ws'
globalThis.WebSocket ??= WebSocket
const {default: NDK, NDKRelaySet} = await import('@nostr-dev-kit/ndk')

setTimeout(() => process.exit(2), 50000)
const look = async named => {
  const server = new WebSocketServer({host: '127.0.0.1', port: 0})
  await new Promise(resolve => server.on('listening', resolve))
  let connections = 0, requests = 0, state = 'running'
  server.on('connection', socket => {
    connections++
    socket.on('message', data => {
      const [word, id] = JSON.parse(data)
      if (word !== 'REQ') return
      requests++
      socket.send(JSON.stringify(['EOSE', id]))
      if (connections === 1) setTimeout(() => socket.terminate(), 1500)
    })
  })
  const url = `ws://127.0.0.1:${server.address().port}/`
  const ndk = new NDK({explicitRelayUrls: [url], enableOutboxModel: false})
  await ndk.connect(3000)
  const relays = named ? {relaySet: NDKRelaySet.fromRelayUrls([url], ndk)} : {}
  const subscription = ndk.subscribe({kinds: [1]}, {closeOnEose: false, ...relays})
  for (const end of ['close', 'closed']) subscription.on(end, () => { state = end })
  await new Promise(resolve => setTimeout(resolve, 15000))
  return `relays of the ${named ? 'request' : 'client'}: ${connections} connections, ${requests} requests, ${state}`
}
console.log((await Promise.all([false, true].map(look))).join('\n'))
process.exit(0)
JS
seen=$(node look.mjs)
expected='relays of the client: 2 connections, 1 requests, running
relays of the request: 2 connections, 1 requests, running'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
