#!/usr/bin/env bash
# Packages: @nostr-dev-kit/ndk 3.0.3, nostr-tools 2.25.2 (npm).
#
# Guess: signing takes content and tags as they are. A repost (NIP-18) holds the reposted event as it was signed, so
# that whoever reads the repost can check it without asking for the original.
#
# Behaviour: before it signs an event of any kind, NDK looks through the content: `@npub1…` becomes `nostr:npub1…`, and
# each mention, quotation and hashtag becomes a tag. A repost's content is the other event's JSON, so the mentions in
# that are rewritten too and its id no longer fits; and its quotation and hashtags become tags of the repost.
# Seen (Bob's note: "thanks @npub1… for nostr:note1… #nostr", reposted):
#   the note           verifies; no tags
#   its copy           does not verify; getRepostedEvent of nostr-tools returns nothing
#   tags of the repost e, p, p of the one who is mentioned, q of what Bob quotes, t "nostr"
#   a kind 30078       '{"color": "#fff", "note": " #1"}' gets a tag t "1"
#
# Why it matters: such a reader shows nothing, or needs the note from a relay that may not have it. A relay that looks
# into reposts (NIP-70) meets copies whose ids do not fit. Queries by "#t" find reposts, and whoever counts quotations by
# "#q" counts them, too. What helps is repost(false), which leaves the repost unsigned, and then
# sign(signer, {skipContentTagging: true}).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts @nostr-dev-kit/ndk@3.0.3 nostr-tools@2.25.2

cat > look.mjs <<'JS'
import NDK, {NDKEvent, NDKPrivateKeySigner} from '@nostr-dev-kit/ndk'
import {finalizeEvent, getPublicKey, nip18, nip19, verifyEvent} from 'nostr-tools'

const secret = number => Uint8Array.from(Buffer.from('00'.repeat(31) + '0' + number, 'hex'))
const carol = nip19.npubEncode(getPublicKey(secret(3))), quoted = nip19.noteEncode('ab'.repeat(32))
const content = `thanks @${carol} for nostr:${quoted} #nostr`
const note = finalizeEvent({kind: 1, content, tags: [], created_at: 1700000000}, secret(2))
const signed = event => JSON.parse(JSON.stringify(event))  // without what the library remembers of it

const signer = new NDKPrivateKeySigner('00'.repeat(31) + '01'), ndk = new NDK({signer})
const repost = signed((await new NDKEvent(ndk, note).repost(false, signer)).rawEvent())
const copy = JSON.parse(repost.content)
console.log('note verifies:', verifyEvent(signed(note)))
console.log('copy verifies:', verifyEvent(copy), '- same id:', copy.id === note.id)
console.log('copy says:', copy.content.replace(carol, 'CAROL').replace(quoted, 'QUOTED'))
console.log('repost verifies:', verifyEvent(repost), '- reposted event:', nip18.getRepostedEvent(repost))
console.log('tags:', repost.tags.map(([name, value]) => name === 't' ? `${name} ${value}` : name).join(', '))

const whole = await new NDKEvent(ndk, note).repost(false)  // not signed yet
await whole.sign(signer, {skipContentTagging: true})
console.log('skipped:', verifyEvent(JSON.parse(whole.content)), JSON.stringify(whole.tags.map(([name]) => name)))

const kept = '{"color": "#fff", "note": " #1"}'
const data = new NDKEvent(ndk, {kind: 30078, content: kept, tags: [['d', 'x']], created_at: 1700000000})
await data.sign()
console.log('kind 30078:', JSON.stringify(data.tags), data.content === kept)
process.exit(0)
JS
seen=$(node look.mjs)
printf '%s\n' "$seen"
expected='note verifies: true
copy verifies: false - same id: true
copy says: thanks nostr:CAROL for nostr:QUOTED #nostr
repost verifies: true - reposted event: undefined
tags: e, p, p, q, t nostr
skipped: true ["e","p"]
kind 30078: [["d","x"],["t","1"]] true'
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
