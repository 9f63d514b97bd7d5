"""What a store answers to filters: which events, in which order, and how many (NIP-01)."""

from __future__ import annotations

from typing import Final

import pytest

from tests.support.backends import ask
from tests.support.keys import ALICE, BOB, CAROL, NOW
from trio_relay import Event, Filter, Store


def of(*values: str) -> frozenset[str]:
    return frozenset(values)


def tagged(letter: str, *values: str) -> Filter:
    return Filter(tags=((letter, of(*values)),))


# Named by age: "a" is the oldest. c1 and c2 are of one second, the lower id first.
A = ALICE.event("a", created_at=NOW, tags=[["t", "tree"], ["T", "Tree"]])
B = BOB.event("b", created_at=NOW + 1, tags=[["t", "sea", "tree"], ["t", "sky"], ["title", "x"], ["é", "x"]])
C1, C2 = sorted(
    (author.event("c", created_at=NOW + 2, tags=[["e", A.id], ["p", BOB.pubkey]]) for author in (ALICE, CAROL)),
    key=lambda event: event.id,
)
D = ALICE.event("d", kind=7, created_at=NOW + 3, tags=[["e", A.id], ["e", B.id], ["t", "tree"], ["t"]])
E = BOB.event("e", kind=30_023, created_at=NOW + 4, tags=[["d", ""], ["t", "x" * 65], ["t", ""]])
ALL: Final = [E, D, C1, C2, B, A]
ALICE_C, CAROL_C = (C1, C2) if C1.pubkey == ALICE.pubkey else (C2, C1)
OTHER_IDS = [f"{number:064x}" for number in range(12)]

ONE_FILTER: Final[dict[str, tuple[Filter, list[Event]]]] = {
    "everything": (Filter(), ALL),
    "the newest": (Filter(limit=1), [E]),
    "the newest three, the lower id of the third second": (Filter(limit=3), [E, D, C1]),
    "none": (Filter(limit=0), []),
    "one id": (Filter(ids=of(A.id)), [A]),
    "ids, one of them unknown": (Filter(ids=of(A.id, OTHER_IDS[0], D.id)), [D, A]),
    "ids with a limit": (Filter(ids=of(A.id, B.id, D.id), limit=2), [D, B]),
    "no id": (Filter(ids=of()), []),
    "an id of another author": (Filter(ids=of(A.id), authors=of(BOB.pubkey)), []),
    "ids of a kind": (Filter(ids=of(A.id, D.id), kinds=frozenset([7])), [D]),
    "ids with a tag": (Filter(ids=of(A.id, B.id), tags=(("t", of("sea")),)), [B]),
    "ids since": (Filter(ids=of(A.id, B.id), since=NOW + 1), [B]),
    "one author": (Filter(authors=of(BOB.pubkey)), [E, B]),
    "authors": (Filter(authors=of(BOB.pubkey, CAROL.pubkey)), [E, CAROL_C, B]),
    "no author": (Filter(authors=of()), []),
    "an author's kind": (Filter(authors=of(BOB.pubkey), kinds=frozenset([1])), [B]),
    "an author's kinds": (Filter(authors=of(ALICE.pubkey), kinds=frozenset([1, 7])), [D, ALICE_C, A]),
    "one kind": (Filter(kinds=frozenset([1])), [C1, C2, B, A]),
    "kinds with a limit": (Filter(kinds=frozenset([1, 7]), limit=2), [D, C1]),
    "kinds, one of them unknown": (Filter(kinds=frozenset([7, 65_535])), [D]),
    "no kind": (Filter(kinds=frozenset()), []),
    "since, its own second included": (Filter(since=NOW + 3), [E, D]),
    "until, its own second included": (Filter(until=NOW + 1), [B, A]),
    "since until, of one second": (Filter(since=NOW + 2, until=NOW + 2), [C1, C2]),
    "since after until": (Filter(since=NOW + 2, until=NOW + 1), []),
    "since 0": (Filter(since=0), ALL),
    "until 0": (Filter(until=0), []),
    "until the end of time": (Filter(until=2**33 - 1), ALL),
    "a kind since": (Filter(kinds=frozenset([1]), since=NOW + 1, limit=2), [C1, C2]),
    "an author until": (Filter(authors=of(BOB.pubkey), until=NOW + 3), [B]),
    "a tag": (tagged("t", "tree"), [D, A]),
    "a capital letter is another tag": (tagged("T", "Tree"), [A]),
    "tag values keep their case": (tagged("t", "Tree"), []),
    "only a tag's first value": (tagged("t", "sea", "sky"), [B]),
    "an empty value, which a bare tag hasn't": (tagged("t", ""), [E]),
    "a value of 65 characters": (tagged("t", "x" * 65), [E]),
    "no value": (tagged("t"), []),
    "a tag by id": (tagged("e", A.id), [D, C1, C2]),
    "tags by id, an event with both once": (tagged("e", A.id, B.id), [D, C1, C2]),
    "many tags by id, an event with two of them once": (
        Filter(tags=(("e", of(A.id, B.id, *OTHER_IDS)),), limit=2),
        [D, C1],
    ),
    "many tag values, an event with two of them once": (
        Filter(tags=(("t", of("sea", "sky", "tree", *OTHER_IDS)),), limit=3),
        [D, B, A],
    ),
    "many authors": (Filter(authors=of(CAROL.pubkey, BOB.pubkey, *OTHER_IDS), limit=2), [E, CAROL_C]),
    "many authors' tag": (
        Filter(authors=of(ALICE.pubkey, *OTHER_IDS), tags=(("t", of("tree", "sky")),)),
        [D, A],
    ),
    "many kinds": (Filter(kinds=frozenset([1, *range(100, 140)]), limit=3), [C1, C2, B]),
    "many ids": (Filter(ids=of(A.id, D.id, B.id, *OTHER_IDS), limit=2), [D, B]),
    "two letters": (Filter(tags=(("e", of(A.id)), ("t", of("tree", "sea")))), [D]),
    "two letters, one of them without a value": (Filter(tags=(("e", of(A.id)), ("t", of()))), []),
    "a tag of an author": (Filter(authors=of(ALICE.pubkey), tags=(("t", of("tree")),)), [D, A]),
    "a tag by id of an author": (Filter(authors=of(ALICE.pubkey), tags=(("e", of(A.id)),)), [D, ALICE_C]),
    "a tag of a kind": (Filter(kinds=frozenset([1]), tags=(("t", of("tree")),)), [A]),
    "a tag with times and a limit": (
        Filter(tags=(("e", of(A.id)),), since=NOW + 2, until=NOW + 3, limit=2),
        [D, C1],
    ),
}

UNIONS: Final[dict[str, tuple[list[Filter], list[Event]]]] = {
    "no filter": ([], []),
    "each filter's own limit": (
        [Filter(kinds=frozenset([1]), limit=1), Filter(kinds=frozenset([7]), limit=1)],
        [D, C1],
    ),
    "an event of both once": ([Filter(limit=2), Filter(kinds=frozenset([7])), Filter(ids=of(E.id))], [E, D]),
    "the order is the union's, not the filters'": ([Filter(ids=of(A.id)), Filter(ids=of(C2.id, C1.id))], [C1, C2, A]),
    "a filter with limit 0 takes nothing from others": ([Filter(limit=0), Filter(kinds=frozenset([7]))], [D]),
    "a hopeless filter takes nothing from others": ([Filter(ids=of()), Filter(kinds=frozenset([7]))], [D]),
    "hopeless filters alone": ([Filter(kinds=frozenset()), Filter(limit=0), Filter(since=2, until=1)], []),
    "the same filter twice": ([Filter(limit=2), Filter(limit=2)], [E, D]),
    "a filter within another's limit": ([Filter(limit=1), Filter(limit=3)], [E, D, C1]),
    "filters of every shape": (
        [
            Filter(authors=of(CAROL.pubkey)),
            tagged("t", "sea"),
            Filter(since=NOW + 4),
            Filter(ids=of(A.id)),
        ],
        [E, CAROL_C, B, A],
    ),
}


@pytest.mark.parametrize(("one", "expected"), ONE_FILTER.values(), ids=ONE_FILTER)
async def test_a_filter_finds_its_events_newest_first(store: Store, one: Filter, expected: list[Event]) -> None:
    await store.save_many([C2, A, E, D, C1, B])
    assert await ask(store, one) == expected


@pytest.mark.parametrize(("filters", "expected"), UNIONS.values(), ids=UNIONS)
async def test_several_filters_find_the_union_of_their_events(
    store: Store, filters: list[Filter], expected: list[Event]
) -> None:
    await store.save_many([C2, A, E, D, C1, B])
    assert await ask(store, *filters) == expected


@pytest.mark.parametrize("one", [Filter(), tagged("t", "tree"), Filter(ids=of(A.id)), Filter(kinds=frozenset([1]))])
async def test_an_empty_store_finds_nothing(store: Store, one: Filter) -> None:
    assert await ask(store, one) == []
