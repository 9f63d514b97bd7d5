#!/usr/bin/env bash
# Package: nostr-sdk 0.45.1 (PyPI, the Python binding of rust-nostr).
#
# Guess: Coordinate.parse("30000:<pubkey>:a:b") either returns the identifier "a:b" (a `d` tag is free text, so only
# the first two colons separate) or raises an error.
#
# Behaviour: it returns the identifier "a". No error, no warning: the address of another event. An naddr, which carries
# the identifier in a field of its own, comes through the same library unharmed.
# Seen:
#   30000:79be667e…:lists:work  ->  30000:79be667e…:lists
#   naddr of the same          ->  lists:work
#
# Why it matters: some kinds have a URL as their `d` (30166 for one), and the first colon of a URL comes right after its
# scheme. A client that turns the `a` tags of a list or a deletion into coordinates asks for, or deletes, something
# else. A relay sees queries with "#d": ["wss"] that find nothing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check nostr-sdk==0.45.1

cat > look.py <<'PY'
from nostr_sdk import Coordinate, Keys, Kind, Nip19Coordinate

key = Keys.parse("00" * 31 + "01").public_key()
for identifier in ("plain", "lists:work", "wss://relay.example.com/"):
    parsed = Coordinate.parse(f"30000:{key.to_hex()}:{identifier}")
    built = Coordinate(Kind(30000), key, identifier)
    print(f"{identifier}: parsed {parsed.identifier()}, built {built.identifier()},", end=" ")
    bech32 = Nip19Coordinate(built, []).to_bech32()
    print("naddr", Nip19Coordinate.from_bech32(bech32).coordinate().identifier())
PY
seen=$(env/bin/python look.py)
expected='plain: parsed plain, built plain, naddr plain
lists:work: parsed lists, built lists:work, naddr lists:work
wss://relay.example.com/: parsed wss, built wss://relay.example.com/, naddr wss://relay.example.com/'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
