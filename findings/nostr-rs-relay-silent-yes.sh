#!/usr/bin/env bash
# Packages: nostr-rs-relay 0.8.12 (Rust), websockets 12.0 and coincurve 21.0.0 (PyPI).
# Needs cargo, a C compiler, protoc and the headers of OpenSSL; building the relay takes some ten minutes on two cores.
# It is built without --locked, since not all versions of its lock file compile with today's Rust (seen with 1.95).
#
# Guess: each EVENT and each AUTH is answered by an OK, true or false, and each REQ by an EOSE or CLOSED, as NIP-01 and
# NIP-42 have it.
#
# Behaviour: an OK comes for refusals and for what the database has taken. What is accepted and not stored gets no
# answer: an ephemeral event is delivered and its author hears nothing, an authentication takes effect and the client
# hears nothing. Likewise a REQ that asks the database nothing (limit 0), or that equals one that is open, id included.
# Seen (with nip42_auth and nip42_dms on; answers until five seconds of silence):
#   EVENT of kind 1       OK true, the listener gets it; the same again: OK true "duplicate: "
#   EVENT of kind 20001   nothing, the listener gets it; the same again: the same
#   AUTH                  OK false for a wrong challenge, nothing for the right one
#   REQ for one's own private message   EOSE before AUTH; the same REQ after it: nothing; by another id: EVENT, EOSE
#   REQ with limit 0      nothing
#
# Why it matters: a client that waits for the OK reports such an event as lost or sends it again, and listeners get it
# twice. One that repeats its requests after AUTH, as clients do, waits for an EOSE that never comes: it has to send
# CLOSE first or to take a new id. What forwards or compares events must not count these silences as a broken relay.
set -euo pipefail
work=$(mktemp -d)
relay=
trap '[ -z "$relay" ] || kill "$relay"; rm -rf "$work"' EXIT
cd "$work"
cargo install --quiet --root "$work" nostr-rs-relay --version 0.8.12
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check websockets==12.0 coincurve==21.0.0

cat > look.py <<'PY'
import asyncio
import hashlib
import json
import sys
import time

import websockets
from coincurve import PrivateKey

KEY = PrivateKey()
AUTHOR = KEY.public_key_xonly.format().hex()


def signed(kind, content="", tags=()):
    event = {"pubkey": AUTHOR, "created_at": int(time.time()), "kind": kind, "tags": list(tags), "content": content}
    hashed = [0, AUTHOR, event["created_at"], kind, event["tags"], content]
    digest = hashlib.sha256(json.dumps(hashed, separators=(",", ":")).encode()).digest()
    return event | {"id": digest.hex(), "sig": KEY.sign_schnorr(digest).hex()}


async def opened(url):
    """A connection, as soon as the relay listens, and the challenge that it begins with."""
    while True:
        try:
            socket = await websockets.connect(url)
        except OSError:
            await asyncio.sleep(0.2)
        else:
            return socket, json.loads(await socket.recv())[1]


async def answers(socket, *message, seconds=5):
    """What the relay says to a message until it has been silent for a while; without ids."""
    heard = []
    if message:
        await socket.send(json.dumps(message))
    while True:
        try:
            word, _, *rest = json.loads(await asyncio.wait_for(socket.recv(), seconds)) + [None]
        except asyncio.TimeoutError:
            return "; ".join(heard) or "nothing"
        heard.append(f"{word} {rest[0]} {rest[1]}".strip() if word == "OK" else word)


async def main(url):
    (reader, _), (writer, challenge) = await opened(url), await opened(url)
    print("listener:", await answers(reader, "REQ", "all", {"kinds": [1, 20001]}))
    for kind in (1, 20001):
        event = signed(kind, "hello")
        for name in f"kind {kind}", f"kind {kind} again":
            told = await answers(writer, "EVENT", event)
            print(f"{name}: {told}; listener: {await answers(reader, seconds=1)}")

    print("kind 4:", await answers(writer, "EVENT", signed(4, "secret", [["p", AUTHOR]])))
    private = {"authors": [AUTHOR], "kinds": [4]}
    print("REQ one:", await answers(writer, "REQ", "one", private))
    for name, text in ("another challenge", "x" + challenge), ("its challenge", challenge):
        proof = signed(22242, "", [["relay", url], ["challenge", text]])
        print(f"AUTH with {name}:", await answers(writer, "AUTH", proof))
    print("REQ one again:", await answers(writer, "REQ", "one", private))
    print("REQ two:", await answers(writer, "REQ", "two", private))
    print("REQ with limit 0:", await answers(writer, "REQ", "three", {"kinds": [1], "limit": 0}))


asyncio.run(asyncio.wait_for(main(sys.argv[1]), 150))
PY
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir db
cat > config.toml <<TOML
[info]
relay_url = "ws://127.0.0.1:$port"
[network]
address = "127.0.0.1"
port = $port
[authorization]
nip42_auth = true
nip42_dms = true
TOML
bin/nostr-rs-relay --config config.toml --db db >relay.log 2>&1 &
relay=$!
seen=$(env/bin/python look.py "ws://127.0.0.1:$port")
expected='listener: EOSE
kind 1: OK True; listener: EVENT
kind 1 again: OK True duplicate:; listener: nothing
kind 20001: nothing; listener: EVENT
kind 20001 again: nothing; listener: EVENT
kind 4: OK True
REQ one: EOSE
AUTH with another challenge: OK False restricted: authentication error: Invalid AUTH message
AUTH with its challenge: nothing
REQ one again: nothing
REQ two: EVENT; EOSE
REQ with limit 0: nothing'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
