"""Events of one second whose ids begin alike: which is which, and which comes first, is for the whole id to say."""

from __future__ import annotations

from typing import Final

import pytest
from msgspec.structs import replace

from tests.support.backends import ask, ask_at_once, everything
from tests.support.keys import ALICE, NOW
from tests.support.oracles import naive_query
from trio_relay import Event, Filter, Saved, Store

BEGINNINGS: Final = {"low": "0" * 14, "high": "f" * 14, "any": "0123456789abcd"}
BY_TAG: Final = (("t", frozenset("x")),)
SHAPES: Final = {
    "everything": Filter(),
    "a kind": Filter(kinds=frozenset([1])),
    "an author": Filter(authors=frozenset([ALICE.pubkey])),
    "an author's kind": Filter(authors=frozenset([ALICE.pubkey]), kinds=frozenset([1])),
    "a tag": Filter(tags=BY_TAG),
    "a tag of an author": Filter(authors=frozenset([ALICE.pubkey]), tags=BY_TAG),
    "tags": Filter(tags=(("t", frozenset("wxyz")), ("p", frozenset("x")))),
}


def alike(beginning: str, ending: str, kind: int = 1, created_at: int = NOW) -> Event:
    """An event whose id has this beginning and ending, and zeros between."""
    event_id = beginning + "0" * (64 - len(beginning + ending)) + ending
    return replace(ALICE.event(kind=kind, created_at=created_at, tags=[["t", "x"], ["p", "x"]]), id=event_id)


@pytest.mark.parametrize("limit", [1, 3, 10])
@pytest.mark.parametrize("one", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
async def test_ids_that_share_their_first_seven_bytes_come_in_their_order(
    store: Store, beginning: str, one: Filter, limit: int
) -> None:
    """They differ in their eighth byte, down to the last bit but one of it; the sign of a number plays no part."""
    events = [alike(beginning + f"{byte:02x}", "") for byte in (0xFE, 0x80, 0x02, 0x7E, 0x00, 0x82, 0x04)]
    await store.save_many(events)
    asked = replace(one, limit=limit)
    expected = naive_query([asked], events)
    assert len(expected) == min(limit, len(events))
    assert await ask(store, asked) == expected
    assert ask_at_once(store, asked) in (expected, None)


@pytest.fixture
async def twins(store: Store) -> list[Event]:
    """Stored events whose ids differ in their last digit only."""
    events = [alike("0123456789abcdef", digit) for digit in "abc"]
    assert await store.save_many(events) == [Saved.STORED] * 3
    return events


async def test_ids_that_end_differently_are_told_apart(store: Store, twins: list[Event]) -> None:
    stranger = alike("0123456789abcdef", "d").id
    assert await store.known([twins[1].id, stranger]) == store.known_nowait([twins[1].id, stranger]) == {twins[1].id}
    for event in twins:
        asked = Filter(ids=frozenset([event.id]))
        assert await ask(store, asked) == [event]
        assert ask_at_once(store, asked) in ([event], None)
        assert await store.known([event.id]) == store.known_nowait([event.id]) == {event.id}
    assert await store.known([stranger]) == store.known_nowait([stranger]) == set()
    assert await ask(store, Filter(ids=frozenset([stranger]))) == []
    both = await ask(store, Filter(ids=frozenset([twins[0].id, twins[2].id, stranger])))
    assert sorted(both, key=twins.index) == [twins[0], twins[2]]


@pytest.mark.parametrize("one", SHAPES.values(), ids=SHAPES)
async def test_ids_that_end_differently_are_found_each_once(store: Store, twins: list[Event], one: Filter) -> None:
    assert sorted(await ask(store, one), key=twins.index) == twins
    assert sorted(await ask(store, one, Filter(tags=BY_TAG)), key=twins.index) == twins


async def test_one_of_them_goes_and_the_others_stay(store: Store, twins: list[Event]) -> None:
    request = ALICE.event(kind=5, tags=[["e", twins[1].id]])
    await store.save_many([request])
    for one in SHAPES.values():
        left = [event for event in await ask(store, one) if event != request]
        assert sorted(left, key=twins.index) == [twins[0], twins[2]]
    assert await everything(store) == [twins[0], twins[2], request]
    assert await store.save_many(twins) == [Saved.DUPLICATE, Saved.DELETED, Saved.DUPLICATE]
    lone = [await store.save_many([event]) for event in twins]
    assert lone == [[Saved.DUPLICATE], [Saved.DELETED], [Saved.DUPLICATE]]


async def test_the_lowest_of_them_is_the_version_that_stands(store: Store) -> None:
    low, middle, high = (alike("0123456789abcdef", digit, kind=0) for digit in "abc")
    assert await store.save_many([middle]) == [Saved.STORED]
    assert await store.save_many([high]) == [Saved.SUPERSEDED]
    assert await store.save_many([low]) == [Saved.STORED]
    assert await store.save_many([middle, high]) == [Saved.SUPERSEDED] * 2
    assert await everything(store) == [low]
    assert await ask(store, Filter(tags=BY_TAG)) == [low]
