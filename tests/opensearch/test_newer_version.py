"""The newer version of OpenSearch: an index by `migrate`, and then a part of what every store has to do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given, settings

from tests.contract.test_histories import batches
from tests.contract.test_query import ALL, ONE_FILTER, UNIONS
from tests.support.backends import ask, everything
from tests.support.indices import empty, make, options_for
from tests.support.keys import ALICE, BOB, NOW
from tests.support.marks import examples
from tests.support.node import own_names
from tests.support.oracles import NaiveStore
from trio_relay import Event, Filter, Saved
from trio_relay.nostr.search import parse_search
from trio_relay.store.opensearch import OpenSearchOptions, OpenSearchStore, migrate, open_opensearch
from trio_relay.store.opensearch.client import open_client
from trio_relay.store.opensearch.mapping import VERSION

pytestmark = pytest.mark.slow

NOTES = [
    BOB.event("Cats! Cats, cats.", created_at=NOW),
    ALICE.event("The night was long, and there were cats in the old town", created_at=NOW + 1),
    ALICE.event("The town is old: 東京タワー", created_at=NOW + 2),
    ALICE.event("+", kind=7, created_at=NOW + 3, tags=[["e", "a" * 64]]),
]


@pytest.fixture(scope="module")
def options(node_3: str) -> Iterator[OpenSearchOptions]:
    """Of an index that the tests of this file use one after another."""
    with own_names(node_3) as prefix:
        chosen = options_for(node_3, prefix)
        trio.run(make, chosen)
        yield chosen


@asynccontextmanager
async def emptied(options: OpenSearchOptions) -> AsyncIterator[OpenSearchStore]:
    """A store on that index, empty."""
    async with open_client(options) as client:
        await empty(client, options.prefix)
    async with open_opensearch(options) as store:
        yield store


async def test_what_has_been_migrated_needs_nothing_more(options: OpenSearchOptions) -> None:
    said: list[str] = []
    await migrate(options, said.append)
    assert (
        said[-1] == f"{options.prefix}-events -> {options.prefix}-events-v{VERSION} has layout {VERSION}: nothing to do"
    )


@pytest.mark.parametrize("is_refreshed", [False, True], ids=["remembered", "refreshed"])
async def test_filters_find_their_events_newest_first(options: OpenSearchOptions, is_refreshed: bool) -> None:
    async with emptied(options) as store:
        assert await store.save_many(ALL[::-1]) == [Saved.STORED] * len(ALL)
        if is_refreshed:
            await store.refresh()
        single = {name: await ask(store, one) for name, (one, _) in ONE_FILTER.items()}
        unions = {name: await ask(store, *filters) for name, (filters, _) in UNIONS.items()}
        assert await everything(store) == ALL[::-1]
    assert single == {name: expected for name, (_, expected) in ONE_FILTER.items()}
    assert unions == {name: expected for name, (_, expected) in UNIONS.items()}


def test_any_history_in_any_batches_ends_as_the_naive_store_says(options: OpenSearchOptions) -> None:
    @settings(max_examples=examples(8))
    @given(batches())
    def check(history: list[list[Event]]) -> None:
        twin = NaiveStore()

        async def main() -> None:
            async with emptied(options) as store:
                for batch in history:
                    outcomes = [outcome.name.lower() for outcome in await store.save_many(batch)]
                    assert outcomes == [twin.save(event) for event in batch]
                assert await everything(store) == twin.standing

        trio.run(main)

    check()


async def test_searches_and_counts(options: OpenSearchOptions) -> None:
    searches = {
        "cats": [0, 1],
        '"old town"': [1],
        "town -cats": [2],
        "京タ": [2],
        "-town": [3, 0],
        "town sort:top": [],
        "unicorn": [],
    }
    async with emptied(options) as store:
        await store.save_many(NOTES)
        found = {text: await ask(store, Filter(search=parse_search(text))) for text in searches}
        counts = [
            await store.count([Filter()]),
            await store.count([Filter(search=parse_search("town")), Filter(authors=frozenset([BOB.pubkey]))]),
            await store.count([Filter(kinds=frozenset([7])), Filter(since=NOW + 2)]),
        ]
    assert found == {text: [NOTES[place] for place in places] for text, places in searches.items()}
    assert counts == [4, 3, 2]
