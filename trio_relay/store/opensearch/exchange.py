"""What relays on one index tell each other over a bus, as soon as it is written, and how they take what they are told.

    this relay writes  ─▶ `tell` ─▶ a note of all that was written since ─▶ the bus
    the bus            ─▶ a note ─▶ `Others.hear`: overlay, subscribers, tombstones
                       └▶ a gap  ─▶ `Follower.hurry`: what was missed is in the index by then

A note has records with their slots and versions, so that the receiver's queries find what no search sees yet, and notes
that come late do no harm. A relay that is killed may take its last notes along; so the index is looked at all the same,
seldom, while the bus is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

import msgspec
import structlog
import trio

from trio_relay.bus import Bus, Gap, Heard
from trio_relay.nostr.event import Event, encode
from trio_relay.store.base import NoteStatistics
from trio_relay.store.opensearch.following import Follower
from trio_relay.store.opensearch.others import Others
from trio_relay.store.opensearch.remembered import Written

T = TypeVar("T")

log = structlog.get_logger("trio_relay.store")

_FORMAT: Final = 1
"""Of notes; what another version of the program has sent is read from the index."""
_MOST_BYTES: Final = 262_144
"""Of the records of a note, but for a single one that is longer."""
_RECORD_BYTES: Final = 150
"""Of a record, roughly, beside its event."""


class Telling(msgspec.Struct, array_like=True, gc=False):
    """A note.

    Attributes:
        form: `_FORMAT`.
        sent: nanoseconds since 1970.
        records: that were written, in their order.
        passing: JSON of events that nobody stores.
    """

    form: int
    sent: int
    records: list[Written] = []
    passing: list[str] = []


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Telling).decode


class Exchange:
    """One relay's side.

    Args:
        bus: what notes go over.
        others: hears of them.
        follower: looks into the index after a gap.
        clock: nanoseconds since 1970; None: the system's.
    """

    def __init__(self, bus: Bus, others: Others, follower: Follower, clock: Callable[[], int] | None = None) -> None:
        self.bus = bus
        self._others = others
        self._follower = follower
        self._clock = clock or time.time_ns
        self._records: list[Written] = []
        self._written = trio.Event()
        self._last_sent = 0

    @property
    def is_there(self) -> bool:
        """True while the bus tells what others write."""
        return self.bus.trouble is None

    @property
    def tells_all(self) -> bool:
        """True while nobody else writes of whom the bus does not tell."""
        return self.is_there and self.bus.reaches_all

    def statistics(self) -> NoteStatistics:
        """Return what the bus has carried."""
        now = self.bus.statistics()
        return NoteStatistics(self.is_there, now.notes_sent, now.notes_heard, now.notes_dropped, now.gaps)

    def tell(self, one: Written) -> None:
        """Have others hear of a record that was written; sync."""
        self._records.append(one)
        self._written.set()

    def spread(self, events: Sequence[Event]) -> None:
        """Have others hear of events that nobody stores; sync."""
        # What was written before goes before.
        self.flush()
        passing = [encode(event).decode() for event in events]
        for part in _parts(passing, len):
            self._send([], part)

    def flush(self) -> None:
        """Hand what was told to the bus; sync."""
        records, self._records = self._records, []
        for part in _parts(records, lambda one: _RECORD_BYTES + len(one.event)):
            self._send(part, [])

    def _send(self, records: list[Written], passing: list[str]) -> None:
        # Each later than the one before: a time and an id are how an event that nobody stores is known again.
        self._last_sent = max(self._clock(), self._last_sent + 1)
        self.bus.send(_encode(Telling(_FORMAT, self._last_sent, records, passing)))

    async def run(self) -> None:
        """Send and hear notes, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.bus.listen, self._take)
            nursery.start_soon(self._keep_sending)

    async def _keep_sending(self) -> None:
        while True:
            await self._written.wait()
            self._written = trio.Event()
            self.flush()

    async def _take(self, heard: Heard) -> None:
        if isinstance(heard, Gap):
            log.info("looking into the index for what the bus may have lost", reason=heard.reason)
            self._others.decide(None)
            self._follower.hurry()
            return
        try:
            note = _decode(heard.payload)
            if note.form != _FORMAT:
                raise msgspec.ValidationError(f"it is of form {note.form}")
            self._others.hear(note.records, "bus")
            self._others.hear_passing((note.sent, json) for json in note.passing)
        except (ValueError, RecursionError) as error:  # msgspec's errors are such
            log.warning("a note was not understood", sender=heard.sender, error=str(error))
            self._others.decide(None)
            self._follower.hurry()
        await self._others.drained()


def _parts(items: Sequence[T], size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Split into parts of so many bytes, or of one item."""
    part: list[T] = []
    filled = 0
    for item in items:
        size = size_of(item)
        if part and filled + size > _MOST_BYTES:
            yield part
            part, filled = [], 0
        part.append(item)
        filled += size
    if part:
        yield part
