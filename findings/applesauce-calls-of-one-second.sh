#!/usr/bin/env bash
# Packages: applesauce-relay 6.2.1 with nostr-tools 2.25.2 (npm), RelayManagement (NIP-86).
#
# Guess: each call is signed by an event of its own (NIP-98), so a server that remembers the ids of events that were
# used, as a guard against replays, takes every honest call once.
#
# Behaviour: the event has the URL, the method, the hash of the body and the time in whole seconds, and nothing that
# differs from call to call. Two equal calls of one second have the same id; only their signatures differ.
# Seen: two calls of allowPubkey with the same key at once: ids equal: yes, signatures equal: no.
#
# Why it matters: a double click, two panels that show the same list, or a call that is tried again at once are replays
# to a server that goes by ids, and the second one is answered 401; one that goes by signatures takes both, and replays
# by whoever signs again. What helps is to remember the answer beside the id, and to give it again.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts applesauce-relay@6.2.1 nostr-tools@2.25.2

cat > look.mjs <<'JS'
import {createServer} from 'node:http'
import {finalizeEvent, generateSecretKey, getPublicKey, verifyEvent} from 'nostr-tools/pure'
import {RelayManagement} from 'applesauce-relay'

const key = generateSecretKey()
const signer = {signEvent: async draft => finalizeEvent(draft, key), getPublicKey: async () => getPublicKey(key)}
const events = []
const server = createServer((request, response) => {
  events.push(JSON.parse(Buffer.from(request.headers.authorization.split(' ')[1], 'base64')))
  response.setHeader('Content-Type', 'application/nostr+json+rpc')
  response.end('{"result":true}')
}).listen(0, '127.0.0.1')
await new Promise(done => server.once('listening', done))
const management = new RelayManagement({url: `ws://127.0.0.1:${server.address().port}/`}, signer)
for (let tries = 0; tries < 5; tries++) {
  events.length = 0
  await Promise.all([management.allowPubkey('ab'.repeat(32)), management.allowPubkey('ab'.repeat(32))])
  if (events[0].created_at === events[1].created_at) break // else the second has changed in between
}
const [one, other] = events
console.log(`both valid: ${verifyEvent({...one}) && verifyEvent({...other}) ? 'yes' : 'no'}`)
console.log(`same second: ${one.created_at === other.created_at ? 'yes' : 'no'}`)
console.log(`ids equal: ${one.id === other.id ? 'yes' : 'no'}`)
console.log(`signatures equal: ${one.sig === other.sig ? 'yes' : 'no'}`)
server.closeAllConnections()
server.close()
JS
seen=$(timeout 60 node look.mjs)
expected='both valid: yes
same second: yes
ids equal: yes
signatures equal: no'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
