"""Explanations: a store finds as much as it answers, tells in words how, and has looked at no less than it found."""

from __future__ import annotations

from typing import Final

import pytest

from tests.contract import test_query, test_search, test_sorting
from tests.support.backends import ask
from tests.support.readers import reading
from trio_relay import Filter, Store

MATCHED: Final = {name: one for name, (one, _) in test_query.ONE_FILTER.items()}
SEARCHED: Final = {name: one for name, (one, _) in test_search.FOUND.items()}
RANKED: Final = {name: one for name, (one, _) in test_sorting.ORDERS.items()}
LONG: Final = 60.0
MOST: Final = 10_000


async def check(store: Store, name: str, asked: Filter) -> None:
    limited = asked.with_limit(default=MOST, most=MOST)
    told = await store.explain(limited, LONG)
    assert told.found == len(await ask(store, limited)), name
    assert told.looked_at is not None, name
    assert told.looked_at >= told.found, name
    assert told.seconds >= 0
    assert bool(told.plan) is limited.wants_stored, name
    assert all(step.detail for step in told.plan)


async def test_an_explanation_finds_what_the_answer_has(store: Store) -> None:
    await store.save_many(test_query.ALL)
    for name, asked in MATCHED.items():
        await check(store, name, asked)


async def test_an_explanation_of_a_search_finds_what_the_answer_has(store: Store) -> None:
    await store.save_many(test_search.ALL)
    for name, asked in SEARCHED.items():
        await check(store, name, asked)


async def test_an_explanation_of_a_ranking_finds_what_the_answer_has(store: Store) -> None:
    await store.save_many([*test_sorting.NOTES, *test_sorting.VOICES])
    for name, asked in RANKED.items():
        await check(store, name, asked)


@pytest.mark.parametrize("keys", [[], [test_search.SECRET.pubkey]], ids=["a stranger", "the author"])
async def test_an_explanation_keeps_to_the_gate_of_its_filter(store: Store, keys: list[str]) -> None:
    await store.save_many(test_search.ALL)
    told = await store.explain(Filter(limit=MOST).read_by(reading(*keys)), LONG)
    assert told.found == len(test_search.ALL) - (not keys)
    assert (await store.explain(Filter(limit=MOST), LONG)).found == len(test_search.ALL)


async def test_what_takes_too_long_is_told_without_its_end(store: Store) -> None:
    await store.save_many(test_query.ALL)
    told = await store.explain(Filter(limit=MOST), 0)
    assert told.found in (None, len(test_query.ALL))  # what needs no wait at all has come to its end
    assert (await store.explain(Filter(limit=0), 0)).found in (None, 0)
