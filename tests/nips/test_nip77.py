"""NIP-77, negentropy syncing: the messages, and what is compared."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.support.backends import ask
from tests.support.keys import ALICE, BOB, CAROL, NOW, made_up
from tests.support.named_relay import AuthClient, open_client, open_named
from tests.support.syncing import (
    FIRST,
    UNKNOWN,
    begin,
    compared,
    go_on,
    ids_of,
    is_over,
    items_of,
    refusal,
    refused,
    told,
)
from trio_relay import MemoryStore, Store
from trio_relay.nostr.filter import parse_filter
from trio_relay.nostr.negentropy.protocol import initiate
from trio_relay.nostr.negentropy.wire import FINGERPRINT, ID_LIST, read_ranges

EVENTS: Final = [
    author.event(
        str(number), kind=kind, created_at=NOW + number // 3, tags=[["t", "xyz"[number % 3]], ["d", str(number)]]
    )
    for number in range(40)
    for author, kind in ((ALICE, 1), (BOB, 7), (CAROL, 30_023))
]
"""Three at a time share their second with six others."""
ONLY_HERE: Final = [event for number, event in enumerate(EVENTS) if number % 10 == 0]
ONLY_THERE: Final = [event for number, event in enumerate(EVENTS) if number % 7 == 3 and number % 10]
THERE: Final = [event for event in EVENTS if event not in ONLY_HERE]
HERE: Final = [event for event in EVENTS if event not in ONLY_THERE]

FILTERS: Final[dict[str, dict[str, Any]]] = {
    "everything": {},
    "since": {"since": NOW + 4},
    "until": {"until": NOW + 9},
    "a time": {"since": NOW + 2, "until": NOW + 10},
    "a time of nothing": {"since": NOW + 10, "until": NOW + 2},
    "kinds": {"kinds": [1, 30_023]},
    "authors": {"authors": [ALICE.pubkey, BOB.pubkey]},
    "a tag": {"#t": ["x", "z"]},
    "ids": {"ids": [event.id for event in EVENTS[:50]]},
    "nothing": {"ids": []},
    "all of it": {"authors": [CAROL.pubkey], "kinds": [30_023], "#t": ["x"], "since": NOW + 3},
    "a limit": {"limit": 25},
    "the newest of a kind": {"kinds": [7], "limit": 9},
    "a limit of 0": {"limit": 0},
}


@pytest.mark.slow
@pytest.mark.parametrize("one", FILTERS.values(), ids=FILTERS)
async def test_a_sync_finds_what_each_side_lacks_of_what_a_filter_matches(store: Store, one: dict[str, Any]) -> None:
    """The filter is as in a REQ; "limit" too, for what the relay has."""
    await store.save_many(THERE)
    wanted = parse_filter(one)
    there = await ask(store, wanted) if wanted.wants_stored else []
    here = [event for event in HERE if wanted.matches(event)]
    async with open_named(store) as door, open_client(door) as identity:
        for _ in range(2):
            outcome = await compared(identity, one, here)
            assert outcome.have == ids_of(here) - ids_of(there)
            assert outcome.need == ids_of(there) - ids_of(here)
        assert len(outcome.answers) <= 3


async def test_a_list_of_one_filter_is_taken_as_that() -> None:
    """NDK's package sends it, and takes a refusal for a relay that has nothing."""
    store = MemoryStore()
    await store.save_many(THERE)
    async with open_named(store) as door, open_client(door) as identity:
        await identity.send("NEG-OPEN", "listed", [{"kinds": [7]}], FIRST.hex())
        assert await told(identity, "listed") == await begin(identity, {"kinds": [7]})


async def test_of_equal_sets_the_relay_says_nothing_but_its_version() -> None:
    store = MemoryStore()
    await store.save_many(EVENTS)
    async with open_named(store) as door, open_client(door) as identity:
        outcome = await compared(identity, {}, EVENTS)
        assert (outcome.have, outcome.need, outcome.answers) == (set(), set(), [1])


async def test_a_message_is_a_version_and_ranges_in_lowercase_hex() -> None:
    """0x61, then bounds, modes and payloads; few items are listed, many summed up in fingerprints."""
    store, few = MemoryStore(), [made_up(str(number), created_at=NOW + number) for number in range(31)]
    await store.save_many(few)
    async with open_named(store) as door, open_client(door) as identity:
        await identity.send("NEG-OPEN", "x", {}, FIRST.hex().upper())
        verb, sync_id, text = await identity.receive()
        assert (verb, sync_id) == ("NEG-MSG", "x")
        assert text == "6100" + "00" + "02" + "1f" + "".join(event.id for event in few)
        await store.save_many([made_up("one more", created_at=NOW + 31)])
        answer = await begin(identity, {}, bytes.fromhex("61000001" + "00" * 16))
        assert [one.mode for one in read_ranges(answer)] == [FINGERPRINT] * 16
        assert [one.mode for one in read_ranges(await begin(identity, {}, FIRST))] == [ID_LIST]


@pytest.mark.parametrize("version", ["60", "62", "6f", "62ffff"])
async def test_of_another_version_the_relay_answers_with_the_one_it_speaks(version: str) -> None:
    """One byte; the client may begin again with that."""
    store = MemoryStore()
    await store.save_many(THERE)
    async with open_named(store) as door, open_client(door) as identity:
        assert await begin(identity, {}, bytes.fromhex(version)) == b"\x61"
        assert await go_on(identity, bytes.fromhex(version)) == b"\x61"
        assert len(await go_on(identity, FIRST)) > 1
        assert (await compared(identity, {}, HERE)).have == ids_of(ONLY_HERE)


BROKEN: Final = {
    "no version": ("5f", "negentropy: a message begins with its version"),
    "nothing": ("", "negentropy: a message begins with its version"),
    "an end within a number": ("6181", "negentropy: the message ends within a number"),
    "an end within a range": ("61000001ff", "negentropy: the message ends within a range"),
    "ids that are not there": ("6100000205", "negentropy: the message ends within a range"),
    "a mode that is none": ("61000003", "negentropy: mode 3 is unknown"),
    "too long an id": (
        "610121" + "00" * 33,
        "negentropy: a bound has at most 32 bytes of an id, the infinite one none",
    ),
    "a time behind the last": ("61" + "000000" + "010000", "negentropy: a time has at most 64 bits"),
    "a range that ends before it begins": ("610502ffff0001010100", "negentropy: a range ends before it begins"),
}


@pytest.mark.parametrize(("message", "reason"), BROKEN.values(), ids=BROKEN)
async def test_a_message_that_breaks_the_format_ends_the_sync(message: str, reason: str) -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as identity:
        assert await refused(identity, {}, bytes.fromhex(message)) == [f"invalid: {reason}"]
        assert await is_over(identity)
        await begin(identity)
        await identity.send("NEG-MSG", "sync", message)
        assert await refusal(identity) == [f"invalid: {reason}"]
        assert await is_over(identity)
        assert door.relay.statistics().syncing.sessions == 0


FORMLESS: Final[dict[str, tuple[list[Any], str]]] = {
    "no hex": (["NEG-MSG", "sync", "6100zz"], "invalid: the message is not hex"),
    "half a byte": (["NEG-MSG", "sync", "6"], "invalid: the message is not hex"),
    "spaces": (["NEG-MSG", "sync", "61 00"], "invalid: the message is not hex"),
    "no message": (["NEG-MSG", "sync"], "invalid: NEG-MSG is not of the form that NIP-77 gives it"),
    "a number": (["NEG-MSG", "sync", 61], "invalid: NEG-MSG is not of the form that NIP-77 gives it"),
    "no filter": (["NEG-OPEN", "sync", "61"], "invalid: NEG-OPEN is not of the form that NIP-77 gives it"),
    "an opening without hex": (["NEG-OPEN", "sync", {}, "é"], "invalid: the message is not hex"),
    "a list of filters": (["NEG-OPEN", "sync", [{}, {}], "61"], "invalid: a filter must be an object"),
    "a list of none": (["NEG-OPEN", "sync", [], "61"], "invalid: a filter must be an object"),
    "a list in a list": (["NEG-OPEN", "sync", [[{}]], "61"], "invalid: a filter must be an object"),
    "what is no filter, in a list": (
        ["NEG-OPEN", "sync", [{"kinds": 1}], "61"],
        "invalid: kinds must be a list of integers, each 0 or more",
    ),
    "an unknown key": (["NEG-OPEN", "sync", {"colour": 1}, "61"], "unsupported: filter key 'colour' is not known here"),
    "a search": (
        ["NEG-OPEN", "sync", {"search": "tea"}, "61"],
        "unsupported: a search is no set that could be compared",
    ),
    "too much": (["NEG-CLOSE", "sync", "x"], "invalid: NEG-CLOSE is not of the form that NIP-77 gives it"),
}


@pytest.mark.parametrize(("message", "reason"), FORMLESS.values(), ids=FORMLESS)
async def test_what_is_not_of_the_form_is_refused_and_ends_the_sync_of_its_id(message: list[Any], reason: str) -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as identity:
        await begin(identity)
        await identity.send(*message)
        assert await refusal(identity) == [reason]
        assert await is_over(identity)


@pytest.mark.parametrize("sync_id", ["", "x" * 65])
async def test_an_id_has_1_to_64_characters_as_a_subscriptions(sync_id: str) -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as identity:
        reason = "invalid: a subscription id has 1 to 64 characters"
        assert await refused(identity, sync_id=sync_id) == [reason]
        assert await begin(identity, sync_id="é" * 64) == FIRST


async def test_ids_of_syncs_are_other_things_than_those_of_subscriptions(store: Store) -> None:
    """A REQ, a CLOSE or a COUNT of the same id leaves a sync alone, and a NEG-CLOSE a subscription."""
    note = ALICE.event("note")
    async with open_named(store) as door, open_client(door) as identity, open_client(door) as publisher:
        await begin(identity, sync_id="x")
        assert await identity.ask({"kinds": [1]}, sub_id="x") == []
        assert await identity.count({"kinds": [1]}, sub_id="x") == {"count": 0}
        assert not await is_over(identity, "x")
        await identity.send("REQ", "x", {"kinds": [1]})
        assert (await identity.receive())[0] == "EOSE"
        await identity.send("NEG-CLOSE", "x")
        assert await is_over(identity, "x")
        assert await publisher.publish(note) == [True, ""]
        assert (await identity.receive())[:2] == ["EVENT", "x"]


async def test_an_open_id_that_is_opened_again_begins_anew() -> None:
    """ "The existing subscription is first closed"."""
    store = MemoryStore()
    await store.save_many(EVENTS[:6])
    async with open_named(store) as door, open_client(door) as identity:
        for one, number in (({"kinds": [1]}, 2), ({"kinds": [7]}, 2), ({}, 6), ({"kinds": [4_000]}, 0)):
            for answer in (await begin(identity, one), await go_on(identity, FIRST)):
                (listed,) = read_ranges(answer)
                assert len(listed.payload) == number * 32
            assert door.relay.statistics().syncing.sessions == 1


async def test_several_syncs_of_a_connection_go_on_side_by_side(store: Store) -> None:
    await store.save_many(EVENTS)
    async with open_named(store) as door, open_client(door) as identity:
        filters: list[dict[str, Any]] = [{"kinds": [1]}, {"kinds": [7]}, {}]
        own = [[event for event in EVENTS[::2] if parse_filter(filter_).matches(event)] for filter_ in filters]
        for number, one in enumerate(filters):
            await begin(identity, one, initiate(items_of(own[number])), sync_id=str(number))
        assert door.relay.statistics().syncing.sessions == 3
        for number in (2, 0, 1):
            answer = await go_on(identity, FIRST, sync_id=str(number))
            listed = b"".join(one.payload for one in read_ranges(answer))
            expected = items_of(event for event in EVENTS if parse_filter(filters[number]).matches(event))
            assert listed == expected.ids(0, len(expected))
        for number in range(3):
            await identity.send("NEG-CLOSE", str(number))
        assert await is_over(identity, "2")
        assert door.relay.statistics().syncing.sessions == 0


async def test_a_closed_sync_is_over_and_a_close_is_not_answered() -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as identity:
        for sync_id in ("sync", "never opened", ""):
            await identity.send("NEG-CLOSE", sync_id)
        await begin(identity)
        await identity.send("NEG-CLOSE", "sync")
        await identity.send("NEG-CLOSE", "sync")
        assert await identity.ask({}) == []
        assert await is_over(identity)


async def _message_refused(identity: AuthClient, message: bytes) -> list[Any]:
    await identity.send("NEG-MSG", "sync", message.hex())
    return await refusal(identity)


@pytest.mark.parametrize("size", [6, 40_000])
async def test_a_message_of_a_sync_that_was_never_opened_is_refused(size: int) -> None:
    """However long it is."""
    async with open_named(MemoryStore()) as door, open_client(door) as identity:
        assert await _message_refused(identity, bytes([0x61] * size)) == [UNKNOWN]
