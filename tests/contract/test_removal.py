"""What an operator has removed leaves nothing behind, not even a tombstone."""

from __future__ import annotations

from typing import Final

import pytest
from msgspec.structs import replace

from tests.support.backends import ask, everything, records
from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from trio_relay import Event, Saved, Store
from trio_relay.nostr.access import NOBODY
from trio_relay.nostr.filter import Filter, parse_filter
from trio_relay.nostr.hyperloglog import offset_of

TARGET: Final = "e" * 64
TAGS: Final = [["t", "tea"], ["e", TARGET], ["l", "en", "ISO-639-1"], ["content-warning"]]


def note(
    author: Author, content: str = "tea", kind: int = 1, at: int = 0, more: list[list[str]] | None = None
) -> Event:
    return author.event(content, kind=kind, created_at=NOW + at, tags=[*TAGS, *(more or [])])


MINE, HERS, REACTION = note(ALICE), note(BOB, at=1), note(ALICE, kind=7, at=2)
ARTICLE = note(ALICE, kind=30_023, at=3)
WRAP = CAROL.event("sealed", kind=1_059, created_at=NOW + 4, tags=[["p", ALICE.pubkey]])
OVER = note(ALICE, at=5, more=[["expiration", str(NOW)]])
ALL: Final = [MINE, HERS, REACTION, ARTICLE, WRAP, OVER]

OF_ALICE: Final = Filter(authors=frozenset([ALICE.pubkey]))
GONE: Final[dict[str, tuple[list[Filter], list[Event]]]] = {
    "everything": ([Filter()], ALL),
    "nothing": ([], []),
    "what can never match": ([Filter(ids=frozenset())], []),
    "what is not there": ([Filter(ids=frozenset(["f" * 64]))], []),
    "an author, what has expired too": ([OF_ALICE], [MINE, REACTION, ARTICLE, OVER]),
    "an id": ([Filter(ids=frozenset([MINE.id]))], [MINE]),
    "a kind": ([Filter(kinds=frozenset([30_023]))], [ARTICLE]),
    "a tag": ([Filter(tags=(("t", frozenset(["tea"])),), until=NOW + 1)], [MINE, HERS]),
    "a name": ([Filter(tags=(("p", frozenset([ALICE.pubkey])),))], [WRAP]),
    "a word": ([parse_filter({"search": "tea", "authors": [BOB.pubkey]})], [HERS]),
    "several filters": ([Filter(ids=frozenset([MINE.id, HERS.id])), OF_ALICE], [MINE, HERS, REACTION, ARTICLE, OVER]),
    "whatever the limits": (
        [replace(OF_ALICE, limit=1), Filter(limit=0, kinds=frozenset([1_059]))],
        [*ALL[:1], *ALL[2:]],
    ),
    "whoever may read it": ([replace(Filter(kinds=frozenset([1_059])), reader=NOBODY)], [WRAP]),
}


@pytest.mark.parametrize(("filters", "gone"), GONE.values(), ids=GONE)
async def test_all_that_matches_is_removed_and_nothing_else(
    store: Store, filters: list[Filter], gone: list[Event]
) -> None:
    await store.save_many(ALL)
    assert await store.remove(filters) == len(gone)
    left = [event for event in ALL if event not in gone]
    assert await everything(store) == left
    assert await store.known([event.id for event in ALL]) == {event.id for event in left}
    assert await store.count([Filter()]) == len([event for event in left if event != OVER])
    assert await store.remove(filters) == 0


async def test_nothing_finds_what_was_removed(store: Store) -> None:
    await store.save_many(ALL)
    await store.remove([OF_ALICE])
    for one in (
        Filter(tags=(("t", frozenset(["tea"])),)),
        Filter(tags=(("e", frozenset([TARGET])),)),
        Filter(kinds=frozenset([1, 7, 30_023])),
        parse_filter({"search": "tea"}),
        parse_filter({"search": "language:en"}),
    ):
        assert await ask(store, one) == [HERS]
        assert await store.count([one]) == 1
        assert await records(store, one) == [(HERS.created_at, HERS.id)]
    assert await ask(store, parse_filter({"search": "nsfw:false"})) == [WRAP]
    reactions = Filter(kinds=frozenset([7]), tags=(("e", frozenset([TARGET])),))
    sketch = await store.sketch(reactions, offset_of(TARGET))
    assert (sketch.number, sketch.registers) == (0, bytes(256))
    assert await store.sweep() == 0


async def test_the_same_can_be_stored_again(store: Store) -> None:
    await store.save_many(ALL)
    await store.remove([Filter()])
    older = note(ALICE, kind=30_023)
    assert await store.save_many([older, *ALL]) == [Saved.STORED] * 7
    assert await everything(store) == ALL
    assert await store.count([parse_filter({"search": "tea"})]) == 4
    assert await store.sweep() == 1


async def test_what_was_deleted_stays_so(store: Store) -> None:
    """Its request may be removed: who asked is remembered apart from it."""
    request = ALICE.event(kind=5, created_at=NOW + 9, tags=[["e", MINE.id]])
    await store.save_many([MINE, request])
    assert await store.remove([Filter()]) == 1
    assert await store.save_many([MINE]) == [Saved.DELETED]


@pytest.mark.slow
async def test_much_is_removed(store: Store) -> None:
    await store.save_many([note(ALICE, str(number), at=-number) for number in range(1_100)])
    await store.save_many([HERS])
    assert await store.remove([OF_ALICE]) == 1_100
    assert await everything(store) == [HERS]
