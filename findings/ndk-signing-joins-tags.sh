#!/usr/bin/env bash
# Packages: @nostr-dev-kit/ndk 3.0.3, nostr-tools 2.25.2 (npm).
#
# Guess: the tags of an event are a list, and are signed as they were given: in their order, and a tag that is there
# twice is there twice.
#
# Behaviour: NDK joins tags before it signs an event of any kind. Of equal tags one is left, at the first one's place,
# and of two where one begins like the other only the longer.
# Seen:
#   badges worn (NIP-58): a, e 1, a, e 2 (one badge, got twice)    a, e 1, e 2
#   a relay for both, and once more for reading                    "read" only
#   three equal sets of an exercise (kind 1301)                    one set
#   nostr-tools                                                    as given
#
# Why it matters: NIP-58 reads badges by pairs of neighbours, so the second award has no badge to any reader. Where a
# tag's repetition or place means something, the event says something else than the program did, and its signature is
# right. `sign(signer, {skipContentTagging: true})` signs the tags as they are.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts @nostr-dev-kit/ndk@3.0.3 nostr-tools@2.25.2

cat > look.mjs <<'JS'
import NDK, {NDKEvent, NDKPrivateKeySigner} from '@nostr-dev-kit/ndk'
import {finalizeEvent} from 'nostr-tools'

const hex = '00'.repeat(31) + '01', key = Uint8Array.from(Buffer.from(hex, 'hex'))
const ndk = new NDK({signer: new NDKPrivateKeySigner(hex)})
const badge = ['a', '30009:' + 'aa'.repeat(32) + ':helper'], award = number => ['e', ('0' + number).repeat(32)]
const set = ['exercise', 'squat', '80', '5']
const cases = {
  badges: [30008, [['d', 'profile_badges'], badge, award(1), badge, award(2)]],
  relays: [10002, [['r', 'wss://example.com/'], ['r', 'wss://example.com/', 'read']]],
  exercise: [1301, [['d', 'x'], set, set, set]],
}
const show = tags => tags.map(tag => tag.map(item => item.slice(0, 18)).join(' ')).join(', ')
for (const [name, [kind, tags]] of Object.entries(cases)) {
  const draft = () => structuredClone({kind, tags, content: '', created_at: 1700000000})
  const event = new NDKEvent(ndk, draft()), whole = new NDKEvent(ndk, draft())
  await event.sign()
  await whole.sign(undefined, {skipContentTagging: true})
  const same = [whole.tags, finalizeEvent(draft(), key).tags].map(found => show(found) === show(tags))
  console.log(`${name}: ${show(event.tags)}; as given if skipped, by nostr-tools:`, ...same)
}
process.exit(0)
JS
seen=$(node look.mjs)
printf '%s\n' "$seen"
expected='badges: d profile_badges, a 30009:aaaaaaaaaaaa, e 010101010101010101, e 020202020202020202; as given if skipped, by nostr-tools: true true
relays: r wss://example.com/ read; as given if skipped, by nostr-tools: true true
exercise: d x, exercise squat 80 5; as given if skipped, by nostr-tools: true true'
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
