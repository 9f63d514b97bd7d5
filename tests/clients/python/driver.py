"""The part that all scripts share.

It reads commands, one JSON object a line, lets the library carry them out, and answers each with one JSON line, in
whatever order they are done. See tests/clients/driver.py for the other end.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterable
from signal import SIGKILL
from typing import Any

URL, SECRET = sys.argv[1:3]
"""The relay, and the secret key in hex that authenticates; empty for a client without a key."""

_OUT = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # what libraries print goes elsewhere


def found(events: Iterable[tuple[str, int]]) -> list[dict[str, Any]]:
    """What the scenario needs to know of events that were found: their ids, and how many tags they have."""
    return [{"id": event_id, "tags": tags} for event_id, tags in events]


def arrived(event_id: str) -> None:
    """Tell that a subscription has brought an event."""
    _say({"arrived": event_id})


async def drive(client: object) -> None:
    """Carry out commands until there are no more; what the client has no method for is answered with `lacks`."""
    reader = asyncio.StreamReader(limit=2**24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    running = set()
    while line := await reader.readline():
        task = asyncio.create_task(_answer(client, **json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)
    os.kill(os.getpid(), SIGKILL)  # whatever threads and tasks the library has


async def _answer(client: object, number: int, does: str, argument: Any) -> None:
    method = getattr(client, does, None)
    if method is None:
        _say({"number": number, "lacks": True})
        return
    try:
        _say({"number": number, "value": await method(argument)})
    except NotImplementedError:
        _say({"number": number, "lacks": True})
    except Exception as error:
        _say({"number": number, "failed": str(error) or type(error).__name__})


def _say(line: dict[str, Any]) -> None:
    _OUT.write(json.dumps(line) + "\n")
