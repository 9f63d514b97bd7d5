#!/usr/bin/env bash
# Packages: nostr-tools 2.25.2 (npm), nostr-sdk 0.45.1 with coincurve 21.0.0 (PyPI), github.com/nbd-wtf/go-nostr v0.52.3
# (Go module).
#
# Guess: ids are hashed as NIP-01 says: seven characters of the content are escaped (line break, quote, backslash,
# carriage return, tab, backspace, form feed), and all others stand as they are, so also the other control characters.
#
# Behaviour: all three write those others as a JSON encoder does, as \u0001 or \u001f, and say of an event that was
# hashed by the letter of NIP-01 that its id is wrong.
# Seen (the 26 characters from U+0001 to U+001F that NIP-01 does not name, one in the content of each event):
#   nostr-tools   makes 26 ids of escapes; accepts 26 of 26 with escapes, 0 of 26 by the letter
#   nostr-sdk     the same
#   go-nostr      the same
#
# Why it matters: a program that is written from the text alone disagrees about such events with one that uses the JSON
# encoder of its language. Such characters come with text from a terminal, or with bytes in a string. An event that is
# right by the text is lost to common clients, and a relay that takes only one of the two forms refuses honest authors.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts nostr-tools@2.25.2
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check nostr-sdk==0.45.1 coincurve==21.0.0
export GOMODCACHE="$work/modules" GOFLAGS=-modcacherw
go mod init look 2>/dev/null
go get github.com/nbd-wtf/go-nostr@v0.52.3 2>/dev/null

cat > made.py <<'PY'
"""An event for each character and form, as lines of JSON."""
import hashlib
import json

from coincurve import PrivateKey

key = PrivateKey(bytes(31) + b"\x01")
pubkey = key.public_key_xonly.format().hex()
for code in sorted(set(range(0x01, 0x20)) - set(b"\b\t\n\f\r")):
    content = f"a{chr(code)}b"
    for form, written in ("escapes", json.dumps(content)), ("letter", f'"{content}"'):
        digest = hashlib.sha256(f'[0,"{pubkey}",1700000000,1,[],{written}]'.encode()).digest()
        event = {
            "id": digest.hex(), "pubkey": pubkey, "created_at": 1700000000, "kind": 1, "tags": [], "content": content,
            "sig": key.sign_schnorr(digest).hex(),
        }
        print(json.dumps({"form": form, "event": event}))
PY
cat > look.mjs <<'JS'
import {readFileSync} from 'node:fs'
import {getEventHash, verifyEvent} from 'nostr-tools/pure'

for (const line of readFileSync('events', 'utf8').trim().split('\n')) {
  const {form, event} = JSON.parse(line)
  console.log(form, getEventHash(event) === event.id ? 'made' : '-', verifyEvent(event) ? 'accepted' : '-')
}
JS
cat > look.py <<'PY'
import json

from nostr_sdk import Event, EventBuilder, Keys, Kind, Timestamp

keys = Keys.parse("00" * 31 + "01")
for line in open("events"):
    case = json.loads(line)
    event = Event.from_json(json.dumps(case["event"]))
    when = Timestamp.from_secs(event.created_at().as_secs())
    own = EventBuilder(Kind(1), event.content()).custom_created_at(when).finalize(keys)
    made = own.id().to_hex() == case["event"]["id"]
    print(case["form"], "made" if made else "-", "accepted" if event.verify() else "-")
PY
cat > look.go <<'GO'
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/nbd-wtf/go-nostr"
)

func said(word string, so bool) string {
	if so {
		return word
	}
	return "-"
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var line struct {
			Form  string
			Event nostr.Event
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			panic(err)
		}
		event := line.Event
		signed, _ := event.CheckSignature()
		fmt.Println(line.Form, said("made", event.GetID() == event.ID), said("accepted", event.CheckID() && signed))
	}
}
GO
env/bin/python made.py > events
seen=$(
    counted() { sort | uniq -c | sed 's/^ *//'; }
    echo nostr-tools; node look.mjs | counted
    echo nostr-sdk; env/bin/python look.py | counted
    echo go-nostr; go run look.go < events | counted
)
expected='nostr-tools
26 escapes made accepted
26 letter - -
nostr-sdk
26 escapes made accepted
26 letter - -
go-nostr
26 escapes made accepted
26 letter - -'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
