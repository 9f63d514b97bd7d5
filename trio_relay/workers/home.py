"""The store as the keeper's own relay has it: what it removes was not saved by a worker behind its back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.hyperloglog import Sketch
from trio_relay.store.archive import Archived
from trio_relay.store.base import Audience, Listener, Page, Saved, Store, StoreStatistics
from trio_relay.store.insight import Explanation, Holdings
from trio_relay.store.inspection import Compacted, Inspected, Space, Verify
from trio_relay.store.kept import Keeper
from trio_relay.store.surveyed import NO_KINDS, Surveyed


class HomeStore:
    """A `Store` in the process that looks after workers.

    Args:
        store: what is kept for workers, or what all share.
        settled: waits until all workers go by what they were told, and what they sent before is saved.
        keeper: commits what workers send; None: they save by themselves.
    """

    def __init__(self, store: Store, settled: Callable[[], Awaitable[None]], keeper: Keeper | None = None) -> None:
        self._store = store
        self._settled = settled
        self._keeper = keeper
        self.description = store.description
        self.is_shared = store.is_shared
        self.writers = store.writers
        self.readers = store.readers

    @property
    def has_all_words(self) -> bool:
        return self._store.has_all_words

    async def save_many(self, events: Sequence[Event]) -> list[Saved]:
        return await (self._store.save_many(events) if self._keeper is None else self._keeper.save(events))

    async def remove(self, filters: Sequence[Filter]) -> int:
        # What a worker admitted before it knew of a ban is saved by now, and found.
        await self._settled()
        return await self._store.remove(filters)

    def hear(self, audience: Audience | None) -> None:
        self._store.hear(audience)

    def spread(self, events: Sequence[Event]) -> None:
        """Nobody publishes here, and the relay itself says nothing that is not stored."""

    def follow(self, listener: Listener | None) -> bool:
        """Nobody syncs here."""
        return False

    def query_nowait(self, filters: Sequence[Filter]) -> Page | None:
        return self._store.query_nowait(filters)

    def query(self, filters: Sequence[Filter]) -> AsyncGenerator[Page, None]:
        return self._store.query(filters)

    async def count(self, filters: Sequence[Filter]) -> int:
        return await self._store.count(filters)

    async def sketch(self, filter_: Filter, offset: int) -> Sketch:
        return await self._store.sketch(filter_, offset)

    def records(self, filter_: Filter) -> AsyncGenerator[bytes, None]:
        return self._store.records(filter_)

    def scan(self) -> AsyncGenerator[Page, None]:
        return self._store.scan()

    def survey(
        self, until: int | None = None, *, tagged: AbstractSet[int] | None = NO_KINDS, weighs: bool = True
    ) -> AsyncGenerator[list[Surveyed], None]:
        return self._store.survey(until, tagged=tagged, weighs=weighs)

    async def forget(self, ids: Sequence[str]) -> int:
        # Nobody waits for workers: what they save meanwhile is as welcome as what they save later.
        return await self._store.forget(ids)

    def archived(self, filter_: Filter) -> AsyncGenerator[list[Archived], None]:
        return self._store.archived(filter_)

    async def get_metadata(self) -> dict[str, bytes]:
        return await self._store.get_metadata()

    async def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
        await self._store.put_metadata(changes)

    async def sweep(self) -> int:
        return await self._store.sweep()

    async def known(self, ids: Sequence[str]) -> set[str]:
        return await self._store.known(ids)

    def known_nowait(self, ids: Sequence[str]) -> set[str] | None:
        return self._store.known_nowait(ids)

    async def probe(self) -> None:
        await self._store.probe()

    async def explain(self, filter_: Filter, seconds: float) -> Explanation:
        return await self._store.explain(filter_, seconds)

    async def tally(self) -> Holdings:
        return await self._store.tally()

    async def space(self) -> Space:
        return await self._store.space()

    def inspect(self, verify: Verify | None = None) -> AsyncGenerator[Inspected, None]:
        return self._store.inspect(verify)

    async def compact(self) -> Compacted:
        return await self._store.compact()

    async def kinds_of(self, filters: Sequence[Filter]) -> dict[int, int]:
        return await self._store.kinds_of(filters)

    async def foresee(self, event: Event) -> Saved:
        return await self._store.foresee(event)

    def statistics(self) -> StoreStatistics:
        return self._store.statistics()
