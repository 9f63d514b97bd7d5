#!/usr/bin/env bash
# Package: @welshman/util 0.8.15 (npm), with its peers @welshman/lib 0.8.15, nostr-tools 2.25.2, @noble/curves 1.9.7.
#
# Guess: matchFilter with a `search` of two words wants both words, or one of them, whatever their order.
#
# Behaviour: it looks at the first word only. The loop over the words returns after the first, found or not.
# Seen, for an event whose content is "a new relay":
#   search "relay zebra"        match
#   search "zebra relay"        no match
#   search "language:en relay"  no match
#
# Why it matters: NIP-50 lets a query start with an extension such as `language:en` or `include:spam`, and relays read
# the words in any order. A client that runs the relay's answers through this function throws away good results, or
# shows unrelated ones, by the order in which the user typed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts \
    @welshman/util@0.8.15 @welshman/lib@0.8.15 nostr-tools@2.25.2 @noble/curves@1.9.7

cat > look.mjs <<'JS'
import {matchFilter} from '@welshman/util'

const event = {id: 'a'.repeat(64), pubkey: 'b'.repeat(64), kind: 1, created_at: 1700000000, tags: [], sig: '',
  content: 'a new relay'}
for (const search of ['new relay', 'relay zebra', 'zebra relay', 'relay language:en', 'language:en relay'])
  console.log(search + ':', matchFilter({search}, event))
JS
seen=$(node look.mjs)
expected='new relay: true
relay zebra: true
zebra relay: false
relay language:en: true
language:en relay: false'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
