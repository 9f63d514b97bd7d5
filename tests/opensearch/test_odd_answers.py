"""Answers that are no answer to what was asked: each is told of as a failure of the store, and ends nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, TypeAlias

import httpx
import pytest
import structlog
import trio
from trio.testing import MockClock

from tests.opensearch.cluster import Asked, Reply, scripted
from tests.opensearch.inside import inside
from tests.support.keys import NOW
from trio_relay import Filter, StoreError
from trio_relay.nostr.search import parse_search
from trio_relay.store.opensearch import OpenSearchOptions, OpenSearchStore
from trio_relay.store.opensearch.aggregates import trends as read_trends
from trio_relay.store.opensearch.tombstones import Tombstone

ID = "a" * 64
WHOLE: Final = {"timed_out": False, "_shards": {"failed": 0}}
REPLIES: Final = frozenset({ID})


async def count(store: OpenSearchStore) -> None:
    await store.count([Filter()])


async def count_of_a_domain(store: OpenSearchStore) -> None:
    await store.count([Filter(search=parse_search("domain:example.com"))])


async def sketch(store: OpenSearchStore) -> None:
    await store.sketch(Filter(kinds=frozenset([7]), tags=(("e", REPLIES),)), 8)


async def records(store: OpenSearchStore) -> None:
    async with aclosing(store.records(Filter())) as pages:
        async for _ in pages:
            raise AssertionError


async def voices(store: OpenSearchStore) -> None:
    await inside(store).searcher._voices(Filter(), "top", [ID])


async def trends(store: OpenSearchStore) -> None:
    await read_trends(inside(store).client, "some", 0, NOW, 3, NOW)


async def standing(store: OpenSearchStore) -> None:
    await inside(store).deletions._remove_deleted([f"{ID}:{ID}"])


async def stored_requests(store: OpenSearchStore) -> None:
    await inside(store).tombstones._stored([Tombstone(ID, ID, NOW, 17)])


async def who_has_vanished(store: OpenSearchStore) -> None:
    await store.look()


Ask: TypeAlias = Callable[[OpenSearchStore], Awaitable[None]]
ODD: Final[list[tuple[Ask, Any]]] = [
    *((ask, {}) for ask in (count, count_of_a_domain, sketch, records, voices, trends, standing, who_has_vanished)),
    *((ask, WHOLE) for ask in (count, count_of_a_domain, sketch, voices, trends, standing, who_has_vanished)),
    (count, WHOLE | {"hits": {"total": 3}}),
    (count_of_a_domain, WHOLE | {"hits": {"hits": [{"_id": "x"}]}}),
    (sketch, WHOLE | {"hits": {"total": {"value": 1}}, "aggregations": {"sketch": {"value": [0] * 255}}}),
    (sketch, WHOLE | {"hits": {"total": {"value": 1}}, "aggregations": {"sketch": {"value": [65] * 256}}}),
    (records, WHOLE | {"hits": {"hits": [{"sort": [NOW]}]}}),
    (records, WHOLE | {"hits": {"hits": [{"sort": [NOW, "x"]}]}}),
    (records, WHOLE | {"hits": {"hits": [{"sort": [-1, ID]}]}}),
    (voices, WHOLE | {"aggregations": {"notes": {"buckets": [{"key": ID}]}}}),
    (trends, WHOLE | {"hits": {"total": {"value": 1}}, "aggregations": {"notes": {"buckets": []}}}),
    (standing, WHOLE | {"hits": {"hits": [{"_id": "x"}]}}),
    *((stored_requests, reply) for reply in ({}, WHOLE, WHOLE | {"hits": {"hits": [{"_id": "x"}]}})),
]


@pytest.mark.parametrize(("ask", "reply"), ODD, ids=[f"{ask.__name__} {place}" for place, (ask, _) in enumerate(ODD)])
async def test_an_answer_of_another_shape_is_a_failure_of_the_store(ask: Ask, reply: Reply) -> None:
    async def answer(asked: Asked) -> Reply:
        return reply

    async with scripted(answer) as cluster:
        store = OpenSearchStore(cluster.client, OpenSearchOptions(), lambda: NOW)
        with pytest.raises(StoreError, match=r"^what answers for the relay's store is no OpenSearch$"):
            await ask(store)


async def test_a_part_of_an_answer_is_no_sketch_and_no_record() -> None:
    hits = {"total": {"value": 0}, "hits": []}
    part = WHOLE | {"timed_out": True, "hits": hits, "aggregations": {"sketch": {"value": [0] * 256}}}

    async def answer(asked: Asked) -> Reply:
        return part

    async with scripted(answer) as cluster:
        store = OpenSearchStore(cluster.client, OpenSearchOptions(), lambda: NOW)
        for ask in (sketch, records):
            with pytest.raises(StoreError, match=r"^the relay's store could not search \(in part\)$"):
                await ask(store)


async def test_a_cluster_that_runs_no_scripts_refuses_a_sketch() -> None:
    async def answer(asked: Asked) -> Reply:
        return httpx.Response(400, json={"error": {"type": "illegal_argument_exception"}})

    async with scripted(answer) as cluster:
        store = OpenSearchStore(cluster.client, OpenSearchOptions(), lambda: NOW)
        with pytest.raises(StoreError, match=r"\(400: illegal_argument_exception\)$"):
            await sketch(store)


async def test_a_sweep_that_is_answered_oddly_ends_nothing(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async def answer(asked: Asked) -> Reply:
        return {}

    async with scripted(answer) as cluster, trio.open_nursery() as nursery:
        store = OpenSearchStore(cluster.client, OpenSearchOptions(), lambda: NOW)
        nursery.start_soon(inside(store).deletions.run)
        await trio.sleep(65)
        nursery.cancel_scope.cancel()
    assert [entry["event"] for entry in logged] == ["not swept"] * 3
