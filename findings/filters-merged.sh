#!/usr/bin/env bash
# Packages: @welshman/util 0.8.15 (with its peers @welshman/lib 0.8.15, nostr-tools 2.25.2, @noble/curves 1.9.7) and
# @nostr-dev-kit/ndk 3.0.3 (npm). mergeFilters of nostr-tools is of the same 2.25.2.
#
# Guess: the intersection of two filters matches what both match. A merged filter matches at least what each of its
# parts matches, so a bound that only one part has is dropped.
#
# Behaviour: intersectFilters of welshman joins the lists (two kinds, two authors: all four pairs), so the
# "intersection" is wider than either part; only the times are narrowed. mergeFilters of nostr-tools keeps an `until`
# that only one part has, so the merged filter misses events of the other. mergeFilters of NDK keeps the `since` of
# whichever came last, so the answer depends on the order.
# Seen:
#   welshman, {kinds: [1]} and {kinds: [2]}              -> {kinds: [1, 2]}
#   nostr-tools, {kinds: [1]} or {kinds: [2], until: 9}  -> {kinds: [1, 2], until: 9}
#   NDK, {kinds: [1], since: 5} or {…, since: 9}         -> since 9; the other way round since 5
#
# Why it matters: clients merge filters to save subscriptions, and what arrives at the relay is not what either part of
# the program asked for: far more rows in one case, silent holes in the others. Keep separate filters in one REQ: the
# protocol already means "any of these".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/a" "$work/b"
cd "$work/a"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts \
    @welshman/util@0.8.15 @welshman/lib@0.8.15 nostr-tools@2.25.2 @noble/curves@1.9.7
cat > look.mjs <<'JS'
import {intersectFilters} from '@welshman/util'
import {mergeFilters} from 'nostr-tools'

const show = (name, result) => console.log(name, JSON.stringify(result))
show('welshman', intersectFilters([[{kinds: [1], authors: ['a']}], [{kinds: [2], authors: ['b']}]]))
show('nostr-tools', mergeFilters({kinds: [1]}, {kinds: [2], until: 9}))
JS
cd "$work/b"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts @nostr-dev-kit/ndk@3.0.3 nostr-tools@2.25.2
cat > look.mjs <<'JS'
import {mergeFilters} from '@nostr-dev-kit/ndk'

console.log('ndk', JSON.stringify(mergeFilters([{kinds: [1], since: 5}, {kinds: [1], since: 9}])))
console.log('ndk', JSON.stringify(mergeFilters([{kinds: [1], since: 9}, {kinds: [1], since: 5}])))
process.exit(0)
JS
seen=$(node "$work/a/look.mjs"; node "$work/b/look.mjs")
expected='welshman [{"kinds":[1,2],"authors":["a","b"]}]
nostr-tools {"kinds":[1,2],"until":9}
ndk [{"kinds":[1],"since":9}]
ndk [{"kinds":[1],"since":5}]'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
