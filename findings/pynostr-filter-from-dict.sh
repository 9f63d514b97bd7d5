#!/usr/bin/env bash
# Package: pynostr 0.7.0 (PyPI).
#
# Guess: Filters.from_dict reads a NIP-01 filter, and to_dict gives the same filter back.
#
# Behaviour: every tag condition is lost ("#e" and "#p" as well as "#t"), and a filter without "ids" gains "ids": "",
# an empty string where a list belongs. The class builds the same filter correctly from keyword arguments.
# Seen:
#   {"kinds": [1], "#e": ["bbbb…"]}  ->  {"ids": "", "kinds": [1]}
#
# Why it matters: a filter that is kept as JSON and read back no longer asks for what it said. A strict relay answers
# CLOSED or NOTICE because `ids` is a string; one that lets it pass finds nothing, or everything. When a relay's log
# shows `"ids":""`, this is where it comes from.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check pynostr==0.7.0

cat > look.py <<'PY'
import json
from pynostr.filters import Filters

event = "b" * 64
for given in ({"kinds": [1], "#e": [event]}, {"kinds": [1], "#t": ["nostr"]}, {"ids": [event], "#p": ["c" * 64]}):
    print(json.dumps(given).replace(event, "bbbb").replace("c" * 64, "cccc"), "->",
          json.dumps(Filters.from_dict(given).to_dict()).replace(event, "bbbb"))
built = Filters(kinds=[1], event_refs=[event]).to_dict()
print("by keywords ->", json.dumps(built).replace(event, "bbbb"))
PY
seen=$(env/bin/python look.py)
expected='{"kinds": [1], "#e": ["bbbb"]} -> {"ids": "", "kinds": [1]}
{"kinds": [1], "#t": ["nostr"]} -> {"ids": "", "kinds": [1]}
{"ids": ["bbbb"], "#p": ["cccc"]} -> {"ids": ["bbbb"]}
by keywords -> {"kinds": [1], "#e": ["bbbb"]}'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
