"""What a bus takes for a note: Redis' CPU for adding one to a stream and for giving it to a reader, and its bytes.

A note holds an event as JSON. Notes are added one a command, some in one write, as relays that publish at the same time
have it; each reader takes all that is new. A real Redis, over a Unix socket.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from perf.micro.redis_lists import SERVER
from perf.micro.resp import Redis, command
from perf.servers import running
from trio_relay.nostr.event import Event, encode

_KEY: Final = b"notes"
_MOST: Final = b"1000000"
_PATIENCE: Final = 5.0
_BETWEEN_LOOKS: Final = 0.005
_TOGETHER: Final = 20
"""Notes that are added in one write, and taken in one read."""


class NoteCosts(NamedTuple):
    """What a note takes.

    Attributes:
        added: seconds of Redis' CPU for an XADD.
        given: seconds of Redis' CPU for one reader's share of an XREAD.
        held: bytes of memory while it stands in the stream.
        size: bytes of the event as JSON.
    """

    added: float
    given: float
    held: float
    size: float


def notes(events: Sequence[Event], count: int = 40_000, readers: int = 4) -> NoteCosts:
    """Add so many notes, and have each of some readers take them all.

    Raises:
        RespError: Redis refused a command.
    """
    messages = [encode(events[number % len(events)]) for number in range(count)]
    with running(SERVER) as server, _connected(server.folder / "socket") as redis:
        empty = _told(redis, b"memory", "used_memory")
        start = _cpu(redis)
        for first in range(0, count, _TOGETHER):
            some = messages[first : first + _TOGETHER]
            adds = [command(b"XADD", _KEY, b"MAXLEN", b"~", _MOST, b"*", b"e", message) for message in some]
            redis.send(b"".join(adds))
            for _ in redis.answers(len(some)):
                pass
        added = _cpu(redis)
        held = _told(redis, b"memory", "used_memory") - empty
        for _ in range(readers):
            _read_all(redis, count)
        given = _cpu(redis)
    return NoteCosts(
        added=(added - start) / count,
        given=(given - added) / count / readers,
        held=held / count,
        size=sum(map(len, messages)) / count,
    )


def _connected(path: Path) -> Redis:
    """A connection; Redis takes those of TCP a moment before it makes its Unix socket."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        with suppress(FileNotFoundError, ConnectionRefusedError):
            return Redis(path)
        time.sleep(_BETWEEN_LOOKS)
    return Redis(path)


def _read_all(redis: Redis, count: int) -> None:
    last, seen = b"0", 0
    while seen < count:
        answer: Any = redis.ask(b"XREAD", b"COUNT", b"%d" % _TOGETHER, b"STREAMS", _KEY, last)
        ((_, entries),) = answer
        last = entries[-1][0]
        seen += len(entries)


def _cpu(redis: Redis) -> float:
    return _told(redis, b"cpu", "used_cpu_user") + _told(redis, b"cpu", "used_cpu_sys")


def _told(redis: Redis, section: bytes, name: str) -> float:
    text = redis.ask(b"INFO", section)
    assert isinstance(text, bytes)
    return float(dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)[name])
