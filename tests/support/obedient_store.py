"""A store that does as a test says: waits, fails, answers in small pages, and counts what it was asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

import trio

from tests.support.oracles import naive_query
from trio_relay import Filter, MemoryStore
from trio_relay.nostr.event import Event, encode
from trio_relay.store.base import Page, QueryTooLarge, Saved, StoreError, StoreStatistics


class ObedientStore(MemoryStore):
    """A memory store with a gate before each method; all gates stand open until `block` shuts one.

    Args:
        page_events: how many events one page of an answer holds at most.
        is_quick: it answers at once what it can, past all gates; by default whoever asks so has to wait.
        writers: how many batches it takes at a time.
    """

    def __init__(self, page_events: int = 500, *, is_quick: bool = False, writers: int = 1) -> None:
        super().__init__()
        self.is_quick = is_quick
        self.trouble: str | None = None
        """What it says of itself in its statistics."""
        self.degraded: str | None = None
        """The same."""
        self.failing_ids: set[str] = set()
        """Events that it cannot take, while it takes others."""
        self.writers = writers
        self.calls: Counter[str] = Counter()
        self.completed: Counter[str] = Counter()
        self.cancelled: Counter[str] = Counter()
        self.batches: list[list[str]] = []
        self.failing: dict[str, str] = {}
        self.too_large: dict[str, str] = {}
        self._gates: dict[str, trio.Event] = {}
        self._page_events = page_events

    def block(self, method: str) -> None:
        """Let calls of this method wait from now on, "page" being the step to the next page of an answer."""
        self._gates[method] = trio.Event()

    def release(self, method: str) -> None:
        """Let those that wait go on, and later calls pass."""
        self._gates.pop(method).set()

    def step(self, method: str) -> None:
        """Let those that wait go on, and later calls wait."""
        self.release(method)
        self.block(method)

    def contents(self) -> set[str]:
        """The ids of all that is stored."""
        return set(self._events)

    async def save_many(self, events: Sequence[Event]) -> list[Saved]:
        await self._pass("save_many")
        self.batches.append([event.id for event in events])
        taken = iter(await super().save_many([event for event in events if event.id not in self.failing_ids]))
        outcomes = [Saved.FAILED if event.id in self.failing_ids else next(taken) for event in events]
        await self._pass("saved")
        return outcomes

    async def known(self, ids: Sequence[str]) -> set[str]:
        await self._pass("known")
        return await super().known(ids)

    def known_nowait(self, ids: Sequence[str]) -> set[str] | None:
        return super().known_nowait(ids) if self.is_quick else None

    def query_nowait(self, filters: Sequence[Filter]) -> Page | None:
        if not self.is_quick:
            return None
        self.calls["query_nowait"] += 1
        return [encode(event) for event in naive_query(filters, self._living())]

    async def query(self, filters: Sequence[Filter]) -> AsyncGenerator[Page, None]:
        await self._pass("query")
        found = [json async for page in super().query(filters) for json in page]
        for start in range(0, len(found), self._page_events):
            await self._pass("page")
            yield found[start : start + self._page_events]

    async def count(self, filters: Sequence[Filter]) -> int:
        await self._pass("count")
        return await super().count(filters)

    def statistics(self) -> StoreStatistics:
        return replace(super().statistics(), trouble=self.trouble, degraded=self.degraded)

    async def sweep(self) -> int:
        await self._pass("sweep")
        return await super().sweep()

    async def forget(self, ids: Sequence[str]) -> int:
        await self._pass("forget")
        return await super().forget(ids)

    async def get_metadata(self) -> dict[str, bytes]:
        await self._pass("get_metadata")
        return await super().get_metadata()

    async def probe(self) -> None:
        await self._pass("probe")
        await super().probe()

    async def _pass(self, method: str) -> None:
        self.calls[method] += 1
        try:
            if (gate := self._gates.get(method)) is not None:
                await gate.wait()
        except trio.Cancelled:
            self.cancelled[method] += 1
            raise
        if (reason := self.failing.get(method)) is not None:
            raise StoreError(reason)
        if (reason := self.too_large.get(method)) is not None:
            raise QueryTooLarge(reason)
        self.completed[method] += 1


class SyncedStore(ObedientStore):
    """The same with gates before the records of a sync, "record page" being the step to the next page of them."""

    async def records(self, filter_: Filter) -> AsyncGenerator[bytes, None]:
        await self._pass("records")
        found = b"".join([page async for page in super().records(filter_)])
        for start in range(0, len(found), 40 * self._page_events):
            await self._pass("record page")
            yield found[start : start + 40 * self._page_events]
