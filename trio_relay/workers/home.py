"""The store as the keeper's own relay has it: what it saves goes with what workers save, and they hear of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

import msgspec

from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.hyperloglog import Sketch
from trio_relay.store.base import Audience, Listener, Page, Saved, StoreStatistics
from trio_relay.store.kept import Keeper
from trio_relay.store.sqlite import SqliteStore


class HomeStore:
    """A `Store` in the process that keeps the file for workers.

    Args:
        file: what is kept.
        keeper: commits.
        obeyed: waits until all workers go by what they were told, and what they sent before is saved.
    """

    is_shared = False

    def __init__(self, file: SqliteStore, keeper: Keeper, obeyed: Callable[[], Awaitable[None]]) -> None:
        self._file = file
        self._keeper = keeper
        self._obeyed = obeyed
        self.description = file.description
        self.writers = file.writers
        self.readers = file.readers

    @property
    def has_all_words(self) -> bool:
        return self._file.has_all_words

    async def save_many(self, events: Sequence[Event]) -> list[Saved]:
        return await self._keeper.save(events)

    async def remove(self, filters: Sequence[Filter]) -> int:
        # What a worker admitted before it knew of a ban is saved by now, and found.
        await self._obeyed()
        return await self._file.remove(filters)

    def hear(self, audience: Audience | None) -> None:
        """Nobody subscribes here."""

    def spread(self, events: Sequence[Event]) -> None:
        self._keeper.spread([msgspec.Raw(msgspec.msgpack.encode(event)) for event in events])

    def follow(self, listener: Listener | None) -> bool:
        """Nobody syncs here."""
        return False

    def query_nowait(self, filters: Sequence[Filter]) -> Page | None:
        return self._file.query_nowait(filters)

    def query(self, filters: Sequence[Filter]) -> AsyncGenerator[Page, None]:
        return self._file.query(filters)

    async def count(self, filters: Sequence[Filter]) -> int:
        return await self._file.count(filters)

    async def sketch(self, filter_: Filter, offset: int) -> Sketch:
        return await self._file.sketch(filter_, offset)

    def records(self, filter_: Filter) -> AsyncGenerator[bytes, None]:
        return self._file.records(filter_)

    def scan(self) -> AsyncGenerator[Page, None]:
        return self._file.scan()

    async def get_metadata(self) -> dict[str, bytes]:
        return await self._file.get_metadata()

    async def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
        await self._file.put_metadata(changes)

    async def sweep(self) -> int:
        return await self._file.sweep()

    async def known(self, ids: Sequence[str]) -> set[str]:
        return await self._file.known(ids)

    def known_nowait(self, ids: Sequence[str]) -> set[str] | None:
        return self._file.known_nowait(ids)

    async def probe(self) -> None:
        await self._file.probe()

    def statistics(self) -> StoreStatistics:
        return self._file.statistics()
