#!/usr/bin/env bash
# Packages: nostr-tools 2.25.2, @nostr-dev-kit/ndk 3.0.3, @welshman/util 0.8.15 (with its peers @welshman/lib 0.8.15 and
# @noble/curves 1.9.7) (npm).
#
# Guess: libraries differ in the slash at the end and perhaps in the default port. The host is written in small letters,
# path and query stay as they are.
#
# Behaviour: three libraries make three endpoints of one URL. welshman writes the path in small letters too, nostr-tools
# sorts the query and takes the slash before it away, NDK keeps the capitals of the host and adds a slash to the value
# of the last query parameter. Without a scheme, NDK chooses http.
# Seen, for wss://Relay.Example.com/Team/?b=2&a=1:
#   nostr-tools  wss://relay.example.com/Team?a=1&b=2
#   NDK          wss://Relay.Example.com/Team/?b=2&a=1/
#   welshman     wss://relay.example.com/team/?b=2&a=1
#
# Why it matters: paths and queries name sub-relays, and an npub or a token in a path may hold capitals. The same string
# comes back in the `relay` tag of NIP-42 and NIP-62 events and in relay lists: a relay that compares more than scheme,
# host and port has to know these forms, and one that gives its sub-relays names had better use small letters only and
# no query.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/a" "$work/b"
cd "$work/a"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts \
    @welshman/util@0.8.15 @welshman/lib@0.8.15 nostr-tools@2.25.2 @noble/curves@1.9.7
cat > look.mjs <<'JS'
import {normalizeRelayUrl} from '@welshman/util'
import {utils} from 'nostr-tools'

for (const url of process.argv.slice(2)) {
  console.log('nostr-tools', utils.normalizeURL(url))
  console.log('welshman', normalizeRelayUrl(url))
}
JS
cd "$work/b"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts @nostr-dev-kit/ndk@3.0.3 nostr-tools@2.25.2
cat > look.mjs <<'JS'
import {normalizeRelayUrl} from '@nostr-dev-kit/ndk'

for (const url of process.argv.slice(2)) console.log('ndk', normalizeRelayUrl(url))
process.exit(0)
JS
urls=('wss://Relay.Example.com/Team/?b=2&a=1' relay.example.com)
seen=$(node "$work/a/look.mjs" "${urls[@]}"; node "$work/b/look.mjs" "${urls[@]}")
expected='nostr-tools wss://relay.example.com/Team?a=1&b=2
welshman wss://relay.example.com/team/?b=2&a=1
nostr-tools wss://relay.example.com/
welshman wss://relay.example.com/
ndk wss://Relay.Example.com/Team/?b=2&a=1/
ndk http://relay.example.com/'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
