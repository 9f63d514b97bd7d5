#!/usr/bin/env bash
# Packages: @nostr-dev-kit/ndk 3.0.3, applesauce-core 6.2.0, @welshman/util 0.8.15 (with its peers @welshman/lib 0.8.15
# and @noble/curves 1.9.7) (npm), nostr-sdk 0.45.1 (PyPI, rust-nostr).
#
# Guess: a relay list (NIP-65) is so simple that all read it alike. A relay in two tags, "read" and "write", is both, as
# is one whose third element is empty, for an empty marker is none.
#
# Behaviour: NDK writes two tags for a relay that is set for reading and for writing. nostr-sdk keeps one entry a relay,
# so the last tag wins, and the relay is no longer for reading. An empty marker means both to NDK and welshman, neither
# to applesauce, and nostr-sdk drops the relay. (The same URL once without a marker and once with "read": NDK itself
# joins the two when it signs, and what is left is "read".)
# Seen (what each reads of the list that NDK signed: set for both, and one with an empty marker):
#                two tags      empty marker
#   NDK          read, write   read, write
#   welshman     read, write   read, write
#   applesauce   read, write   nothing
#   nostr-sdk    write         nothing
#
# Why it matters: replies and mentions go to the relays that somebody reads from. A client on rust-nostr does not send
# them to those that NDK marked twice, and each side can show that its relays work. A program that writes such a list
# had better write one tag a relay, of two elements if it is for both.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check nostr-sdk==0.45.1
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts @nostr-dev-kit/ndk@3.0.3 applesauce-core@6.2.0 \
    @welshman/util@0.8.15 @welshman/lib@0.8.15 @noble/curves@1.9.7 nostr-tools@2.25.2

cat > look.mjs <<'JS'
import {writeFileSync} from 'node:fs'
import NDK, {NDKPrivateKeySigner, NDKRelayList} from '@nostr-dev-kit/ndk'
import {asDecryptedEvent, getRelaysFromList, readList} from '@welshman/util'
import {getInboxes, getOutboxes} from 'applesauce-core/helpers'

const ndk = new NDK({signer: new NDKPrivateKeySigner('00'.repeat(31) + '01')})
const list = new NDKRelayList(ndk)
list.readRelayUrls = ['wss://one.example.com/', 'wss://two.example.com/']
list.writeRelayUrls = ['wss://two.example.com/']
list.tags.push(['r', 'wss://empty.example.com/', ''])
await list.sign()
const event = JSON.parse(JSON.stringify(list.rawEvent()))
for (const tag of event.tags) console.log('NDK writes', JSON.stringify(tag))
writeFileSync('event.json', JSON.stringify(event))

const parsed = readList(asDecryptedEvent(event))
const readers = {
  ndk: [list.readRelayUrls, list.writeRelayUrls],
  welshman: [getRelaysFromList(parsed, 'read'), getRelaysFromList(parsed, 'write')],
  applesauce: [getInboxes(event), getOutboxes(event)],
}
const hosts = urls => urls.map(url => new URL(url).hostname.split('.')[0]).sort().join(' ')
for (const [name, [read, write]] of Object.entries(readers)) console.log(`${name}: read ${hosts(read)}, write ${hosts(write)}`)

const joined = new NDKRelayList(ndk)
joined.bothRelayUrls = joined.readRelayUrls = ['wss://one.example.com/']
await joined.sign()
console.log('NDK writes, set for both and for reading:', JSON.stringify(joined.tags))
process.exit(0)
JS
cat > look.py <<'PY'
from nostr_sdk import Event, RelayMetadata, extract_relay_list

with open("event.json") as file:
    relays = extract_relay_list(Event.from_json(file.read()))
for kind in (RelayMetadata.READ, RelayMetadata.WRITE):
    urls = [str(url) for url, marker in relays.items() if marker in (None, kind)]
    print(f"nostr-sdk: {kind.name.lower()}", *sorted(url.split("/")[2].split(".")[0] for url in urls))
PY
seen=$(node look.mjs; env/bin/python look.py)
printf '%s\n' "$seen"
expected='NDK writes ["r","wss://one.example.com/","read"]
NDK writes ["r","wss://two.example.com/","read"]
NDK writes ["r","wss://two.example.com/","write"]
NDK writes ["r","wss://empty.example.com/",""]
ndk: read empty one two, write empty two
welshman: read empty one two, write empty two
applesauce: read one two, write two
NDK writes, set for both and for reading: [["r","wss://one.example.com/","read"]]
nostr-sdk: read one
nostr-sdk: write two'
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
