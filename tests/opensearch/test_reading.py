"""Answers of a cluster that come in pages, in part, or not at all."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, Final

import httpx
import pytest
import trio

from tests.opensearch.cluster import Asked, Cluster, Reply, in_turn, scripted
from tests.support.backends import ask, lines
from tests.support.indices import emptied
from tests.support.keys import ALICE, BOB, NOW, made_up
from tests.support.oracles import naive_query
from trio_relay import Filter, StoreError
from trio_relay.nostr.event import Event, encode
from trio_relay.nostr.search import parse_search
from trio_relay.store.opensearch import OpenSearchOptions, OpenSearchStore
from trio_relay.store.opensearch.aggregates import trends
from trio_relay.store.opensearch.pages import newest_first
from trio_relay.store.opensearch.recent import Overlay

EVENTS = [made_up(f"{n}", created_at=NOW - n) for n in range(6)]
NONE = Overlay().recent()


def hit(event: Event, version: int = 1) -> dict[str, Any]:
    source = {"_source": {"event": encode(event).decode()}}
    return {"_id": event.id, "_version": version, "sort": [event.created_at, event.id], **source}


def found(*answers: Sequence[Event]) -> Reply:
    """What an `_msearch` answers."""
    return {"responses": [{"timed_out": False, "hits": {"hits": list(map(hit, events))}} for events in answers]}


async def read(cluster: Cluster, overlay: Overlay | None, *filters: Filter) -> list[bytes]:
    recent = NONE if overlay is None else overlay.recent()
    async with aclosing(newest_first(cluster.client, "some", filters, recent, NOW)) as pages:
        return lines([page async for page in pages])


def events_as_sent(*places: int) -> list[bytes]:
    return [encode(EVENTS[place]) for place in places]


async def test_several_filters_are_one_request_and_a_shared_event_comes_once() -> None:
    filters = [
        Filter(limit=2),
        Filter(kinds=frozenset([1]), limit=3),
        Filter(limit=0),
        Filter(ids=frozenset(), limit=9),
    ]
    async with scripted(in_turn(found(EVENTS[:3], EVENTS[:4]))) as cluster:
        assert await read(cluster, None, *filters) == events_as_sent(0, 1, 2)
    (asked,) = cluster.asked
    assert (asked.method, asked.path) == ("POST", "/some/_msearch")
    assert [line.get("size", line) for line in asked.lines] == [{}, 3, {}, 4]


async def test_filters_that_can_match_nothing_are_not_asked() -> None:
    async with scripted(in_turn()) as cluster:
        assert await read(cluster, None, Filter(limit=0), Filter(kinds=frozenset(), limit=9)) == []
    assert cluster.asked == []


async def test_one_hidden_hit_costs_no_second_search_and_more_do() -> None:
    overlay = Overlay()
    overlay.put(EVENTS[0].id, 2, None)
    async with scripted(in_turn(found(EVENTS[:3]))) as cluster:
        assert await read(cluster, overlay, Filter(limit=2)) == events_as_sent(1, 2)
    overlay.put(EVENTS[1].id, 2, None)
    async with scripted(in_turn(found(EVENTS[:3]), found(EVENTS[3:5]))) as cluster:
        assert await read(cluster, overlay, Filter(limit=2)) == events_as_sent(2, 3)
    assert [asked.lines[1].get("search_after") for asked in cluster.asked] == [None, [NOW - 2, EVENTS[2].id]]


async def test_a_search_that_finds_only_what_is_hidden_is_gone_on_with() -> None:
    overlay = Overlay()
    for event in EVENTS[:2]:
        overlay.put(event.id, 2, None)
    async with scripted(in_turn(found(EVENTS[:2]), found(EVENTS[2:3]))) as cluster:
        assert await read(cluster, overlay, Filter(limit=1)) == events_as_sent(2)


async def test_what_was_written_just_now_stands_in_its_place_among_what_is_found() -> None:
    overlay = Overlay()
    for place in (1, 3, 5):
        overlay.put(EVENTS[place].id, 1, EVENTS[place])
    async with scripted(in_turn(found([EVENTS[0], EVENTS[2], EVENTS[4]]))) as cluster:
        assert await read(cluster, overlay, Filter(limit=5)) == events_as_sent(0, 1, 2, 3, 4)
    async with scripted(in_turn(found([EVENTS[0], EVENTS[2]]))) as cluster:
        assert await read(cluster, overlay, Filter(limit=9)) == events_as_sent(0, 1, 2, 3, 5)


async def test_what_others_have_written_since_replaces_what_this_relay_wrote() -> None:
    overlay = Overlay()
    overlay.put("profile", 1, EVENTS[2])
    newer = hit(EVENTS[0], version=2) | {"_id": "profile"}
    async with scripted(in_turn({"responses": [{"hits": {"hits": [newer]}}]})) as cluster:
        assert await read(cluster, overlay, Filter(limit=9)) == events_as_sent(0)


PARTIAL: Final = {
    "timed out": ({"timed_out": True, "hits": {"hits": []}}, "in part"),
    "a shard failed": ({"_shards": {"failed": 1}, "hits": {"hits": []}}, "in part"),
    "an error": ({"error": {"type": "search_phase_execution_exception"}}, "search_phase_execution_exception"),
}


@pytest.mark.parametrize(("response", "told"), PARTIAL.values(), ids=PARTIAL)
async def test_a_part_of_an_answer_is_none(response: Reply, told: str) -> None:
    good: Reply = {"hits": {"hits": []}}
    async with scripted(in_turn({"responses": [good, response]})) as cluster:
        with pytest.raises(StoreError, match=rf"^the relay's store could not search \({told}\)$"):
            await read(cluster, None, Filter(limit=1), Filter(limit=2))


@pytest.mark.parametrize(
    "whole",
    [{"timed_out": True, "_shards": {"failed": 0}}, {"timed_out": False, "_shards": {"failed": 1}}],
    ids=["timed out", "a shard failed"],
)
async def test_neither_is_a_part_of_a_count_or_of_trends(whole: dict[str, Any]) -> None:
    none: Reply = {"buckets": []}
    whole = whole | {"hits": {"total": {"value": 0}}, "aggregations": dict.fromkeys(("notes", "tags", "authors"), none)}
    async with scripted(in_turn(whole, whole)) as cluster:
        store = OpenSearchStore(cluster.client, OpenSearchOptions(), lambda: NOW)
        with pytest.raises(StoreError, match=r"^the relay's store could not search \(in part\)$"):
            await store.count([Filter()])
        with pytest.raises(StoreError, match=r"^the relay's store could not search \(in part\)$"):
            await trends(cluster.client, "some", 0, NOW, 3, NOW)


async def test_what_can_match_nothing_is_neither_counted_nor_searched() -> None:
    async with scripted(in_turn()) as cluster:
        store = OpenSearchStore(cluster.client, OpenSearchOptions(), lambda: NOW)
        hopeless = Filter(kinds=frozenset(), limit=9)
        assert await store.count([hopeless]) == 0
        async with aclosing(store.query([hopeless, Filter(limit=0, search=parse_search("x"))])) as pages:
            assert [page async for page in pages] == []


async def test_an_answer_that_is_given_up_ends_its_request() -> None:
    ended = False

    async def answer(asked: Asked) -> Reply:
        nonlocal ended
        try:
            await trio.sleep_forever()
        finally:
            ended = True
        raise AssertionError

    async with scripted(answer) as cluster:
        with trio.move_on_after(0.01):
            await read(cluster, None, Filter(limit=1))
        assert ended


async def test_an_error_between_two_pages_ends_the_answer() -> None:
    first = [made_up(f"{n}", created_at=NOW - n) for n in range(500)]
    async with (
        scripted(in_turn(found(first), httpx.ReadTimeout("late"))) as cluster,
        aclosing(newest_first(cluster.client, "some", [Filter(limit=700)], NONE, NOW)) as pages,
    ):
        assert await anext(pages) == list(map(encode, first))
        with pytest.raises(StoreError, match="takes too long"):
            await anext(pages)


@pytest.mark.slow
@pytest.mark.usefixtures("index")
@pytest.mark.parametrize("refreshed", [0, 700, 1_500], ids=["none refreshed", "some refreshed", "all refreshed"])
async def test_deep_answers_with_ties_are_whole_and_in_order(refreshed: int) -> None:
    seconds = random.Random(5)
    events = [
        (ALICE if n % 3 else BOB).event(f"{n}", created_at=NOW + seconds.randrange(8), kind=1 + n % 2)
        for n in range(1_500)
    ]
    kinds, authors = Filter(kinds=frozenset([1]), limit=1_200), Filter(authors=frozenset([BOB.pubkey]), limit=450)
    late = Filter(since=NOW + 2, until=NOW + 5, limit=1_200)
    with trio.fail_after(60):
        async with emptied() as store:
            await store.save_many(events[:refreshed])
            await store.refresh()
            await store.save_many(events[refreshed:])
            for filters in ([Filter(limit=1_200)], [kinds, authors], [authors, late, kinds], [Filter()]):
                assert await ask(store, *filters) == naive_query(filters, events)
