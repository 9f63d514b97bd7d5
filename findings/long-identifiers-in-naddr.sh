#!/usr/bin/env bash
# Packages: nostr-tools 2.25.2 (npm), github.com/nbd-wtf/go-nostr v0.52.3 (Go module), nostr-sdk 0.45.1 (PyPI).
#
# Guess: an identifier (`d` tag) may be of any length, but a field of an naddr (NIP-19) has one byte for its length. An
# encoder refuses what does not fit in 255 bytes.
#
# Behaviour: nostr-tools and go-nostr write the length modulo 256 and all the bytes after it, without an error. What
# they made, neither they nor others can read. The same holds for a relay in an nprofile, which takes the key with it.
# nostr-sdk refuses to write.
# Seen (an naddr written, and read by the same library):
#                      nostr-tools                          go-nostr                   nostr-sdk
#   of 255 bytes       reads back                           reads back                 reads back
#   of 300 bytes       "not enough data to read on TLV …"   "incomplete naddr"         refused: "TLV value too long"
#   nprofile with a relay of 300 bytes (nostr-tools): the same error, and no key
#
# Why it matters: a web bookmark's (kind 39701) identifier is the page's URL, and such URLs are often longer. The event
# is valid, is stored and is found by "#d"; only the link that somebody shares is broken for good, and is not noticed
# before somebody else opens it. A relay or a gateway that makes links had better check for 255 bytes itself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export GOMODCACHE="$work/modules" GOFLAGS=-modcacherw
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check nostr-sdk==0.45.1
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts nostr-tools@2.25.2
go mod init look 2>/dev/null
go get github.com/nbd-wtf/go-nostr@v0.52.3 github.com/nbd-wtf/go-nostr/nip19@v0.52.3 2>/dev/null

cat > look.mjs <<'JS'
import {getPublicKey, nip19} from 'nostr-tools'

const pubkey = getPublicKey(Uint8Array.from(Buffer.from('00'.repeat(31) + '01', 'hex')))
const url = size => 'example.com/'.padEnd(size, 'x')
const back = text => { try { return Object.values(nip19.decode(text).data).length + ' fields' } catch (e) { return e.message } }
for (const size of [255, 300]) {
  console.log('nostr-tools naddr', size + ':', back(nip19.naddrEncode({kind: 39701, pubkey, identifier: url(size)})))
  console.log('nostr-tools nprofile', size + ':', back(nip19.nprofileEncode({pubkey, relays: ['wss://' + url(size - 6)]})))
}
JS
cat > look.go <<'GO'
package main

import (
	"fmt"
	"strings"

	"github.com/nbd-wtf/go-nostr"
	"github.com/nbd-wtf/go-nostr/nip19"
)

func main() {
	author, _ := nostr.GetPublicKey(strings.Repeat("0", 63) + "1")
	for _, size := range []int{255, 300} {
		text, err := nip19.EncodeEntity(author, 39701, "example.com/"+strings.Repeat("x", size-12), nil)
		if err != nil {
			panic(err)
		}
		_, value, err := nip19.Decode(text)
		if err == nil {
			fmt.Printf("go-nostr naddr %d: %d bytes\n", size, len(value.(nostr.EntityPointer).Identifier))
		} else {
			fmt.Printf("go-nostr naddr %d: %s\n", size, err)
		}
	}
}
GO
cat > look.py <<'PY'
from nostr_sdk import Coordinate, Keys, Kind, Nip19Coordinate

key = Keys.parse("00" * 31 + "01").public_key()
for size in (255, 300):
    try:
        text = Nip19Coordinate(Coordinate(Kind(39701), key, "example.com/".ljust(size, "x")), []).to_bech32()
        print(f"nostr-sdk naddr {size}:", len(Nip19Coordinate.from_bech32(text).coordinate().identifier()), "bytes")
    except Exception as error:
        print(f"nostr-sdk naddr {size}: {error}")
PY
seen=$(node look.mjs; go run look.go; env/bin/python look.py)
printf '%s\n' "$seen"
expected="nostr-tools naddr 255: 4 fields
nostr-tools nprofile 255: 2 fields
nostr-tools naddr 300: not enough data to read on TLV 120
nostr-tools nprofile 300: not enough data to read on TLV 120
go-nostr naddr 255: 255 bytes
go-nostr naddr 300: incomplete naddr
nostr-sdk naddr 255: 255 bytes
nostr-sdk naddr 300: 'TLV value too long'"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
