#!/usr/bin/env bash
# Packages: pynostr 0.7.0 (PyPI).
#
# Guess: what a program publishes before it runs the connection goes out once the connection is there, all of it, in
# order; Nostr lets both sides speak whenever they want.
#
# Behaviour: one message goes out when the connection is made, and from then on one for each message that comes in. To a
# relay that says nothing, or nothing yet, the rest of the queue is never sent; a relay that greets with a NOTICE or a
# challenge gets one message more.
# Seen (three events are published, the relay answers nothing for three seconds):
#   no greeting    1 of 3 arrived
#   one NOTICE     2 of 3 arrived
#   two NOTICEs    3 of 3 arrived
#
# Why it matters: publishing and subscribing work as long as every message is answered by exactly one or more, and stall
# when a relay saves an answer; a relay that stops to send a challenge to everybody takes away what pushed a message out.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check pynostr==0.7.0 websockets==12.0

cat > look.py <<'PY'
import asyncio
import json
import os

import websockets
from pynostr.event import Event
from pynostr.key import PrivateKey
from pynostr.relay_manager import RelayManager


async def look(greetings):
    arrived = []

    async def relay(socket, *_):
        for n in range(greetings):
            await socket.send(json.dumps(["NOTICE", f"hello {n}"]))
        async for text in socket:
            arrived.append(json.loads(text))

    async with websockets.serve(relay, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        manager = RelayManager(timeout=3)
        manager.add_relay(url, close_on_eose=False)
        key = PrivateKey()
        for n in range(3):
            event = Event(str(n), pubkey=key.public_key.hex())
            event.sign(key.hex())
            manager.publish_event(event)
        await manager.prepare_relays()
        print(f"{greetings} greetings: {len(arrived)} of 3 arrived", flush=True)
        manager.close_connections()


async def main():
    for greetings in range(3):
        await look(greetings)
    os._exit(0)


asyncio.run(asyncio.wait_for(main(), 40))
PY
seen=$(env/bin/python look.py)
expected='0 greetings: 1 of 3 arrived
1 greetings: 2 of 3 arrived
2 greetings: 3 of 3 arrived'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
