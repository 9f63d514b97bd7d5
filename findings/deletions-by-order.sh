#!/usr/bin/env bash
# Packages: applesauce-core 6.2.0, @welshman/net 0.8.15 and @welshman/util 0.8.15 (with their peers @welshman/lib 0.8.15
# and @noble/curves 1.9.7), @nostrify/nostrify 0.54.1 (npm), nostr-sdk 0.45.1 (PyPI, its store NostrLmdb).
#
# Guess: stores of events that know NIP-09 agree on what a deletion deletes, in whichever order the two arrive: the
# author's event that an `e` tag names, and each version up to the deletion's own time that an `a` tag names. To delete
# a deletion has no effect, as the NIP says.
#
# Behaviour: if the deletion is older than the note that it names (it comes from a device whose clock is behind), four
# stores do four things. Two go by which of the two came first, each the other way round. In one a version of the same
# second survives its deletion, in one a deletion by address is forgotten, and in one deleting the deletion brings the
# note back.
# Seen (is the event there at the end?):
#                                            applesauce   welshman   nostrify   nostr-sdk
#   note, then a deletion of an earlier time yes          yes        no         no
#   that deletion, then the note             no           yes        no         yes
#   list, deletion of the same second        no           yes        yes        no
#   deletion by address, then an older list  no           no         yes        no
#   note, deleted, deletion deleted, note    no           no         yes        no
#
# Why it matters: deletions often come by another subscription than the notes, so either may be first; a client shows
# after a restart what it had deleted before, or what its neighbour has not got, though both have all events of the same
# relay. A relay had better delete what an `e` tag of the author names, whatever the times are and whichever comes first,
# so that clients never get to see the two together.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check nostr-sdk==0.45.1
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts applesauce-core@6.2.0 @nostrify/nostrify@0.54.1 \
    @welshman/net@0.8.15 @welshman/util@0.8.15 @welshman/lib@0.8.15 @noble/curves@1.9.7 nostr-tools@2.25.2

cat > look.mjs <<'JS'
import {writeFileSync} from 'node:fs'
import {NSet} from '@nostrify/nostrify'
import {Repository} from '@welshman/net'
import {EventStore} from 'applesauce-core'
import {finalizeEvent, getPublicKey} from 'nostr-tools'

const secret = Uint8Array.from(Buffer.from('00'.repeat(31) + '01', 'hex')), author = getPublicKey(secret)
const sign = (kind, created_at, tags = []) =>
  JSON.parse(JSON.stringify(finalizeEvent({kind, created_at, tags, content: ''}, secret)))
const note = sign(1, 1000), early = sign(5, 900, [['e', note.id]]), late = sign(5, 1100, [['e', note.id]])
const list = sign(30000, 1000, [['d', 'x']]), address = ['a', `30000:${author}:x`]
const cases = {
  'note, earlier deletion': [note, early],
  'earlier deletion, note': [early, note],
  'list, deletion of its second': [list, sign(5, 1000, [address])],
  'deletion, older list': [sign(5, 1100, [address]), list],
  'note, deletion, deletion of that, note': [note, late, sign(5, 1200, [['e', late.id]]), note],
}
writeFileSync('cases.json', JSON.stringify(cases))

function kept(events) {
  const store = new EventStore(), repository = new Repository(), set = new NSet()
  for (const event of events) {
    store.add(structuredClone(event))
    repository.publish(structuredClone(event))
    set.add(structuredClone(event))
  }
  const filter = {kinds: [1, 30000]}
  const found = [[...store.getByFilters(filter)], repository.query([filter]), [...set].filter(({kind}) => kind !== 5)]
  return found.map(({length}) => (length ? 'yes' : 'no'))
}
for (const [name, events] of Object.entries(cases)) console.log(`applesauce, welshman, nostrify; ${name}:`, ...kept(events))
process.exit(0)
JS
cat > look.py <<'PY'
import asyncio
import json

from nostr_sdk import Event, Filter, Kind, NostrLmdb


async def main():
    with open("cases.json") as file:
        cases = json.load(file)
    for number, (name, events) in enumerate(cases.items()):
        store = await NostrLmdb.open(f"store-{number}")
        for event in events:
            await store.save_event(Event.from_json(json.dumps(event)))
        found = await store.query(Filter().kinds([Kind(1), Kind(30000)]))
        print(f"nostr-sdk; {name}:", "yes" if found else "no")


asyncio.run(main())
PY
seen=$(node look.mjs; env/bin/python look.py)
printf '%s\n' "$seen"
expected='applesauce, welshman, nostrify; note, earlier deletion: yes yes no
applesauce, welshman, nostrify; earlier deletion, note: no yes no
applesauce, welshman, nostrify; list, deletion of its second: no yes yes
applesauce, welshman, nostrify; deletion, older list: no no yes
applesauce, welshman, nostrify; note, deletion, deletion of that, note: no no yes
nostr-sdk; note, earlier deletion: no
nostr-sdk; earlier deletion, note: yes
nostr-sdk; list, deletion of its second: no
nostr-sdk; deletion, older list: no
nostr-sdk; note, deletion, deletion of that, note: no'
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
