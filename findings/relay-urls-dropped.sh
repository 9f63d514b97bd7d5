#!/usr/bin/env bash
# Packages: applesauce-core 6.2.0, @welshman/util 0.8.15 (with its peers @welshman/lib 0.8.15 and @noble/curves 1.9.7)
# (npm), nostr-sdk 0.45.1 (PyPI, rust-nostr).
#
# Guess: each URL with wss:// and a host that can be reached is a relay to every library; what looks odd fails when it
# is dialled.
#
# Behaviour: two libraries drop relays by the look of the URL, without a word. applesauce wants a dot and at most six
# letters after it, so a domain of two parts whose last is longer (.network, .systems, .community) is no relay, though
# its subdomain is one; nor is a path with a comma, or an IPv6 address. welshman wants a dot in the host, which an
# IPv6 address has not; and as its lists leave such tags out when they are read, adding a relay to a list publishes it
# without them.
# Seen (which of the relays in a kind 10002 are read):
#                                  applesauce   welshman   nostr-sdk
#   wss://relay.example.com/       yes          yes        yes
#   wss://relay.example/           no           yes        yes
#   wss://one.relay.example/       yes          yes        yes
#   wss://example.com/team,eu      no           yes        yes
#   wss://[2001:db8::1]:7777/      no           no         yes
#
# Why it matters: to the operator of such a relay some clients never come, and no log says why; its user sees it in the
# list that other programs show. The address that a relay gives out is best a name of three parts, or one with a short
# end, and a path of plain letters.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check nostr-sdk==0.45.1
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts applesauce-core@6.2.0 \
    @welshman/util@0.8.15 @welshman/lib@0.8.15 @noble/curves@1.9.7 nostr-tools@2.25.2

cat > look.mjs <<'JS'
import {writeFileSync} from 'node:fs'
import {addToListPublicly, asDecryptedEvent, getRelaysFromList, readList} from '@welshman/util'
import {getOutboxes} from 'applesauce-core/helpers'
import {finalizeEvent} from 'nostr-tools'

const urls = [
  'wss://relay.example.com/', 'wss://relay.example/', 'wss://one.relay.example/', 'wss://example.com/team,eu',
  'wss://[2001:db8::1]:7777/',
]
const secret = Uint8Array.from(Buffer.from('00'.repeat(31) + '01', 'hex'))
const event = finalizeEvent({kind: 10002, tags: urls.map(url => ['r', url]), content: '', created_at: 1700000000}, secret)
writeFileSync('event.json', JSON.stringify(event))
console.log('applesauce', getOutboxes(event).join(' '))
const list = readList(asDecryptedEvent(event))
console.log('welshman', getRelaysFromList(list, 'write').join(' '))
const longer = await addToListPublicly(list, ['r', 'wss://new.example.com/']).reconcile(text => text)
const left = new Set(longer.tags.map(([, url]) => url))
console.log('welshman, one added:', left.has('wss://new.example.com/'), '- gone:', urls.filter(url => !left.has(url)).join(' '))
JS
cat > look.py <<'PY'
from nostr_sdk import Event, extract_relay_list

with open("event.json") as file:
    event = Event.from_json(file.read())
read = {str(url) for url in extract_relay_list(event)}
print("nostr-sdk", *(tag[1] for tag in (tag.to_vec() for tag in event.tags()) if tag[1] in read))
PY
seen=$(node look.mjs; env/bin/python look.py)
printf '%s\n' "$seen"
expected='applesauce wss://relay.example.com/ wss://one.relay.example/
welshman wss://relay.example.com/ wss://relay.example/ wss://one.relay.example/ wss://example.com/team,eu
welshman, one added: true - gone: wss://[2001:db8::1]:7777/
nostr-sdk wss://relay.example.com/ wss://relay.example/ wss://one.relay.example/ wss://example.com/team,eu wss://[2001:db8::1]:7777/'
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
