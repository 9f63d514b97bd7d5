#!/usr/bin/env bash
# Packages: nostr-tools 2.25.2, @nostr-dev-kit/ndk 3.0.3 (npm).
#
# Guess: a reaction to an article, or a repost of one, points at the article by its address (an `a` tag, as NIP-18 and
# NIP-25 have it), so that it still counts when the article has been edited and has another id.
#
# Behaviour: finishReactionEvent and finishRepostEvent of nostr-tools write the id of this version only. NDK writes both.
# Seen (tags that point at the article, for a kind 30023):
#                nostr-tools    ndk
#   reaction     e, p           a, e, p, k
#   repost       e, p, k        a, e, p, k
#
# Why it matters: after the first edit such reactions are found by nobody who asks with "#a", and a relay that ranks by
# what refers to an article has to follow ids as well as addresses.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts nostr-tools@2.25.2 @nostr-dev-kit/ndk@3.0.3

cat > look.mjs <<'JS'
import NDK, {NDKEvent, NDKPrivateKeySigner} from '@nostr-dev-kit/ndk'
import {finishRepostEvent} from 'nostr-tools/nip18'
import {finishReactionEvent} from 'nostr-tools/nip25'

const hex = '00'.repeat(31) + '01', key = Uint8Array.from(Buffer.from(hex, 'hex'))
const ndk = new NDK({signer: new NDKPrivateKeySigner(hex)})
const article = new NDKEvent(ndk, {kind: 30023, content: 'text', tags: [['d', 'page']], created_at: 1700000000})
await article.sign()
const raw = article.rawEvent(), draft = {created_at: 1700000001, tags: [], content: '+'}
const names = event => event.tags.map(([name]) => name).sort().join(' ')
const ndkReaction = await article.react('+', false), ndkRepost = await article.repost(false)
await ndkReaction.sign()
await ndkRepost.sign()
console.log('reaction:', names(finishReactionEvent(draft, raw, key)), '|', names(ndkReaction))
console.log('repost:', names(finishRepostEvent(draft, raw, 'wss://relay.example.com/', key)), '|', names(ndkRepost))
process.exit(0)
JS
seen=$(node look.mjs)
expected='reaction: e p | a e k p
repost: e k p | a e k p'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
