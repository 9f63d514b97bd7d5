#!/usr/bin/env bash
# Packages: github.com/nbd-wtf/go-nostr v0.52.3 (Go module), nostr-sdk 0.45.1 (PyPI, rust-nostr).
#
# Guess: a filter with an empty list ("ids": [], for instance "the events that I still need", when there are none) means
# the same in memory and on the wire: no event is in the list, so none matches.
#
# Behaviour: each library says "nothing" in one place and "everything" in the other, and they disagree which is which.
# go-nostr matches nothing in memory, but leaves the key out when it writes the filter, which then asks for everything.
# rust-nostr writes the empty list, but its own matcher lets every event pass. Both treat "#t": [] as nothing in both.
# Seen:
#                  go-nostr               nostr-sdk
#   {"ids":[]}     no match, sends {}     match, sends {"ids":[]}
#   {"#t":[]}      no match, sends it     no match, sends it
#
# Why it matters: a Go client that has nothing to ask for downloads a relay's newest events instead. A relay sees `{}`
# from a client whose own code says otherwise. A client that filters live events by the same filter object disagrees
# with what its relay was asked.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export GOMODCACHE="$work/modules" GOFLAGS=-modcacherw
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check nostr-sdk==0.45.1
go mod init look 2>/dev/null
go get github.com/nbd-wtf/go-nostr@v0.52.3 2>/dev/null

cat > look.go <<'GO'
package main

import (
	"encoding/json"
	"fmt"

	"github.com/nbd-wtf/go-nostr"
)

func main() {
	event := nostr.Event{Kind: 1, CreatedAt: 1700000000, Content: "hello", Tags: nostr.Tags{}}
	for _, text := range []string{`{"ids":[]}`, `{"kinds":[]}`, `{"#t":[]}`} {
		var filter nostr.Filter
		if err := json.Unmarshal([]byte(text), &filter); err != nil {
			panic(err)
		}
		sent, _ := json.Marshal(filter)
		fmt.Printf("go-nostr %s match %t sends %s\n", text, filter.Matches(&event), sent)
	}
}
GO
cat > look.py <<'PY'
from nostr_sdk import EventBuilder, Filter, Keys, Kind

event = EventBuilder(Kind(1), "hello").finalize(Keys.parse("00" * 31 + "01"))
for text in ('{"ids":[]}', '{"kinds":[]}', '{"#t":[]}'):
    found = Filter.from_json(text)
    print("nostr-sdk", text, "match", str(found.match_event(event)).lower(), "sends", found.as_json())
PY
seen=$(go run look.go; env/bin/python look.py)
expected='go-nostr {"ids":[]} match false sends {}
go-nostr {"kinds":[]} match false sends {}
go-nostr {"#t":[]} match false sends {"#t":[]}
nostr-sdk {"ids":[]} match true sends {"ids":[]}
nostr-sdk {"kinds":[]} match true sends {"kinds":[]}
nostr-sdk {"#t":[]} match false sends {"#t":[]}'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
