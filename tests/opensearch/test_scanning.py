"""All documents as they stood at one moment, which is let go whatever happens."""

from __future__ import annotations

from contextlib import aclosing

import httpx
import pytest
import structlog
import trio

from tests.opensearch.cluster import Asked, Reply, in_turn, scripted
from trio_relay import StoreError
from trio_relay.store.opensearch.query import AN_EVENT
from trio_relay.store.opensearch.scan import scan

OPENED = {"pit_id": "moment"}


def page(*arrived: int) -> Reply:
    hits = [{"_id": f"{one}", "_version": 1, "sort": [one, "id"], "_source": {}} for one in arrived]
    return {"timed_out": False, "_shards": {"failed": 0}, "hits": {"hits": hits}}


async def test_pages_follow_one_another_and_the_moment_is_let_go() -> None:
    async with scripted(in_turn(OPENED, page(1, 2), page(3), page(), {})) as cluster:
        found = [[hit.slot for hit in hits] async for hits in scan(cluster.client, "some", AN_EVENT)]
    assert found == [["1", "2"], ["3"]]
    opened, *asked, closed = cluster.asked
    assert (opened.method, opened.path) == ("POST", "/some/_search/point_in_time")
    assert [one.value.get("search_after") for one in asked] == [None, [2, "id"], [3, "id"]]
    assert {one.value["pit"]["id"] for one in asked} == {"moment"}
    assert all(one.value["sort"] == [{"arrived": "asc"}, {"id": "asc"}, {"grave": "asc"}] for one in asked)
    assert (closed.method, closed.path, closed.value) == ("DELETE", "/_search/point_in_time", {"pit_id": ["moment"]})


async def test_who_leaves_early_lets_it_go_too() -> None:
    async with scripted(in_turn(OPENED, page(1), {})) as cluster:
        async with aclosing(scan(cluster.client, "some", AN_EVENT)) as pages:
            await anext(pages)
        assert cluster.asked[-1].method == "DELETE"


async def test_so_does_who_is_cancelled() -> None:
    async def answer(asked: Asked) -> Reply:
        if asked.kind == "_search":
            await trio.sleep_forever()
        return OPENED

    async with scripted(answer) as cluster:
        with trio.move_on_after(0.01) as scope:
            async with aclosing(scan(cluster.client, "some", AN_EVENT)) as pages:
                await anext(pages)
        assert scope.cancelled_caught
        assert [asked.method for asked in cluster.asked] == ["POST", "POST", "DELETE"]


@pytest.mark.parametrize("part", [page(1), 503], ids=["in part", "not at all"])
async def test_a_page_that_could_not_be_had_ends_it(part: Reply) -> None:
    if isinstance(part, dict):
        part = part | {"_shards": {"failed": 1}}
    async with scripted(in_turn(OPENED, part, {})) as cluster:
        async with aclosing(scan(cluster.client, "some", AN_EVENT)) as pages:
            with pytest.raises(StoreError):
                await anext(pages)
        assert cluster.asked[-1].method == "DELETE"


async def test_a_moment_that_is_lost_costs_a_line_of_the_log(logged: list[structlog.typing.EventDict]) -> None:
    async with scripted(in_turn(OPENED, page(), httpx.ReadError("lost"))) as cluster:
        assert [hits async for hits in scan(cluster.client, "some", AN_EVENT)] == []
    assert [entry["event"] for entry in logged] == ["a point in time was not closed; it will end by itself"]
