#!/usr/bin/env bash
# Packages: nostr-sdk 0.45.1 (PyPI).
#
# Guess: Tag.hashtag(word) and Filter.hashtag(word) are two ends of one thing, so that what one writes the other finds.
#
# Behaviour: the tag is written in lower case, as NIP-24 wants it; the filter is left as it was typed. A program that
# hands both of them the same word does not find its own event, neither at a relay nor by the library's own matching.
# Seen:
#   Tag.hashtag("Nostr")      ["t", "nostr"]
#   Filter.hashtag("Nostr")   {"#t": ["Nostr"]}
#   matches: no
#
# Why it matters: the search for a hashtag fails with any word that has a capital, also one that people copied from a
# title; the relay, which compares tags as they are, looks empty.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check nostr-sdk==0.45.1

cat > look.py <<'PY'
from nostr_sdk import EventBuilder, Filter, Keys, Kind, Tag

tag, wanted = Tag.hashtag("Nostr"), Filter().hashtag("Nostr")
event = EventBuilder(Kind(1), "#Nostr").tags([tag]).finalize(Keys.generate())
print(tag.to_vec(), wanted.as_json())
print("matches:", wanted.match_event(event))
print("matches in lower case:", Filter().hashtag("nostr").match_event(event))
PY
seen=$(env/bin/python look.py)
expected="['t', 'nostr'] {\"#t\":[\"Nostr\"]}
matches: False
matches in lower case: True"
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
