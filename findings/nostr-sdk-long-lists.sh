#!/usr/bin/env bash
# Packages: nostr-sdk 0.45.1 with websockets 12.0 (PyPI).
#
# Guess: how many tags an event may have is for the relay to say; a library that minds tells its program so.
#
# Behaviour: the library keeps limits of its own, by kind, and drops what is over them without a word: fetch_events ends
# in good order and lacks the event. A follow list (kind 3) of 2,001 tags comes; a follow set (kind 30000) of as many is
# gone, one of 2,000 comes. Sending such a set is not refused, so that an author can publish what the same program, asked
# for it a second later, says does not exist.
# Seen (lists of valid signature from one relay, tags by kind):
#   kind 3       2000 found, 2001 found
#   kind 30000   2000 found, 2001 not found
#   sent         30000 of 2001 tags: accepted
#
# Why it matters: mute lists, sets and communities of that size exist. To such a client one looks deleted, and what it
# writes next replaces it for everybody.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check nostr-sdk==0.45.1 websockets==12.0

cat > look.py <<'PY'
import asyncio
import hashlib
import json
from datetime import timedelta

import websockets
from nostr_sdk import ClientBuilder, Event, EventBuilder, Filter, Keys, Kind, RelayUrl, ReqTarget, Tag, nostr_sdk

shelf = []


def made(kind, size):
    keys = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(size - 1)]
    tags = [Tag.parse(["d", "all"]), *(Tag.parse(["p", key]) for key in keys)]
    return EventBuilder(Kind(kind), "").tags(tags).finalize(Keys.generate())


async def relay(socket, *_):
    async for text in socket:
        message = json.loads(text)
        if message[0] == "REQ":
            for event in shelf:
                if event["id"] in message[2]["ids"]:
                    await socket.send(json.dumps(["EVENT", message[1], event]))
            await socket.send(json.dumps(["EOSE", message[1]]))
        elif message[0] == "EVENT":
            await socket.send(json.dumps(["OK", message[1]["id"], True, ""]))


async def main():
    nostr_sdk.uniffi_set_event_loop(asyncio.get_running_loop())
    async with websockets.serve(relay, "127.0.0.1", 0, max_size=None) as server:
        url = RelayUrl.parse(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        client = ClientBuilder().build()
        await client.add_relay(url)
        await client.connect(timedelta(seconds=5))
        for kind in (3, 30000):
            for size in (2000, 2001):
                event = made(kind, size)
                shelf.append(json.loads(event.as_json()))
                found = await client.fetch_events(ReqTarget.auto([Filter().id(event.id())]), timedelta(seconds=5))
                print(f"kind {kind}, {size} tags: {len(found)} found")
        output = await client.send_event(event)
        print(f"sent: {len(output.success)} accepted, {len(output.failed)} failed")


asyncio.run(asyncio.wait_for(main(), 50))
PY
seen=$(env/bin/python look.py)
expected='kind 3, 2000 tags: 1 found
kind 3, 2001 tags: 1 found
kind 30000, 2000 tags: 1 found
kind 30000, 2001 tags: 0 found
sent: 1 accepted, 0 failed'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
