#!/usr/bin/env bash
# Package: @nostr-dev-kit/ndk 3.0.3 (npm), with nostr-tools 2.25.2.
#
# Guess: an addressable event (kind 30000 to 39999) that is signed without a `d` tag goes out as it is. NIP-01 gives a
# meaning to this: a missing `d` counts as the empty one.
#
# Behaviour: signing adds a `d` tag with a random value, or, when there is a title, the title and a random ending. Two
# saves of one thing become two events, and neither replaces the other. Only the `d` goes in unasked: a plain
# replaceable event (kind 10002) stays without.
# Seen:
#   kind 30078, no tags                -> d of 16 random characters, another one each time
#   kind 30023, ["title", "My Page"]   -> d "My-Page-" and 6 random characters
#
# Why it matters: settings and drafts saved from such a client pile up at the relay, one event for each save, and a
# query for `"#d": [""]` finds none of them. Somebody who copies an event of another client through NDK also changes its
# id.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts @nostr-dev-kit/ndk@3.0.3 nostr-tools@2.25.2

cat > look.mjs <<'JS'
import NDK, {NDKEvent, NDKPrivateKeySigner} from '@nostr-dev-kit/ndk'

const ndk = new NDK({signer: new NDKPrivateKeySigner('00'.repeat(31) + '01')})
const sign = async (kind, tags) => {
  const event = new NDKEvent(ndk, {kind, tags, content: 'same', created_at: 1700000000})
  await event.sign()
  return event.rawEvent()
}
const identifier = event => event.tags.find(tag => tag[0] === 'd')?.[1]
const first = await sign(30078, []), second = await sign(30078, [])
console.log('30078: length', identifier(first).length + ', same again', identifier(first) === identifier(second))
const article = identifier(await sign(30023, [['title', 'My Page']]))
console.log('30023:', article.replace(/-[^-]{6}$/, '-(six characters)'))
console.log('10002:', JSON.stringify((await sign(10002, [])).tags))
process.exit(0)
JS
seen=$(node look.mjs)
expected='30078: length 16, same again false
30023: My-Page-(six characters)
10002: []'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
