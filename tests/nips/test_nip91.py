"""NIP-91 (draft): `&x` asks for events that carry all of its values."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.support.keys import ALICE, BOB, NOW
from tests.support.named_relay import open_client, open_named, rules_for
from tests.support.receiving import answered, synced, told_until
from trio_relay import Event, Limits, MemoryStore, Rules, Store


def note(*tags: str, at: int = 0, kind: int = 1) -> Event:
    """Each tag is its letter and its value."""
    return ALICE.event(kind=kind, created_at=NOW + at, tags=[[tag[0], tag[1:]] for tag in tags])


BOTH_WHITE: Final = note("tmeme", "tcat", "twhite", at=9)
BOTH_BLACK: Final = note("tcat", "tblack", "tmeme", at=8)
BOTH: Final = note("tmeme", "tcat", at=7)
MEME: Final = note("tmeme", "tblack", at=6)
CAT: Final = note("tcat", at=5)
CAPITALS: Final = note("Tmeme", "Tcat", at=4)
ONE_TAG: Final = ALICE.event(created_at=NOW + 3, tags=[["t", "meme", "cat"]])
OTHER_KIND: Final = note("tmeme", "tcat", at=2, kind=7)
NOTES: Final = [BOTH_WHITE, BOTH_BLACK, BOTH, MEME, CAT, CAPITALS, ONE_TAG, OTHER_KIND]

QUESTIONS: Final[dict[str, tuple[list[dict[str, Any]], list[Event]]]] = {
    "all of two values": ([{"&t": ["meme", "cat"]}], [BOTH_WHITE, BOTH_BLACK, BOTH, OTHER_KIND]),
    "one value": ([{"&t": ["black"]}], [BOTH_BLACK, MEME]),
    "a value twice": ([{"&t": ["black", "black"]}], [BOTH_BLACK, MEME]),
    "a value that nothing has": ([{"&t": ["meme", "dog"]}], []),
    "with another key": ([{"kinds": [1], "&t": ["meme", "cat"]}], [BOTH_WHITE, BOTH_BLACK, BOTH]),
    "all of some and any of others": (
        [{"kinds": [1], "&t": ["meme", "cat"], "#t": ["black", "white"]}],
        [BOTH_WHITE, BOTH_BLACK],
    ),
    "any of others first": ([{"#t": ["black", "white"], "&t": ["meme", "cat"]}], [BOTH_WHITE, BOTH_BLACK]),
    "a value of both counts among all alone": ([{"&t": ["meme", "cat"], "#t": ["cat", "white"]}], [BOTH_WHITE]),
    "values of both alone": (
        [{"&t": ["meme", "cat"], "#t": ["meme"]}],
        [BOTH_WHITE, BOTH_BLACK, BOTH, OTHER_KIND],
    ),
    "of another letter": ([{"&T": ["meme", "cat"]}], [CAPITALS]),
    "of two letters": ([{"&t": ["meme"], "&T": ["meme"]}], []),
    "any of another letter": ([{"&t": ["meme", "cat"], "#T": ["meme"]}], []),
    "a limit": ([{"&t": ["meme", "cat"], "limit": 2}], [BOTH_WHITE, BOTH_BLACK]),
    "several filters": (
        [{"&t": ["meme", "cat"], "kinds": [7]}, {"&t": ["black", "meme"]}],
        [BOTH_BLACK, MEME, OTHER_KIND],
    ),
    "nothing": ([{"&t": []}], []),
    "without it, any will do": (
        [{"kinds": [1], "#t": ["meme", "cat"]}],
        [BOTH_WHITE, BOTH_BLACK, BOTH, MEME, CAT, ONE_TAG],
    ),
}


def rules() -> Rules:
    return rules_for(and_tags=True)


@pytest.mark.parametrize(("filters", "expected"), QUESTIONS.values(), ids=QUESTIONS)
async def test_all_values_are_asked_for_in_requests_counts_and_syncs(
    store: Store, filters: list[dict[str, Any]], expected: list[Event]
) -> None:
    await store.save_many(NOTES)
    async with open_named(store, rules()) as door, open_client(door) as client:
        assert await client.ask(*filters) == [event.id for event in expected]
        assert await synced(client, filters[0]) <= {event.id for event in expected}
        if "limit" not in filters[0]:
            assert await client.count(*filters) == {"count": len(expected)}


@pytest.mark.parametrize(("filters", "expected"), QUESTIONS.values(), ids=QUESTIONS)
async def test_live_events_match_by_the_same_rule(filters: list[dict[str, Any]], expected: list[Event]) -> None:
    last = BOB.event("the last")
    wanted = {event.id for event in expected}
    if "limit" in filters[0]:
        wanted |= {BOTH.id, OTHER_KIND.id}
    async with (
        open_named(MemoryStore(), rules()) as door,
        open_client(door) as client,
        open_client(door) as publisher,
    ):
        await answered(client, *filters, {"ids": [last.id]})
        for event in [*NOTES, last]:
            assert await publisher.publish(event) == [True, ""]
        assert await told_until(client, last) == [event.id for event in NOTES if event.id in wanted]


async def test_people_and_events_are_asked_for_so_too(store: Store) -> None:
    ids = ["1" * 64, "2" * 64]
    both, one = (
        note(f"p{ALICE.pubkey}", f"p{BOB.pubkey}", f"e{ids[0]}", f"e{ids[1]}"),
        note(f"p{BOB.pubkey}", f"e{ids[0]}"),
    )
    await store.save_many([both, one])
    async with open_named(store, rules()) as door, open_client(door) as client:
        for asked in ({"&p": [ALICE.pubkey, BOB.pubkey]}, {"&e": ids}, {"&e": ids, "&p": [BOB.pubkey]}):
            assert await client.ask(asked) == [both.id]


async def test_who_asks_for_messages_to_several_gets_those_to_him_alone(store: Store) -> None:
    """NIP-59's rule holds whatever a filter looks like."""
    wrap = BOB.event(kind=1_059, tags=[["p", ALICE.pubkey], ["p", BOB.pubkey]])
    await store.save_many([wrap])
    async with open_named(store, rules()) as door, open_client(door) as client:
        assert await client.ask({"&p": [ALICE.pubkey, BOB.pubkey]}) == []
        await client.authenticate(ALICE)
        assert await client.ask({"&p": [ALICE.pubkey]}) == [wrap.id]
        assert await client.ask({"&p": [ALICE.pubkey, BOB.pubkey]}) == [wrap.id]


REFUSED: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "too many values": (
        {"&t": [str(number) for number in range(17)]},
        "invalid: at most 16 values of tags can be demanded by & in a filter",
    ),
    "no list": ({"&t": "meme"}, "invalid: &t must be a list of strings"),
    "no texts": ({"&t": [1]}, "invalid: &t must be a list of strings"),
    "no key": ({"&p": ["bob"]}, "invalid: &p must hold strings of 64 lowercase hex characters"),
    "a long name": ({"&tag": ["meme"]}, "unsupported: filter key '&tag' is not known here"),
    "no letter": ({"&1": ["meme"]}, "unsupported: filter key '&1' is not known here"),
    "the other spelling": ({"#t&": ["meme"]}, "unsupported: filter key '#t&' is not known here"),
}


@pytest.mark.parametrize(("one", "reason"), REFUSED.values(), ids=REFUSED)
async def test_what_is_no_such_filter_is_refused(one: dict[str, Any], reason: str) -> None:
    async with open_named(MemoryStore(), rules()) as door, open_client(door) as client:
        assert await client.ask_refused(one) == reason
        assert await client.ask_refused(one, verb="COUNT") == reason


async def test_sixteen_values_may_be_asked_for(store: Store) -> None:
    values = [str(number) for number in range(16)]
    whole, part = note(*(f"t{value}" for value in values)), note(*(f"t{value}" for value in values[1:]))
    await store.save_many([whole, part])
    async with open_named(store, rules()) as door, open_client(door) as client:
        assert await client.ask({"&t": values}) == [whole.id]


async def test_its_values_count_among_those_of_a_connection() -> None:
    limited = rules_for(and_tags=True, limits=Limits(max_filter_values=12))
    async with open_named(MemoryStore(), limited) as door, open_client(door) as client:
        assert await client.ask({"&t": ["a", "b", "c"]}) == []
        reason = "error: at most 12 values in the filters of a connection (max_filter_values)"
        assert await client.ask_refused({"&t": ["a", "b", "c", "d"]}) == reason


@pytest.mark.parametrize("is_on", [False, True])
async def test_it_is_off_unless_configured_and_nip_11_says_which(is_on: bool) -> None:
    async with open_named(MemoryStore(), rules_for(and_tags=is_on)) as door, open_client(door) as client:
        assert (b",91" in door.relay.document()) is is_on
        if not is_on:
            reason = "unsupported: filter key '&t' is not known here"
            assert await client.ask_refused({"&t": ["meme"]}) == reason
            assert await client.ask_refused({"&t": ["meme"]}, verb="COUNT") == reason
            await client.send("NEG-OPEN", "sync", {"&t": ["meme"]}, "6100000200")
            assert await client.receive() == ["NEG-ERR", "sync", reason]
