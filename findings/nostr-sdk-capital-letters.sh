#!/usr/bin/env bash
# Packages: nostr-sdk 0.45.1 (rust-nostr), pynostr 0.7.0 (PyPI).
#
# Guess: an npub in capital letters is the same npub. Bech32 (BIP-173) asks decoders to take strings that are all small
# or all capital, because capitals make smaller QR codes.
#
# Behaviour: nostr-sdk refuses it. The error speaks of a wrong prefix or of a wrong length and does not hint at the
# letters.
# Seen:
#   pynostr: reads both
#   nostr-sdk: reads the small one; the capital one is a "wrong prefix"
#
# Why it matters: a key scanned from a QR code works in one client and is "not a key" in the next. A relay's tool that
# takes keys for its lists from people should put them into small letters before it hands them on.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check nostr-sdk==0.45.1 pynostr==0.7.0

cat > look.py <<'PY'
import nostr_sdk
from pynostr.key import PublicKey

small = nostr_sdk.Keys.parse("00" * 31 + "01").public_key().to_bech32()


def look(name, read):
    for form, text in (("small", small), ("capital", small.upper())):
        try:
            read(text)
            print(name, form, "read")
        except Exception as error:
            print(name, form, "refused:", error)


look("pynostr", PublicKey.from_npub)
look("nostr-sdk Nip19.from_bech32", nostr_sdk.Nip19.from_bech32)
look("nostr-sdk PublicKey.parse", nostr_sdk.PublicKey.parse)
PY
seen=$(env/bin/python look.py)
expected="pynostr small read
pynostr capital read
nostr-sdk Nip19.from_bech32 small read
nostr-sdk Nip19.from_bech32 capital refused: 'wrong prefix'
nostr-sdk PublicKey.parse small read
nostr-sdk PublicKey.parse capital refused: 'Invalid input length 64'"
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
