"""This relay's own side of a sync: what it has, as sets, and what of that it gives away.

Sets are of stretches of time, which are halved where one is too much for the other side.

Private messages (`policy.private_kinds`) are in none of the sets and never leave: whoever the other side is, it has not
authenticated here. Protected events (NIP-70) are in the sets, but only their authors may publish them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple

import msgspec

from trio_relay.nostr.access import Reader
from trio_relay.nostr.event import MAX_TIME, Event, decode
from trio_relay.nostr.filter import Filter, parse_filter
from trio_relay.nostr.negentropy.items import RECORD_SIZE, Items, ItemSet
from trio_relay.peers.messages import FilterJson
from trio_relay.store.base import Store

_TIME_SIZE: Final = 8


class TimeSpan(NamedTuple):
    """From `since` to `until`, both included, seconds since 1970; None: without an end on that side."""

    since: int | None = None
    until: int | None = None

    @property
    def is_one_second(self) -> bool:
        """True if it cannot be halved."""
        return (self.since or 0) >= (MAX_TIME if self.until is None else self.until)

    def halves(self, items: Items, now: int) -> tuple[TimeSpan, TimeSpan]:
        """The older and the newer half: by what this relay has there, or else by time.

        Args:
            items: that this relay has in it.
            now: after which not much is expected.
        """
        first = self.since or 0
        last = MAX_TIME if self.until is None else self.until
        middle = time_of(items.record(len(items) // 2)) if len(items) > 1 else last
        if not first <= middle < last:
            middle = (first + (now if first < now < last else last)) // 2
        return TimeSpan(self.since, middle), TimeSpan(middle + 1, self.until)


def time_of(record: bytes) -> int:
    """The `created_at` of a record of a set."""
    assert len(record) == RECORD_SIZE
    return int.from_bytes(record[:_TIME_SIZE], "big")


def stretch_of(filter_: FilterJson) -> TimeSpan:
    """The whole time that a filter asks for.

    Raises:
        Rejected: it is no filter.
    """
    parsed = parse_filter(dict(filter_), all_of=True)
    return TimeSpan(parsed.since, parsed.until)


def within(filter_: FilterJson, stretch: TimeSpan) -> dict[str, object]:
    """The same filter for a stretch of the time that it asks for."""
    ends = {"since": stretch.since, "until": stretch.until}
    return {**filter_, **{name: end for name, end in ends.items() if end is not None}}


def place_of(direction: str, filter_: FilterJson, stretch: TimeSpan) -> bytes:
    """What is carried page by page, as it is remembered."""
    return msgspec.json.encode([direction, within(filter_, stretch)])


class OwnSide:
    """Reads the store for a sync.

    Args:
        store: of this relay.
        private_kinds: see `Rules.private_kinds`.
        most_items: of a set that is held at a time, 40 bytes each, unless more are of one second.
    """

    def __init__(self, store: Store, private_kinds: Collection[int], most_items: int = 100_000) -> None:
        self._store = store
        self._nobody = Reader(private_kinds=frozenset(private_kinds))
        self._most = most_items

    def filter_of(self, filter_: FilterJson, stretch: TimeSpan, *, limit: int | None = None) -> Filter:
        """What this relay gives away of what a filter asks for, in a stretch of time."""
        parsed = parse_filter(dict(within(filter_, stretch)), all_of=True)
        return msgspec.structs.replace(parsed.read_by(self._nobody), limit=limit)

    async def parts(self, filter_: FilterJson, whole: TimeSpan) -> AsyncGenerator[tuple[TimeSpan, ItemSet], None]:
        """A stretch of time in parts of no more than `most_items`, newest first, each once and with the set of it.

        Raises:
            StoreError: the store could not tell.
        """
        left = whole
        while True:
            part, items = await self._newest(filter_, left)
            yield part, items
            if part.since is None or part.since <= (left.since or 0):
                return
            left = TimeSpan(left.since, part.since - 1)

    async def _newest(self, filter_: FilterJson, stretch: TimeSpan) -> tuple[TimeSpan, ItemSet]:
        """The newest part of a stretch that has no more than `most_items`, and a set of what is there, and maybe more.

        Raises:
            StoreError: the store could not tell.
        """
        items = await self._items(self.filter_of(filter_, stretch, limit=self._most + 1))
        if len(items) <= self._most:
            return stretch, items
        everything = items.snapshot()
        oldest, newest = (time_of(everything.record(place)) for place in (0, len(everything) - 1))
        if oldest < newest:  # of the oldest second some may be missing
            return TimeSpan(oldest + 1, stretch.until), items
        part = TimeSpan(oldest, stretch.until)
        return part, await self._items(self.filter_of(filter_, part))

    async def _items(self, filter_: Filter) -> ItemSet:
        items = ItemSet()
        if filter_.wants_stored:
            async with aclosing(self._store.records(filter_)) as pages:
                async for page in pages:
                    items.extend(page)
        return items

    async def lacking(self, ids: Sequence[str]) -> list[str]:
        """Those of the ids that are not stored here, as far as that is known."""
        known = await self._store.known(ids)
        return [event_id for event_id in ids if event_id not in known]

    async def events(self, ids: Sequence[str]) -> list[Event]:
        """Those of these events that are here and may be given away; no more than some hundred at a time."""
        filter_ = Filter(ids=frozenset(ids), limit=len(ids), reader=self._nobody)
        async with aclosing(self._store.query([filter_])) as pages:
            return [decode(event) async for page in pages for event in page]
