#!/usr/bin/env bash
# Packages: aionostr 0.20.0 with websockets 12.0 (PyPI).
#
# Guess: add_event(event, check_response=True) answers with what the relay said about that event.
#
# Behaviour: every OK goes into one queue, and add_event takes the first that lies there. After authentication this is
# the OK of the AUTH event: the first publish reports another event's id and returns before its own answer has come, and
# from then on each publish reports the answer of the one before. It returns the id, never the verdict, so that a
# refused event looks like a stored one.
# Seen (a relay that authenticates, then accepts the first event and refuses the second):
#   publish 1 -> id of the AUTH event
#   publish 2 -> id of event 1
#
# Why it matters: NIP-42 demands an OK for AUTH, so a relay that follows it puts such clients out of step for the whole
# connection. Relays that send no OK for AUTH hide the fault, so a change to the rule shows up as "publishing is
# broken".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check aionostr==0.20.0 websockets==12.0

cat > look.py <<'PY'
import asyncio
import json
import websockets
from aionostr.event import Event
from aionostr.key import PrivateKey
from aionostr.relay import Relay

SECRET = "00" * 31 + "01"
names = {}


async def relay(socket, *_):
    await socket.send(json.dumps(["AUTH", "a challenge"]))
    number = 0
    async for text in socket:
        word, event = json.loads(text)
        if word == "AUTH":
            names[event["id"]] = "the AUTH event"
            await socket.send(json.dumps(["OK", event["id"], True, ""]))
        else:
            number += 1
            names[event["id"]] = f"event {number}"
            await socket.send(json.dumps(["OK", event["id"], number == 1, "" if number == 1 else "blocked: no"]))


async def main():
    async with websockets.serve(relay, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Relay(f"ws://127.0.0.1:{port}/", private_key=SECRET) as client:
            await asyncio.sleep(1)  # authentication is over by then
            pubkey = PrivateKey(bytes.fromhex(SECRET)).public_key.hex()
            for number in (1, 2):
                event = Event(pubkey=pubkey, content=str(number), created_at=1700000000, tags=[])
                event.sign(SECRET)
                answer = await client.add_event(event, check_response=True)
                await asyncio.sleep(0.5)
                print(f"publish {number} -> {names[answer]}")


asyncio.run(asyncio.wait_for(main(), 30))
PY
seen=$(env/bin/python look.py)
expected='publish 1 -> the AUTH event
publish 2 -> event 1'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
