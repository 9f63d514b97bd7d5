#!/usr/bin/env bash
# Packages: nostr-tools 2.25.2 (npm), nostr-sdk 0.45.1 (PyPI, rust-nostr).
#
# Guess: an event that finalizeEvent signs and verifyEvent calls right can be read by others. What cannot be an event at
# all, with a time that is no whole number of seconds, say, is refused before it is signed.
#
# Behaviour: both functions ask only whether kind and created_at are numbers. `Date.now() / 1000` without rounding is
# signed, and verifies; a kind beyond 65,535 likewise. The other library cannot even read them: the fraction and the
# kind do not fit its types, so it is no matter of signatures.
# Seen:                        nostr-tools verifies    nostr-sdk
#   created_at 1700000000.5    true                    refused, "floating point"
#   kind 70000                 true                    refused, "u16"
#
# Why it matters: the author's own client shows the event and calls it valid, relays and other clients answer "invalid"
# for a reason that has nothing to do with the signature. A relay should name the field.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts nostr-tools@2.25.2
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check nostr-sdk==0.45.1

cat > sign.mjs <<'JS'
import {finalizeEvent, generateSecretKey, verifyEvent} from 'nostr-tools/pure'

const key = generateSecretKey()
for (const [kind, created_at] of [[1, 1700000000.5], [70000, 1700000000]]) {
  const text = JSON.stringify(finalizeEvent({kind, created_at, tags: [], content: ''}, key))
  console.log(JSON.stringify({verifies: verifyEvent(JSON.parse(text)), text}))
}
JS
cat > read.py <<'PY'
import json
import sys

from nostr_sdk import Event

for line in sys.stdin:
    signed = json.loads(line)
    try:
        Event.from_json(signed["text"])
        answer = "read"
    except Exception as error:
        answer = next(word for word in ("floating point", "u16") if word in str(error))
    print(f"verifies: {signed['verifies']}, nostr-sdk: {answer}")
PY
seen=$(node sign.mjs | venv/bin/python read.py)
expected='verifies: True, nostr-sdk: floating point
verifies: True, nostr-sdk: u16'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
