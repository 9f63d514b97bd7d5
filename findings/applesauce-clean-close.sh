#!/usr/bin/env bash
# Packages: applesauce-relay 6.2.1, applesauce-core 6.2.0, ws 8.18.0 (npm).
#
# Guess: a live subscription comes back after the connection is lost, the sooner the more politely the relay went: a
# close with code 1012 even says "service restart".
#
# Behaviour: the other way round. After a connection that is cut, the library connects again and repeats the REQ. After
# a close frame, with each of the codes tried (1000, 1001, 1011, 1012), the subscription completes without an error; no
# connection is tried again.
# Seen, twelve seconds after the end:
#   cut             2 connections, 2 REQs, open
#   1000 to 1012    1 connection, 1 REQ, complete
#
# Why it matters: a relay that restarts with good manners loses its listeners for good, and one that is killed keeps
# them. A client that does not treat "complete" as a lost connection stops its feed without a word.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps \
    applesauce-relay@6.2.1 applesauce-core@6.2.0 ws@8.18.0

cat > look.mjs <<'JS'
import WebSocket, {WebSocketServer} from 'ws'
globalThis.WebSocket ??= WebSocket
const {Relay} = await import('applesauce-relay')

setTimeout(() => process.exit(2), 60000)
const look = async end => {
  const server = new WebSocketServer({host: '127.0.0.1', port: 0})
  await new Promise(resolve => server.on('listening', resolve))
  let connections = 0, requests = 0, state = 'open'
  server.on('connection', socket => {
    connections++
    socket.on('message', data => {
      const [word, id] = JSON.parse(data)
      if (word !== 'REQ') return
      socket.send(JSON.stringify(['EOSE', id]))
      if (++requests === 1) setTimeout(() => end === 'cut' ? socket.terminate() : socket.close(end), 300)
    })
  })
  const relay = new Relay(`ws://127.0.0.1:${server.address().port}/`)
  relay.subscription({kinds: [1]}).subscribe({complete: () => { state = 'complete' }, error: () => { state = 'error' }})
  await new Promise(resolve => setTimeout(resolve, 12300))
  return `${end}: ${connections} connections, ${requests} requests, ${state}`
}
console.log((await Promise.all(['cut', 1000, 1001, 1011, 1012].map(look))).join('\n'))
process.exit(0)
JS
seen=$(node look.mjs)
expected='cut: 2 connections, 2 requests, open
1000: 1 connections, 1 requests, complete
1001: 1 connections, 1 requests, complete
1011: 1 connections, 1 requests, complete
1012: 1 connections, 1 requests, complete'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
