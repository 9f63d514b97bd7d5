#!/usr/bin/env bash
# Package: nostr-tools 2.25.2 (npm), nip98.
#
# Guess: the `payload` tag of a token is the SHA-256 of the body, as NIP-98 has it, whether the body is given as an
# object, as text or as bytes.
#
# Behaviour: what is given goes through JSON.stringify first, whatever it is. Text gets quotation marks around it and
# bytes become an object of numbers, and then that is hashed. An object fits only a body that is written exactly as
# JSON.stringify writes it: without the spaces that other languages put after commas and colons.
# Seen (is the tag the hash of what is sent?):
#   object, sent as JSON.stringify writes it   yes
#   object, sent with spaces after the colons  no
#   text, sent as it is                        no
#   bytes, sent as they are                    no
#
# Why it matters: whoever signs an upload (bytes) or a call that was written by hand (text) is refused by each server
# that hashes what it got, with "payload does not match", though nothing was changed on the way. A server that wants to
# help can say which of the two hashes it has seen.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts nostr-tools@2.25.2

cat > look.mjs <<'JS'
import {createHash} from 'node:crypto'
import {finalizeEvent, generateSecretKey} from 'nostr-tools/pure'
import {getToken, unpackEventFromToken} from 'nostr-tools/nip98'

const key = generateSecretKey()
const sha256 = body => createHash('sha256').update(body).digest('hex')
const compact = '{"method":"supportedmethods","params":[]}'
const spaced = '{"method": "supportedmethods", "params": []}'
const look = async (name, given, sent) => {
  const token = await getToken('https://relay.example.com/', 'post', draft => finalizeEvent(draft, key), true, given)
  const tag = (await unpackEventFromToken(token)).tags.find(([name]) => name === 'payload')
  console.log(`${name}: ${tag[1] === sha256(sent) ? 'yes' : 'no'}`)
}
await look('object, compact', JSON.parse(compact), compact)
await look('object, spaced', JSON.parse(spaced), spaced)
await look('text', compact, compact)
await look('bytes', new TextEncoder().encode(compact), compact)
JS
seen=$(node look.mjs)
expected='object, compact: yes
object, spaced: no
text: no
bytes: no'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
