"""Of events of one second the lowest ids come first, and are those within the limit, whatever the way to them."""

from __future__ import annotations

from typing import Final

import pytest

from tests.support.backends import ask
from tests.support.keys import ALICE, BOB, CAROL
from tests.support.oracles import naive_match
from trio_relay import Filter, Store

EVENTS: Final = [
    author.event(kind=kind, tags=[["t", value], ["e", value * 64]])
    for author in (ALICE, BOB, CAROL)
    for kind in (1, 7, 1_111)
    for value in "abc"
]
AUTHORS: Final = frozenset({ALICE.pubkey, BOB.pubkey, CAROL.pubkey})
MANY: Final = frozenset(f"{number:064x}" for number in range(12))


def tagged(letter: str, *values: str) -> tuple[tuple[str, frozenset[str]], ...]:
    return ((letter, frozenset(values)),)


FILTERS: Final = {
    "no condition": Filter(),
    "ids": Filter(ids=frozenset(event.id for event in EVENTS)),
    "a kind": Filter(kinds=frozenset([7])),
    "kinds": Filter(kinds=frozenset([1, 7, 1_111])),
    "many kinds": Filter(kinds=frozenset([1, 7, 1_111, *range(2_000, 2_040)])),
    "an author": Filter(authors=frozenset([BOB.pubkey])),
    "authors": Filter(authors=AUTHORS),
    "many authors": Filter(authors=AUTHORS | MANY),
    "authors' kinds": Filter(authors=AUTHORS, kinds=frozenset([1, 7])),
    "a tag": Filter(tags=tagged("t", "b")),
    "tags": Filter(tags=tagged("t", "a", "b", "c")),
    "many tags": Filter(tags=tagged("t", "a", "b", "c", *MANY)),
    "tags by id": Filter(tags=tagged("e", "a" * 64, "c" * 64)),
    "authors' tags": Filter(authors=AUTHORS, tags=tagged("t", "a", "b")),
    "many authors' tags": Filter(authors=AUTHORS | MANY, tags=tagged("t", "a", "b")),
    "tags of two letters": Filter(tags=tagged("t", "a", "b") + tagged("e", "a" * 64, "b" * 64, "c" * 64)),
}


@pytest.mark.parametrize("limit", [1, 5, 100])
@pytest.mark.parametrize("one", FILTERS.values(), ids=FILTERS)
async def test_the_lowest_ids_come_first(store: Store, one: Filter, limit: int) -> None:
    await store.save_many(EVENTS)
    matching = sorted((event for event in EVENTS if naive_match(one, event)), key=lambda event: event.id)
    assert await ask(store, one.with_limit(default=limit, most=limit)) == matching[:limit]


async def test_the_lowest_ids_of_several_filters_come_first(store: Store) -> None:
    await store.save_many(EVENTS)
    by_id = sorted(EVENTS, key=lambda event: event.id)
    each = [Filter(kinds=frozenset([kind])) for kind in (1_111, 1, 7)]
    assert await ask(store, *each) == by_id
