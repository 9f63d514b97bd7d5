"""When what was written becomes searchable, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import structlog
import trio
from trio.testing import MockClock

from tests.opensearch.cluster import Asked, Cluster, Reply, scripted
from tests.opensearch.inside import inside
from tests.support.keys import made_up
from trio_relay import Filter, Saved, StoreError
from trio_relay.store.opensearch import OpenSearchOptions, OpenSearchStore
from trio_relay.store.opensearch.recent import Overlay
from trio_relay.store.opensearch.refresh import Refresher

SECONDS = 2.0


class Refreshes:
    """A cluster that takes so long to refresh, and fails as often as it is told to."""

    def __init__(self, takes: float = 0.0) -> None:
        self.takes = takes
        self.failing = 0
        self.began: list[float] = []

    async def answer(self, asked: Asked) -> Reply:
        assert (asked.method, asked.path) == ("POST", "/some-events/_refresh")
        self.began.append(round(trio.current_time() - self.start, 3))
        await trio.sleep(self.takes)
        self.failing -= 1
        return {"_shards": {"failed": int(self.failing >= 0)}}

    start = 0.0


@asynccontextmanager
async def refreshing(refreshes: Refreshes) -> AsyncIterator[tuple[Refresher, Overlay]]:
    overlay = Overlay()
    refreshes.start = trio.current_time()
    async with scripted(refreshes.answer) as cluster, trio.open_nursery() as nursery:
        one = Refresher(cluster.client, "some-events", overlay, SECONDS)
        nursery.start_soon(one.run)
        yield one, overlay
        nursery.cancel_scope.cancel()


def write(overlay: Overlay, slot: str = "a") -> None:
    overlay.put(slot, 1, made_up(slot))


async def test_what_was_written_is_refreshed_every_few_seconds_and_nothing_is_not(autojump_clock: MockClock) -> None:
    cluster = Refreshes()
    async with refreshing(cluster) as (_, overlay):
        await trio.sleep(5)
        assert cluster.began == []
        write(overlay)
        await trio.sleep(4.5)
        assert (cluster.began, len(overlay)) == ([6.0], 0)
        write(overlay, "b")
        await trio.sleep(0.4)
        write(overlay, "c")
        assert len(overlay) == 2
        await trio.sleep(0.2)
        assert (cluster.began, len(overlay)) == ([6.0, 10.0], 0)


async def test_who_waits_is_refreshed_for_at_once_but_not_too_often(autojump_clock: MockClock) -> None:
    cluster = Refreshes()
    async with refreshing(cluster) as (one, overlay):
        await trio.sleep(1)
        for _ in range(3):
            write(overlay)
            await one.cover()
            assert len(overlay) == 0
        assert cluster.began == [1.0, 1.1, 1.2]


async def test_what_is_covered_already_is_not_waited_for(autojump_clock: MockClock) -> None:
    cluster = Refreshes()
    async with refreshing(cluster) as (one, _):
        await one.cover()
    assert cluster.began == []


async def test_many_who_wait_share_one_refresh(autojump_clock: MockClock) -> None:
    cluster = Refreshes(takes=0.5)
    async with refreshing(cluster) as (one, overlay):
        write(overlay)
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(one.cover)
    assert cluster.began == [0.1]


async def test_a_refresh_that_runs_already_is_not_enough(autojump_clock: MockClock) -> None:
    cluster = Refreshes(takes=1.0)
    async with refreshing(cluster) as (one, overlay):
        write(overlay)
        one.hurry()
        await trio.sleep(0.6)
        write(overlay, "b")  # while the first one is under way
        await one.cover()
        assert (cluster.began, len(overlay)) == ([0.1, 1.2], 0)
        assert round(trio.current_time() - cluster.start, 3) == 2.2


async def test_whoever_waits_for_a_refresh_that_fails_is_told_and_the_next_covers_all(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    cluster = Refreshes()
    cluster.failing = 1
    async with refreshing(cluster) as (one, overlay):
        write(overlay)
        with pytest.raises(StoreError, match=r"^the relay's store could not refresh$"):
            await one.cover()
        assert len(overlay) == 1
        write(overlay, "b")
        await one.cover()
        assert len(overlay) == 0
    assert [entry["event"] for entry in logged] == ["not refreshed"]


async def test_one_that_failed_is_tried_again_unasked(autojump_clock: MockClock) -> None:
    cluster = Refreshes()
    cluster.failing = 1
    async with refreshing(cluster) as (_, overlay):
        write(overlay)
        await trio.sleep(5)
        assert (cluster.began, len(overlay)) == ([2.0, 4.0], 0)


@asynccontextmanager
async def store_with(recent_events: int) -> AsyncIterator[tuple[OpenSearchStore, Cluster]]:
    async def answer(asked: Asked) -> Reply:
        if asked.kind == "_bulk":
            return {"items": [{"create": {"status": 201, "_version": 1}}] * (len(asked.lines) // 2)}
        await trio.sleep(1)  # so that no refresh is over before the next batch comes
        return {"_shards": {"failed": 0}}

    options = OpenSearchOptions(refresh_seconds=3_600, recent_events=recent_events)
    async with scripted(answer) as cluster, trio.open_nursery() as nursery:
        store = OpenSearchStore(cluster.client, options, lambda: 0.0)
        nursery.start_soon(inside(store).refresher.run)
        yield store, cluster
        nursery.cancel_scope.cancel()


async def test_writing_waits_for_a_refresh_where_too_much_would_have_to_be_remembered(
    autojump_clock: MockClock,
) -> None:
    async with store_with(recent_events=4) as (store, cluster):

        async def save(name: str, number: int) -> None:
            batch = [made_up(f"{name} {n}") for n in range(number)]
            assert await store.save_many(batch) == [Saved.STORED] * number

        await save("first", 3)
        await save("second", 4)  # seven now; the next asks for a refresh, and does not wait
        await trio.sleep(10)
        assert [asked.kind for asked in cluster.asked] == ["_bulk", "_bulk"]
        began = trio.current_time()
        await save("third", 2)
        assert trio.current_time() == began
        await save("fourth", 1)
        assert [asked.kind for asked in cluster.asked[-2:]] == ["_refresh", "_bulk"]
        assert len(inside(store).overlay) == 1


async def test_so_it_does_where_the_bytes_are_too_many(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_relay.store.opensearch.store.MOST_RECENT_BYTES", 1_000)
    async with store_with(recent_events=1_000) as (store, cluster):
        await store.save_many([made_up("x" * 2_000)])
        await store.save_many([made_up("y")])
        assert [asked.kind for asked in cluster.asked] == ["_bulk", "_refresh", "_bulk"]


async def test_a_store_says_at_once_only_that_nothing_is_asked_for() -> None:
    async with store_with(recent_events=1) as (store, _):
        assert store.query_nowait([Filter(limit=0)]) == []
        assert store.query_nowait([Filter(limit=0), Filter(limit=1)]) is None
