"""What a file still has after it was closed: events, their order, deletions, and which versions stand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.store.files import content, opened
from tests.support.backends import ask, everything
from tests.support.keys import ALICE, BOB, NOW
from trio_relay import Filter
from trio_relay.store.base import Saved, StoreStatistics

NOTE, OTHER = ALICE.event("note", tags=[["t", "x"]]), BOB.event("other")
OLD, NEW = (ALICE.event(kind=0, created_at=NOW + age) for age in range(2))
ARTICLE, LATER_ARTICLE = (ALICE.event(kind=30_023, created_at=NOW + age, tags=[["d", "x"]]) for age in range(2))
REQUEST = ALICE.event(kind=5, tags=[["e", NOTE.id], ["a", f"30023:{ALICE.pubkey}:x"]])


async def test_events_are_still_there_in_their_order(path: Path) -> None:
    async with opened(path) as store:
        await store.save_many([OTHER, NOTE])
        await store.save_many([NEW])
    async with opened(path) as store:
        assert await everything(store) == [OTHER, NOTE, NEW]
        assert await ask(store, Filter(tags=(("t", frozenset("x")),))) == [NOTE]
        assert await store.known([OTHER.id, NOTE.id, OLD.id]) == {OTHER.id, NOTE.id}
        assert await store.save_many([NOTE]) == [Saved.DUPLICATE]


async def test_what_comes_later_stands_behind(path: Path) -> None:
    """Also where the event that came last has gone."""
    async with opened(path) as store:
        await store.save_many([OTHER, OLD])
        await store.save_many([ALICE.event(kind=5, tags=[["e", OLD.id]]), NOTE])
        await store.save_many([ALICE.event(kind=5, tags=[["e", NOTE.id]])])
    async with opened(path) as store:
        before = await everything(store)
        await store.save_many([NEW, ARTICLE])
        assert await everything(store) == [*before, NEW, ARTICLE]


async def test_replaced_versions_stay_away(path: Path) -> None:
    async with opened(path) as store:
        await store.save_many([OLD, NEW, ARTICLE, LATER_ARTICLE])
    async with opened(path) as store:
        assert await store.save_many([OLD, ARTICLE]) == [Saved.SUPERSEDED] * 2
        assert await everything(store) == [NEW, LATER_ARTICLE]


async def test_deleted_events_stay_away(path: Path) -> None:
    async with opened(path) as store:
        await store.save_many([NOTE, ARTICLE, REQUEST])
    for _ in range(2):
        async with opened(path) as store:
            assert await store.save_many([NOTE, ARTICLE]) == [Saved.DELETED] * 2
            assert await everything(store) == [REQUEST]
    async with opened(path) as store:
        assert await store.save_many([LATER_ARTICLE]) == [Saved.STORED]


async def test_deletions_of_what_was_never_seen_are_kept(path: Path) -> None:
    async with opened(path) as store:
        await store.save_many([REQUEST])
    async with opened(path) as store:
        assert await store.save_many([NOTE, ARTICLE, LATER_ARTICLE]) == [Saved.DELETED, Saved.DELETED, Saved.STORED]


async def test_a_statistic_tells_the_sizes_of_the_files(path: Path) -> None:
    async with opened(path) as store:
        await store.save_many([NOTE])
        sizes = len(content(path)), len(content(Path(f"{path}-wal")))
        assert min(sizes) > 0
        cache = store.statistics().cache
        assert cache is not None
        told = replace(store.statistics(), free_bytes=None)
        assert told == StoreStatistics("sqlite", *sizes, cache=cache)
    assert replace(store.statistics(), free_bytes=None) == replace(told, disk_bytes=len(content(path)), wal_bytes=0)
