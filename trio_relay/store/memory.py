"""A store in a dict: the reference for the others, and the store of tests and of a relay that should forget."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from itertools import islice

import trio

from trio_relay.nostr.event import Event, encode
from trio_relay.nostr.filter import Filter
from trio_relay.store.base import Page, Saved, StoreStatistics
from trio_relay.store.judge import Facts, judge

_PAGE = 500


class MemoryStore:
    """Everything in memory, nothing on disk; queries look at every event."""

    description = "memory (forgets everything when it stops)"

    def __init__(self) -> None:
        self._events: dict[str, Event] = {}
        self._facts = Facts()

    async def save_many(self, events: Sequence[Event]) -> list[Saved]:
        await trio.lowlevel.checkpoint()
        # The whole memory serves as the facts: judging keeps them true.
        ruling = judge(events, self._facts)
        for event_id in ruling.remove:
            del self._events[event_id]
        self._events.update(ruling.insert)
        return ruling.outcomes

    async def known(self, ids: Sequence[str]) -> set[str]:
        await trio.lowlevel.checkpoint()
        return self._events.keys() & set(ids)

    def known_nowait(self, ids: Sequence[str]) -> set[str] | None:
        return self._events.keys() & set(ids)

    def query_nowait(self, filters: Sequence[Filter]) -> Page | None:
        return None if any(one.wants_stored for one in filters) else []  # every query looks at everything

    async def query(self, filters: Sequence[Filter]) -> AsyncGenerator[Page, None]:
        await trio.lowlevel.checkpoint()
        newest_first = sorted(self._events.values(), key=lambda event: (-event.created_at, event.id))
        wanted: set[str] = set()
        for one in filters:
            wanted.update(event.id for event in islice(filter(one.matches, newest_first), one.limit))
        for page in _pages([event for event in newest_first if event.id in wanted]):
            yield page
            await trio.lowlevel.checkpoint()

    async def scan(self) -> AsyncGenerator[Page, None]:
        await trio.lowlevel.checkpoint()
        for page in _pages(list(self._events.values())):
            yield page
            await trio.lowlevel.checkpoint()

    async def probe(self) -> None:
        await trio.lowlevel.checkpoint()

    def statistics(self) -> StoreStatistics:
        return StoreStatistics("memory")


def _pages(events: list[Event]) -> list[Page]:
    return [[encode(event) for event in events[i : i + _PAGE]] for i in range(0, len(events), _PAGE)]
