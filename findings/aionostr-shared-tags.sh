#!/usr/bin/env bash
# Package: aionostr 0.20.0 (PyPI).
#
# Guess: two events made without tags have nothing in common.
#
# Behaviour: they share one list of tags. A tag added to the first is in every later event that is made without tags,
# and the later event's id is computed over it, so that nothing looks wrong: the id and the signature are right, for
# something that the author did not write.
# Seen:
#   first event, then a tag ["t", "first"] added to it
#   second event, made without tags: tags [["t", "first"]]
#
# Why it matters: a bot that tags one note tags all the notes it writes afterwards. A relay cannot tell: it sees valid
# events. Pass `tags=[]` each time.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check aionostr==0.20.0

cat > look.py <<'PY'
from aionostr.event import Event

first = Event(pubkey="a" * 64, content="first", created_at=1700000000)
first.tags.append(["t", "first"])
second = Event(pubkey="a" * 64, content="second", created_at=1700000000)
clean = Event(pubkey="a" * 64, content="second", created_at=1700000000, tags=[])
print("second:", second.tags)
print("second with tags=[]:", clean.tags)
print("same id:", second.id == clean.id)
PY
seen=$(env/bin/python look.py)
expected="second: [['t', 'first']]
second with tags=[]: []
same id: False"
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
