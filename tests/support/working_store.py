"""A store whose questions take as long as a test says, a few at a time as with a pool of readers."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Sequence

import trio

from trio_relay import Filter, MemoryStore


class WorkingStore(MemoryStore):
    """A memory store that works on each question for the seconds that its kinds take.

    Args:
        seconds: by kind of event: how long a count, or a page of an answer, takes that asks for this kind.
        readers: questions that it works on at a time.
        page_events: events of one page.
    """

    is_shared = True  # its steps take no core of this machine, however many that has

    def __init__(self, seconds: dict[int, float], readers: int = 4, page_events: int = 500) -> None:
        super().__init__()
        self.readers = readers
        self.begun: Counter[int] = Counter()
        """Steps that were begun, by kind."""
        self.done: Counter[int] = Counter()
        """Steps that came to their end."""
        self.most_at_work = 0
        self._seconds = seconds
        self._reading = trio.CapacityLimiter(readers)
        self._page_events = page_events

    async def count(self, filters: Sequence[Filter]) -> int:
        await self._work(filters)
        return await super().count(filters)

    async def query(self, filters: Sequence[Filter]) -> AsyncGenerator[list[bytes], None]:
        await self._work(filters)
        found = [json async for page in super().query(filters) for json in page]
        for start in range(0, len(found), self._page_events):
            if start:
                await self._work(filters)
            yield found[start : start + self._page_events]

    async def records(self, filter_: Filter) -> AsyncGenerator[bytes, None]:
        await self._work([filter_])
        async for page in super().records(filter_):
            yield page

    async def _work(self, filters: Sequence[Filter]) -> None:
        (kind,) = filters[0].kinds or {0}
        async with self._reading:
            self.begun[kind] += 1
            self.most_at_work = max(self.most_at_work, self._reading.borrowed_tokens)
            await trio.sleep(self._seconds.get(kind, 0.0))
            self.done[kind] += 1


def of_kind(kind: int, limit: int | None = 500) -> Filter:
    """A filter that takes as long as this kind does."""
    return Filter(kinds=frozenset({kind}), limit=limit)
