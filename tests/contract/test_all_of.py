"""Filters that ask for several values of one letter at once (NIP-91)."""

from __future__ import annotations

from typing import Final

import pytest

from tests.support.backends import ask, ask_at_once, records
from tests.support.keys import ALICE, BOB, NOW, Author
from trio_relay import Event, Store
from trio_relay.nostr.filter import Filter, parse_filter


def tagged(*values: str, at: int = 0, letter: str = "t", author: Author = ALICE) -> Event:
    return author.event(created_at=NOW - at, tags=[[letter, value] for value in values])


ABC, AB, A, BC, OTHER, BOTH = (
    tagged("a", "b", "c"),
    tagged("a", "b", at=1),
    tagged("a", at=2),
    tagged("b", "c", at=3, author=BOB),
    tagged("a", "b", at=4, letter="g"),
    BOB.event(created_at=NOW - 5, tags=[["t", "a"], ["t", "b"], ["g", "x"], ["g", "y"]]),
)
ALL: Final = [ABC, AB, A, BC, OTHER, BOTH]


def asking(**keys: object) -> Filter:
    return parse_filter(
        {key.replace("all_", "&").replace("any_", "#"): value for key, value in keys.items()}, all_of=True
    )


FOUND: Final[dict[str, tuple[Filter, list[Event]]]] = {
    "two": (asking(all_t=["a", "b"]), [ABC, AB, BOTH]),
    "three": (asking(all_t=["a", "b", "c"]), [ABC]),
    "one": (asking(all_t=["a"]), [ABC, AB, A, BOTH]),
    "one that is not there": (asking(all_t=["a", "z"]), []),
    "none": (asking(all_t=[]), []),
    "two, and any of others": (asking(all_t=["a", "b"], any_t=["c", "z"]), [ABC]),
    "two, and any of others that are the same": (asking(all_t=["a", "b"], any_t=["a", "c"]), [ABC]),
    "two, and any of the same": (asking(all_t=["a", "b"], any_t=["a", "b"]), [ABC, AB, BOTH]),
    "of two letters": (asking(all_t=["a", "b"], all_g=["x", "y"]), [BOTH]),
    "of an author": (asking(all_t=["b", "c"], authors=[BOB.pubkey]), [BC]),
    "of many authors": (
        asking(all_t=["a", "b"], authors=[BOB.pubkey, *(f"{number:064x}" for number in range(20))]),
        [BOTH],
    ),
    "of a kind": (asking(all_t=["a", "b"], kinds=[1]), [ABC, AB, BOTH]),
    "of ids": (asking(all_t=["a", "b"], ids=[A.id, AB.id]), [AB]),
    "a limit": (asking(all_t=["a", "b"], limit=2), [ABC, AB]),
    "a time": (asking(all_t=["a", "b"], until=NOW - 1), [AB, BOTH]),
}


@pytest.mark.parametrize(("one", "expected"), FOUND.values(), ids=FOUND)
async def test_an_event_has_to_carry_every_value(store: Store, one: Filter, expected: list[Event]) -> None:
    await store.save_many(ALL)
    assert await ask(store, one) == expected
    assert ask_at_once(store, one) in (expected, None)
    assert await records(store, one) == [(event.created_at, event.id) for event in expected]
    assert await store.count([one]) == len(expected) + (one.limit is not None)
