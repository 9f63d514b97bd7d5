"""Records for syncing: when, and which, of all that a filter matches, newest first."""

from __future__ import annotations

from typing import Final

import pytest
from msgspec.structs import replace

from tests.contract import test_query, test_search
from tests.support.backends import ask, records
from tests.support.keys import ALICE, BOB, NOW, made_up
from trio_relay import Filter, Store

STORED: Final = [test_query.C2, test_query.A, test_query.E, test_query.D, test_query.C1, test_query.B]


@pytest.mark.parametrize("one", [one for one, _ in test_query.ONE_FILTER.values()], ids=list(test_query.ONE_FILTER))
async def test_there_is_a_record_of_each_event_in_its_order(store: Store, one: Filter) -> None:
    await store.save_many(STORED)
    assert await records(store, one) == [(event.created_at, event.id) for event in await ask(store, one)]


@pytest.mark.slow
async def test_without_a_limit_there_is_no_limit(store: Store) -> None:
    """More than a page of events, of records, and of any answer."""
    events = [made_up(str(number), created_at=NOW - number // 3) for number in range(11_000)]
    for start in range(0, len(events), 1_000):
        await store.save_many(events[start : start + 1_000])
    expected = sorted(((event.created_at, event.id) for event in events), key=lambda one: (-one[0], one[1]))
    assert await records(store, Filter()) == expected
    assert await records(store, Filter(limit=10_500)) == expected[:10_500]
    assert await records(store, Filter(since=NOW - 2)) == expected[:9]


async def test_times_have_eight_bytes(store: Store) -> None:
    events = [ALICE.event(created_at=at) for at in (2**33 - 1, 2**32, 2**31, 1, 0)]
    await store.save_many(events)
    assert await records(store, Filter()) == [(event.created_at, event.id) for event in events]


async def test_what_is_deleted_has_none(store: Store) -> None:
    notes = [ALICE.event(str(number), created_at=NOW - number) for number in range(3)]
    request = ALICE.event(kind=5, created_at=NOW - 9, tags=[["e", notes[1].id]])
    await store.save_many([*notes, request])
    assert [event_id for _, event_id in await records(store, Filter())] == [notes[0].id, notes[2].id, request.id]


async def test_nothing_has_no_page(store: Store) -> None:
    assert await records(store, Filter()) == []
    await store.save_many(STORED)
    for one in (Filter(limit=0), Filter(ids=frozenset()), Filter(authors=frozenset([BOB.pubkey]), since=2, until=1)):
        assert await records(store, one) == []


async def test_who_walks_away_leaves_nothing_behind(store: Store) -> None:
    await store.save_many([made_up(str(number)) for number in range(1_000)])
    pages = store.records(Filter())
    assert len(await anext(pages)) > 0
    await pages.aclose()
    assert len(await records(store, Filter(limit=10))) == 10


async def test_a_search_has_them_too(store: Store) -> None:
    await store.save_many(test_search.ALL)
    one, found = test_search.FOUND["a word"]
    expected = sorted(((event.created_at, event.id) for event in found), key=lambda each: (-each[0], each[1]))
    assert await records(store, replace(one, limit=None)) == expected
