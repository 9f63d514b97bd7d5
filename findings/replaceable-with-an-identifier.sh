#!/usr/bin/env bash
# Packages: applesauce-core 6.2.0, @welshman/net 0.8.15 and @welshman/util 0.8.15 (with their peers @welshman/lib 0.8.15
# and @noble/curves 1.9.7), nostr-tools 2.25.2 (npm), nostr-sdk 0.45.1 (PyPI, its store NostrLmdb).
#
# Guess: of a replaceable kind (0, 3, 10000 to 19999) there is one event an author, as NIP-01 has it. A `d` tag means
# nothing there; it is part of the address from kind 30000 on.
#
# Behaviour: the stores of applesauce and welshman take the `d` tag into the address of any replaceable kind. Two
# versions with different ones stand side by side, also the one that the newer version was to replace; and applesauce's
# getReplaceable(10002, author) finds neither of them. nostr-sdk keeps the newer one.
# Seen (two relay lists, kind 10002, the older with d "old", the newer with d "new"):
#   applesauce   both are kept; getReplaceable finds nothing
#   welshman     both are kept
#   nostr-sdk    the newer is kept
#
# Why it matters: a relay deletes the older event for good when the newer one comes, so these clients show what the relay
# has not got any more, or see no relay list at all where the relay has one. A program that makes events of such kinds
# from a template for addressable ones should take the `d` tag out.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check nostr-sdk==0.45.1
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts applesauce-core@6.2.0 \
    @welshman/net@0.8.15 @welshman/util@0.8.15 @welshman/lib@0.8.15 @noble/curves@1.9.7 nostr-tools@2.25.2

cat > look.mjs <<'JS'
import {writeFileSync} from 'node:fs'
import {Repository} from '@welshman/net'
import {EventStore} from 'applesauce-core'
import {finalizeEvent} from 'nostr-tools'

const secret = Uint8Array.from(Buffer.from('00'.repeat(31) + '01', 'hex'))
const list = (identifier, created_at) =>
  finalizeEvent({kind: 10002, created_at, tags: [['d', identifier], ['r', 'wss://example.com/']], content: ''}, secret)
const events = [list('old', 1700000000), list('new', 1700000001)].map(event => JSON.parse(JSON.stringify(event)))
writeFileSync('events.json', JSON.stringify(events))

const store = new EventStore(), repository = new Repository(), filter = {kinds: [10002]}
for (const event of events) {
  store.add(structuredClone(event))
  repository.publish(structuredClone(event))
}
const names = found => [...found].map(({tags: [[, identifier]]}) => identifier).sort().join(' ')
console.log('applesauce:', names(store.getByFilters(filter)))
console.log('applesauce, getReplaceable:', store.getReplaceable(10002, events[0].pubkey))
console.log('welshman:', names(repository.query([filter])))
process.exit(0)
JS
cat > look.py <<'PY'
import asyncio
import json

from nostr_sdk import Event, Filter, Kind, NostrLmdb


async def main():
    store = await NostrLmdb.open("store")
    with open("events.json") as file:
        for event in json.load(file):
            await store.save_event(Event.from_json(json.dumps(event)))
    found = await store.query(Filter().kind(Kind(10002)))
    print("nostr-sdk:", *(json.loads(event.as_json())["tags"][0][1] for event in found))


asyncio.run(main())
PY
seen=$(node look.mjs; env/bin/python look.py)
printf '%s\n' "$seen"
expected='applesauce: new old
applesauce, getReplaceable: undefined
welshman: new old
nostr-sdk: new'
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
