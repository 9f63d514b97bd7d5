"""What is known of records that were written lately, by this relay or by others, so that none is news twice. Pure.

A record comes to a relay's knowledge in any of four ways, and often in more than one: it has written it itself, a note
has come over the bus, it was read from the index, or a client's query has found it. Whichever is first, it is news then
and never again. Three facts decide that, and no clock but for the last:

- a write is known by its time of arrival together with the event's id: writes of the same event, after it was removed,
  have other times;
- of each record the newest version counts, however late an older one is heard of;
- what arrived before `floor` is old: it has been heard, or was there before this relay was.

The memory is bounded: by `floor`, which rises with each look at the index that was carried through, and by
`MOST_REMEMBERED`, beyond which the oldest are forgotten and `floor` rises above them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

import msgspec

from trio_relay.store.opensearch.documents import Document

K = TypeVar("K")

MOST_REMEMBERED: Final = 100_000
"""Events that were written, records without an event, and versions: so many of each."""


class Written(msgspec.Struct, array_like=True, gc=False):
    """A record as it was written, as others are to know it.

    Attributes:
        slot: the record's `_id`.
        version: of its state.
        arrived: see `Document`.
        event: JSON of the event in it; empty if there is none.
        gone: id of the event that was in it and is no more, if that is known.
        until: see `Document`.
        vanished: see `Document`.
        name: of what the relay keeps, whether it was put or deleted.
        value: of that, in Base64; None if it was deleted.
    """

    slot: str
    version: int
    arrived: int
    event: str = ""
    gone: str = ""
    until: int = -1
    vanished: str = ""
    name: str = ""
    value: str | None = None


def written(slot: str, version: int, made: Document, gone: str = "", name: str = "") -> Written:
    """Return what others are to know of a document that was written."""
    value = made.value if made.name else None
    return Written(slot, version, made.arrived, made.event, gone, made.until, made.vanished, name or made.name, value)


class Remembered:
    """The writes and the records that were lately heard of."""

    def __init__(self) -> None:
        self.floor = 0
        """What arrived before, in nanoseconds since 1970, is no news."""
        self._writes: dict[int, int] = {}
        self._bare: dict[int, int] = {}
        self._versions: dict[str, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._writes) + len(self._bare)

    def is_news(self, slot: str, version: int, arrived: int, event_id: str) -> bool:
        """Return True if nobody here has heard of this state of a record, nor of a newer one."""
        return arrived >= self.floor and self.is_newer(slot, version) and not self.has(arrived, event_id)

    def is_newer(self, slot: str, version: int) -> bool:
        """Return True unless this version of a record, or a newer one, is known."""
        known = self._versions.get(slot)
        return known is None or known[1] < version

    def has(self, arrived: int, event_id: str) -> bool:
        """Return True if this write is known; `event_id` is empty for a record without an event."""
        return hash((arrived, event_id)) in (self._writes if event_id else self._bare)

    def add(self, arrived: int, event_id: str) -> None:
        """Remember a write."""
        key = hash((arrived, event_id))
        if not event_id:
            # A key that vanishes may leave a million: to hear of such a one again does no harm.
            self._bare[key] = arrived
            if len(self._bare) > MOST_REMEMBERED:
                del self._bare[next(iter(self._bare))]
            return
        self._writes[key] = arrived
        if len(self._writes) > MOST_REMEMBERED:
            first = next(iter(self._writes))
            self.floor = max(self.floor, self._writes.pop(first) + 1)

    def put(self, slot: str, version: int, arrived: int) -> None:
        """Remember the newest version of a record."""
        if self.is_newer(slot, version):
            self._versions.pop(slot, None)
            self._versions[slot] = (arrived, version)
            if len(self._versions) > MOST_REMEMBERED:
                del self._versions[next(iter(self._versions))]

    def withdraw(self, arrived: int, event_id: str) -> None:
        """Forget a write that was not carried out, or of which that is not known."""
        self._writes.pop(hash((arrived, event_id)), None)

    def raise_floor(self, floor: int) -> None:
        """Forget what arrived before: it is no news any more, whoever finds it."""
        self.floor = max(self.floor, floor)
        for writes in (self._writes, self._bare):
            for key in list(_older(writes.items(), self.floor)):
                del writes[key]
        for slot in list(_older(((slot, arrived) for slot, (arrived, _) in self._versions.items()), self.floor)):
            del self._versions[slot]


def _older(entries: Iterable[tuple[K, int]], floor: int) -> Iterable[K]:
    """Yield what was remembered first and is older; what has a later time, by a clock that is ahead, ends it."""
    for key, arrived in entries:
        if arrived >= floor:
            return
        yield key
