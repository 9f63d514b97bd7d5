"""COUNT (NIP-45): how many events match any of the filters, each once, whatever the limits."""

from __future__ import annotations

from typing import Final

import pytest

from tests.contract import test_query, test_search
from tests.support.backends import ask
from trio_relay import Store
from trio_relay.nostr.filter import Filter, parse_filter

STORED: Final = [test_query.C2, test_query.A, test_query.E, test_query.D, test_query.C1, test_query.B]
SEARCHED: Final = {f"search, {name}": one for name, (one, _) in test_search.FOUND.items()}
UNLIMITED: Final = [
    [Filter(limit=1)],
    [Filter(limit=0)],
    [Filter(kinds=frozenset([1]), limit=1), Filter(kinds=frozenset([7]), limit=0)],
    [Filter(tags=(("t", frozenset(["tree", "sea"])),), limit=1)],
    [Filter(kinds=frozenset(range(50)), limit=1)],
    [Filter(), Filter(kinds=frozenset([1]))],
    [],
]


def without_limits(filters: list[Filter]) -> list[Filter]:
    return [
        Filter(**{name: getattr(filter_, name) for name in filter_.__struct_fields__ if name != "limit"})
        for filter_ in filters
    ]


@pytest.mark.parametrize(
    "filters", [[one] for one, _ in test_query.ONE_FILTER.values()], ids=list(test_query.ONE_FILTER)
)
async def test_a_filter_counts_what_it_finds_without_its_limit(store: Store, filters: list[Filter]) -> None:
    await store.save_many(STORED)
    assert await store.count(filters) == len(await ask(store, *without_limits(filters)))


@pytest.mark.parametrize("filters", [filters for filters, _ in test_query.UNIONS.values()], ids=list(test_query.UNIONS))
async def test_several_filters_count_each_event_once(store: Store, filters: list[Filter]) -> None:
    await store.save_many(STORED)
    assert await store.count(filters) == len(await ask(store, *without_limits(filters)))


@pytest.mark.parametrize(("filters", "expected"), list(zip(UNLIMITED, [6, 6, 5, 3, 5, 6, 0], strict=True)))
async def test_limits_play_no_part(store: Store, filters: list[Filter], expected: int) -> None:
    await store.save_many(STORED)
    assert await store.count(filters) == expected


@pytest.mark.parametrize(("one", "found"), test_search.FOUND.values(), ids=list(SEARCHED))
async def test_a_search_counts_what_it_finds(store: Store, one: Filter, found: list[object]) -> None:
    await store.save_many(test_search.ALL)
    expected = len(found) if one.limit != 0 else 6
    assert await store.count([one]) == expected
    assert await store.count([one, one, Filter()]) == len(test_search.ALL)


async def test_a_sort_plays_no_part(store: Store) -> None:
    await store.save_many(test_search.ALL)
    assert await store.count([parse_filter({"search": "tea sort:top"})]) == 6
    assert await store.count([parse_filter({"search": "sort:hot", "kinds": [1]})]) == 4


async def test_an_empty_store_counts_nothing(store: Store) -> None:
    assert await store.count([Filter()]) == 0
