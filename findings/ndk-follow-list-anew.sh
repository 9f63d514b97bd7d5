#!/usr/bin/env bash
# Packages: @nostr-dev-kit/ndk 3.0.3, @welshman/util 0.8.15 (with its peers @welshman/lib 0.8.15 and @noble/curves 1.9.7)
# (npm).
#
# Guess: to follow one more person is to add a tag to the follow list (kind 3) that is there. What another client wrote
# into it stays: hints and petnames (NIP-02), followed hashtags, the relays that some clients keep in the content.
#
# Behaviour: NDK's user.follow() takes the keys out of the list, and publishes a new list of these keys alone.
# welshman's addToListPublicly keeps everything.
# Seen (a list of two `p` tags with hint and petname, a `t` tag and relays in the content; one more is followed):
#   NDK        ["p", key], ["p", key], ["p", key]; content ""
#   welshman   the old tags as they were, and one more; content as it was
#
# Why it matters: kind 3 is replaceable, so relays throw the fuller version away. The user finds the petnames gone in
# another client than the one that did it, and asks the relay for them. Before the list is written it is worth keeping
# a copy; a relay that keeps versions of kind 3 for a while can give it back.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts @nostr-dev-kit/ndk@3.0.3 nostr-tools@2.25.2 \
    @welshman/util@0.8.15 @welshman/lib@0.8.15 @noble/curves@1.9.7 ws@8.18.3

cat > look.mjs <<'JS'
import NDK, {NDKPrivateKeySigner} from '@nostr-dev-kit/ndk'
import {addToListPublicly, asDecryptedEvent, readList} from '@welshman/util'
import {finalizeEvent, getPublicKey} from 'nostr-tools'
import WebSocket, {WebSocketServer} from 'ws'

globalThis.WebSocket ??= WebSocket
const hex = number => '00'.repeat(31) + '0' + number, bytes = number => Uint8Array.from(Buffer.from(hex(number), 'hex'))
const [bob, carol, dave] = [2, 3, 4].map(number => getPublicKey(bytes(number)))
const tags = [['p', bob, 'wss://one.example.com/', 'bob'], ['p', carol, '', 'carol'], ['t', 'nostr']]
const content = '{"wss://one.example.com/":{"read":true,"write":true}}'
const list = finalizeEvent({kind: 3, tags, content, created_at: 1700000000}, bytes(1))
const names = {[bob]: 'BOB', [carol]: 'CAROL', [dave]: 'DAVE'}
const show = event => JSON.stringify(event.tags.map(tag => tag.map(item => names[item] ?? item))) + ' content ' + event.content

const relay = new WebSocketServer({port: 0, host: '127.0.0.1'})
relay.on('connection', socket => socket.on('message', data => {
  const [verb, subject, filter] = JSON.parse(data), send = message => socket.send(JSON.stringify(message))
  if (verb === 'REQ') {
    if (filter.kinds?.includes(3)) send(['EVENT', subject, list])
    send(['EOSE', subject])
  }
  if (verb === 'EVENT') {
    if (subject.kind === 3) console.log('NDK publishes', show(subject))
    send(['OK', subject.id, true, ''])
  }
}))
await new Promise(resolve => relay.on('listening', resolve))
const ndk = new NDK({
  explicitRelayUrls: [`ws://127.0.0.1:${relay.address().port}`], signer: new NDKPrivateKeySigner(hex(1)),
})
await ndk.connect(5000)
const user = await ndk.signer.user()
user.ndk = ndk
console.log('NDK: followed', await user.follow(dave))
const longer = addToListPublicly(readList(asDecryptedEvent(list)), ['p', dave])
console.log('welshman gives', show(await longer.reconcile(text => text)))
process.exit(0)
JS
seen=$(timeout 60 node look.mjs)
printf '%s\n' "$seen"
old='["p","BOB","wss://one.example.com/","bob"],["p","CAROL","","carol"],["t","nostr"]'
expected='NDK publishes [["p","BOB"],["p","CAROL"],["p","DAVE"]] content 
NDK: followed true
welshman gives ['"$old"',["p","DAVE"]] content {"wss://one.example.com/":{"read":true,"write":true}}'
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
