"""A client that finds out how a set of its own differs from the server's (NIP-77), by the relay's own client half.

It costs more than other loads, as any client of it does: its CPU is told beside the server's. As elsewhere no frame is
parsed: the hex of a message ends at the first quote.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple

import msgspec

from perf.filled import filled_records
from perf.plan import Counted, Failed, Plan, quantiles
from perf.wire import Wire, connect, frame
from trio_relay.nostr.negentropy.items import ID_SIZE, Items, ItemSet
from trio_relay.nostr.negentropy.protocol import initiate, reconcile

SYNC: Final = "sync"
FRAME: Final = 131_072
"""Bytes of a message of ours at most: what the relay itself has for its own by default."""
_ID: Final = "s"
_ANSWER: Final = re.compile(rb'\["NEG-(MSG|ERR)", ?"s", ?"([^"]*)"')
_json: Final = msgspec.json.Encoder().encode


class Difference(NamedTuple):
    """A set, and what a sync of it is to find: the ids that only it has, and those that it needs."""

    items: Items
    have: frozenset[bytes]
    need: frozenset[bytes]


def sync(plan: Plan) -> Callable[[], Counted]:
    """Syncs of everything one after another over one connection, each with the same set, until all is found."""
    difference = differing(filled_records(plan.filled), plan.differing)
    talk = _Talk(*connect(plan.port, 1))
    return lambda: _syncs(talk, difference, plan.count)


def sync_again(plan: Plan) -> Callable[[], Counted]:
    """The same after one that doesn't count, for which the server has read its set."""
    difference = differing(filled_records(plan.filled), plan.differing)
    _syncs(_Talk(*connect(plan.port, 1)), difference, 1)
    talk = _Talk(*connect(plan.port, 1))
    return lambda: _syncs(talk, difference, plan.count)


def differing(records: bytes, number: int) -> Difference:
    """A set that lacks half of so many of these records, and has as many others beside them, anywhere in time.

    Args:
        records: 40 bytes each, every one once.
        number: even, and at most as many as there are records.
    """
    random = Random(13)
    collection = ItemSet()
    collection.extend(records)
    everything = collection.snapshot()
    lacking = [everything.record(index) for index in random.sample(range(len(everything)), number // 2)]
    for one in lacking:
        collection.discard(_time(one), one[-ID_SIZE:])
    first, last = _time(everything.record(0)), _time(everything.record(len(everything) - 1))
    own = [random.randbytes(ID_SIZE) for _ in lacking]
    for event_id in own:
        collection.add(random.randint(first, last), event_id)
    return Difference(collection.snapshot(), frozenset(own), frozenset(one[-ID_SIZE:] for one in lacking))


def _time(one: bytes) -> int:
    return int.from_bytes(one[:-ID_SIZE], "big")


class _Talk:
    """Messages and their answers on one connection, and how many bytes both were."""

    def __init__(self, wire: Wire) -> None:
        self.rounds = 0
        self.sent = 0
        self.received = 0
        self._wire = wire

    def say(self, *message: object) -> None:
        data = frame(_json(message))
        self._wire.socket.sendall(data)
        self.sent += len(data)

    def hear(self) -> bytes:
        """The server's next message of a sync."""
        heard = b""
        while (found := _ANSWER.search(heard)) is None:
            part = self._wire.read()
            self.received += len(part)
            heard += part
        verb, text = found.groups()
        if verb == b"ERR":
            raise Failed(f"the sync was refused: {text.decode(errors='replace')}")
        self.rounds += 1
        return bytes.fromhex(text.decode())


def _syncs(talk: _Talk, difference: Difference, count: int) -> Counted:
    durations = []
    for _ in range(count):
        start = time.perf_counter()
        _sync(talk, difference)
        durations.append(time.perf_counter() - start)
    return Counted(
        operations=count,
        messages=talk.rounds,
        seconds=sum(durations),
        latencies={SYNC: quantiles(durations)},
        sent=talk.sent,
        received=talk.received,
    )


def _sync(talk: _Talk, difference: Difference) -> None:
    have: set[bytes] = set()
    need: set[bytes] = set()
    talk.say("NEG-OPEN", _ID, {}, initiate(difference.items).hex())
    while True:
        message, more_had, more_needed = reconcile(difference.items, talk.hear(), FRAME)
        have.update(more_had)
        need.update(more_needed)
        if message is None:
            break
        talk.say("NEG-MSG", _ID, message.hex())
    talk.say("NEG-CLOSE", _ID)
    if have != difference.have or need != difference.need:
        raise Failed(f"the sync found {len(have)} and {len(need)} differences, or others than there are")
