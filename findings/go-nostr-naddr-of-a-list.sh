#!/usr/bin/env bash
# Package: github.com/nbd-wtf/go-nostr v0.52.3 (Go module), nip19.
#
# Guess: what EncodeEntity writes, Decode reads, also with an empty identifier. NIP-19 names this case: for a plain
# replaceable event, such as a relay list (kind 10002), the identifier of an naddr is the empty string.
#
# Behaviour: Decode takes an empty identifier for a missing one and returns the error "incomplete naddr", for its own
# output. It fills in the kind and the pubkey all the same, but callers look at the error first.
# Seen:
#   identifier "x": error <nil>
#   identifier "":  error incomplete naddr
#
# Why it matters: links to profiles' lists (mutes, relays, follows of kind 10000 to 19999) that other libraries write
# and read do not open in Go programs. It also hits kind 30000 to 39999 with an empty `d`, which is allowed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export GOMODCACHE="$work/modules" GOFLAGS=-modcacherw
go mod init look 2>/dev/null
go get github.com/nbd-wtf/go-nostr@v0.52.3 github.com/nbd-wtf/go-nostr/nip19@v0.52.3 2>/dev/null

cat > look.go <<'GO'
package main

import (
	"fmt"

	"github.com/nbd-wtf/go-nostr"
	"github.com/nbd-wtf/go-nostr/nip19"
)

func main() {
	pubkey := "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
	for _, address := range []struct {
		kind       int
		identifier string
	}{{10002, "x"}, {10002, ""}, {30000, ""}} {
		text, err := nip19.EncodeEntity(pubkey, address.kind, address.identifier, nil)
		if err != nil {
			panic(err)
		}
		_, value, err := nip19.Decode(text)
		pointer := value.(nostr.EntityPointer)
		fmt.Printf("identifier %q: error %v, kind %d\n", address.identifier, err, pointer.Kind)
	}
}
GO
seen=$(go run look.go)
expected='identifier "x": error <nil>, kind 10002
identifier "": error incomplete naddr, kind 10002
identifier "": error incomplete naddr, kind 30000'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
