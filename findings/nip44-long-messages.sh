#!/usr/bin/env bash
# Packages: nostr-tools 2.25.2 (npm), nostr-sdk 0.45.1 (PyPI, rust-nostr).
#
# Guess: two maintained libraries agree on how long a NIP-44 (version 2) message may be. The well-known bound is 65,535
# bytes, the most that a length of two bytes can say, and what one encrypts the other decrypts.
#
# Behaviour: neither stops at the bound, and they miss it on different sides. nostr-tools also encrypts longer texts,
# with a longer length in front, still as version 2. nostr-sdk writes 65,408 bytes at most (the padded size above that
# is refused), reads up to 65,535, and refuses what is longer.
# Seen:
#   65,408 bytes: both write, both read
#   65,409 to 65,535 bytes: nostr-sdk reads what nostr-tools wrote, but does not write it
#   65,536 bytes: nostr-tools writes and reads, nostr-sdk says "message too long" to both
#
# Why it matters: seals, gift wraps, private list items and remote signing all carry such texts. A big private list that
# a JavaScript client wrote cannot be opened by a Rust or Python one, or can be opened and not be saved again. The relay
# stores and serves it correctly, yet gets the bug report.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check nostr-sdk==0.45.1
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts nostr-tools@2.25.2

cat > write.mjs <<'JS'
import {writeFileSync} from 'node:fs'
import {getPublicKey, nip44} from 'nostr-tools'

const secret = new Uint8Array(32)
secret[31] = 1
const key = nip44.getConversationKey(secret, getPublicKey(secret))
for (const size of [65408, 65409, 65535, 65536]) {
  const sealed = nip44.encrypt('a'.repeat(size), key)
  console.log('nostr-tools', size + ': reads back', nip44.decrypt(sealed, key).length)
  writeFileSync('sealed-' + size, sealed)
}
JS
cat > read.py <<'PY'
from nostr_sdk import Keys, Nip44Version, nip44_decrypt, nip44_encrypt

keys = Keys.parse("00" * 31 + "01")
for size in (65408, 65409, 65535, 65536):
    try:
        with open(f"sealed-{size}") as file:
            got = "reads " + str(len(nip44_decrypt(keys.secret_key(), keys.public_key(), file.read())))
    except Exception as error:
        got = f"does not read: {error}"
    try:
        nip44_encrypt(keys.secret_key(), keys.public_key(), "a" * size, Nip44Version.V2)
        wrote = "writes"
    except Exception as error:
        wrote = f"does not write: {error}"
    print(f"nostr-sdk {size}: {got}, {wrote}")
PY
seen=$(node write.mjs; env/bin/python read.py)
printf '%s\n' "$seen"
expected="nostr-tools 65408: reads back 65408
nostr-tools 65409: reads back 65409
nostr-tools 65535: reads back 65535
nostr-tools 65536: reads back 65536
nostr-sdk 65408: reads 65408, writes
nostr-sdk 65409: reads 65409, does not write: 'message too long'
nostr-sdk 65535: reads 65535, does not write: 'message too long'
nostr-sdk 65536: does not read: 'message too long', does not write: 'message too long'"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
