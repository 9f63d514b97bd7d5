"""NIP-04, NIP-17 and NIP-59: messages between people are for those concerned alone, whatever is asked, and how."""

from __future__ import annotations

from typing import Any, Final

import pytest
from msgspec.structs import replace

from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from tests.support.named_relay import open_client, open_named, rules_for
from tests.support.receiving import answered, synced, told_until
from trio_relay import Event, Limits, MemoryStore, Store

RANDOM: Final = Author("the random key of a wrap")
DAVE: Final = Author("dave")


def sent(kind: int, author: Author, *names: Author, at: int = 0, content: str = "tea") -> Event:
    return author.event(content, kind=kind, created_at=NOW + at, tags=[["p", name.pubkey] for name in names])


MESSAGE: Final = sent(4, ALICE, BOB)
TO_BOB: Final = sent(1_059, RANDOM, BOB, at=1)
TO_ALICE: Final = sent(1_059, RANDOM, ALICE, at=2)
TO_BOTH: Final = sent(1_059, RANDOM, ALICE, BOB, at=3)
NOTE: Final = sent(1, ALICE, BOB, at=4)
ALL: Final = [MESSAGE, TO_BOB, TO_ALICE, TO_BOTH, NOTE]
LAST: Final = CAROL.event("the last")

READERS: Final[dict[str, tuple[list[Author], list[Event]]]] = {
    "nobody": ([], [NOTE]),
    "the author of a message": ([ALICE], [NOTE, TO_BOTH, TO_ALICE, MESSAGE]),
    "whom it is for": ([BOB], [NOTE, TO_BOTH, TO_BOB, MESSAGE]),
    "the key that signed the wraps": ([RANDOM], [NOTE]),
    "a stranger": ([DAVE], [NOTE]),
    "a stranger who is somebody else too": ([DAVE, BOB], [NOTE, TO_BOTH, TO_BOB, MESSAGE]),
    "both of them on one connection": ([ALICE, BOB], [NOTE, TO_BOTH, TO_ALICE, TO_BOB, MESSAGE]),
}
QUESTIONS: Final[dict[str, list[dict[str, Any]]]] = {
    "everything": [{}],
    "their ids": [{"ids": [one.id for one in ALL]}],
    "their kinds, and a public one": [{"kinds": [1, 4, 1_059]}],
    "their names": [{"#p": [ALICE.pubkey, BOB.pubkey]}],
    "their authors": [{"authors": [ALICE.pubkey, RANDOM.pubkey]}],
    "several filters": [{"ids": [MESSAGE.id]}, {"kinds": [1_059]}, {"#p": [BOB.pubkey]}, {"authors": [ALICE.pubkey]}],
    "private kinds beside another filter": [{"kinds": [4, 1_059]}, {"kinds": [1]}],
}


@pytest.mark.slow
@pytest.mark.parametrize(("keys", "readable"), READERS.values(), ids=READERS)
async def test_requests_counts_and_syncs_find_what_their_reader_may_read(
    store: Store, keys: list[Author], readable: list[Event]
) -> None:
    await store.save_many(ALL)
    expected = [event.id for event in readable]
    async with open_named(store) as door, open_client(door, *keys) as identity:
        for filters in QUESTIONS.values():
            assert await identity.ask(*filters) == expected
            assert await identity.count(*filters) == {"count": len(expected)}
            if len(filters) == 1:
                assert await synced(identity, filters[0]) == set(expected)


BAD: Final = "invalid: sig is not a valid signature of the id by the pubkey"
KNOWN: Final = "duplicate: already have this event"


@pytest.mark.parametrize("event", [MESSAGE, TO_BOB, NOTE], ids=["message", "wrap", "note"])
@pytest.mark.parametrize("names", [[], [DAVE], [BOB]], ids=["nobody", "a stranger", "whom it is for"])
async def test_only_who_may_read_an_event_is_told_that_it_is_stored(
    store: Store, event: Event, names: list[Author]
) -> None:
    """Not who has its id alone, nor who has all of it: both are answered as if it were new."""
    forged = replace(event, sig="0" * 128)
    async with open_named(store) as door, open_client(door, *names) as sender:
        answers = [[await sender.publish(one) for one in (forged, event)] for _ in range(2)]
    may_read = event is NOTE or BOB in names
    unknown = [[False, BAD], [True, ""]]
    known = [[True, KNOWN] if event is NOTE else [False, BAD], [True, KNOWN]]
    assert answers == [unknown, known if may_read else unknown]


@pytest.mark.slow
@pytest.mark.parametrize(("keys", "readable"), READERS.values(), ids=READERS)
async def test_live_events_go_to_those_who_may_read_them(
    store: Store, keys: list[Author], readable: list[Event]
) -> None:
    expected = [event.id for event in ALL if event in readable]
    async with open_named(store) as door, open_client(door, *keys) as identity, open_client(door) as publisher:
        assert await answered(identity, {}) == ([], [])
        for event in [*ALL, LAST]:
            assert await publisher.publish(event) == [True, ""]
        assert await told_until(identity, LAST) == expected


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
async def test_whatever_a_subscription_asks_for_it_is_sent_no_messages_of_others(
    question: list[dict[str, Any]],
) -> None:
    async with (
        open_named(MemoryStore()) as door,
        open_client(door, DAVE) as identity,
        open_client(door) as publisher,
    ):
        await answered(identity, *question, {"ids": [LAST.id]})
        for event in [*ALL, LAST]:
            assert await publisher.publish(event) == [True, ""]
        assert await told_until(identity, LAST) == [NOTE.id]


async def test_a_search_finds_private_events_for_those_concerned_alone(store: Store) -> None:
    """Of the default private kinds no content is searched; others can be made private."""
    secret = sent(30_023, ALICE, BOB, at=5)
    await store.save_many([*ALL, secret])
    async with open_named(store, rules_for(private_kinds=(4, 1_059, 21_059, 30_023))) as door:
        for keys, expected in (([], [NOTE]), ([DAVE], [NOTE]), ([BOB], [secret, NOTE]), ([ALICE], [secret, NOTE])):
            async with open_client(door, *keys) as identity:
                assert await identity.ask({"search": "tea"}) == [event.id for event in expected]
                assert await identity.count({"search": "tea"}) == {"count": len(expected)}


PRIVATE: Final = "private events are served to their authors and recipients only"
OF_OTHERS: Final = "these events are for keys other than the authenticated ones"
REFUSED: Final[dict[str, tuple[list[Author], dict[str, Any], str]]] = {
    "messages, by nobody": ([], {"kinds": [4]}, f"auth-required: {PRIVATE}"),
    "wraps, by nobody": ([], {"kinds": [1_059]}, f"auth-required: {PRIVATE}"),
    "wraps of a key, by nobody": ([], {"kinds": [1_059, 21_059], "#p": [BOB.pubkey]}, f"auth-required: {PRIVATE}"),
    "a wrap's id and kind, by nobody": ([], {"ids": [TO_BOB.id], "kinds": [1_059]}, f"auth-required: {PRIVATE}"),
    "wraps of another": ([ALICE], {"kinds": [1_059], "#p": [BOB.pubkey]}, f"restricted: {OF_OTHERS}"),
    "wraps, by their author": (
        [RANDOM],
        {"kinds": [1_059], "#p": [BOB.pubkey], "authors": [RANDOM.pubkey]},
        f"restricted: {OF_OTHERS}",
    ),
    "messages of two others": (
        [DAVE],
        {"kinds": [4], "authors": [ALICE.pubkey], "#p": [BOB.pubkey]},
        f"restricted: {OF_OTHERS}",
    ),
    "wraps of others, with several keys": (
        [ALICE, CAROL],
        {"kinds": [1_059], "#p": [BOB.pubkey, DAVE.pubkey]},
        f"restricted: {OF_OTHERS}",
    ),
}


@pytest.mark.parametrize(("keys", "question", "reason"), REFUSED.values(), ids=REFUSED)
async def test_a_request_for_messages_of_others_alone_is_told_why_it_gets_nothing(
    keys: list[Author], question: dict[str, Any], reason: str
) -> None:
    """In front of the first of these that AUTH could mend the challenge comes once more (NIP-42)."""
    for verb, end, more in (
        ("REQ", "CLOSED", []),
        ("COUNT", "CLOSED", []),
        ("NEG-OPEN", "NEG-ERR", ["6100000200"]),
    ):
        async with open_named(MemoryStore()) as door, open_client(door, *keys) as identity:
            await identity.send(verb, "x", question, *more)
            if reason.startswith("auth-required"):
                assert await identity.receive() == ["AUTH", identity.challenge]
            assert await identity.receive() == [end, "x", reason]


async def test_several_filters_for_messages_of_others_alone_are_refused_together() -> None:
    filters: list[dict[str, Any]] = [{"kinds": [4]}, {"kinds": [1_059]}]
    others: list[dict[str, Any]] = [{"kinds": [1_059], "#p": [BOB.pubkey]}, {"kinds": [21_059], "#p": [CAROL.pubkey]}]
    async with open_named(MemoryStore()) as door, open_client(door) as identity:
        assert await identity.ask_refused(*filters) == f"auth-required: {PRIVATE}"
        await identity.authenticate(ALICE)
        assert await identity.ask_refused(*others) == f"restricted: {OF_OTHERS}"
        assert await identity.ask(*filters) == []
        assert await identity.ask(*others, {"kinds": [1_059], "#p": [ALICE.pubkey]}) == []


ANSWERED: Final[dict[str, tuple[list[Author], dict[str, Any], list[Event]]]] = {
    "messages, by an author": ([ALICE], {"kinds": [4]}, [MESSAGE]),
    "what one wrote": ([ALICE], {"kinds": [4], "authors": [ALICE.pubkey]}, [MESSAGE]),
    "what one wrote to another": ([ALICE], {"kinds": [4], "#p": [BOB.pubkey]}, [MESSAGE]),
    "what another wrote": ([BOB], {"kinds": [4], "authors": [ALICE.pubkey, DAVE.pubkey]}, [MESSAGE]),
    "what another wrote, to whom it is not for": ([CAROL], {"kinds": [4], "authors": [ALICE.pubkey]}, []),
    "messages, by a stranger": ([DAVE], {"kinds": [4]}, []),
    "all wraps": ([BOB], {"kinds": [1_059]}, [TO_BOTH, TO_BOB]),
    "own wraps": ([BOB], {"kinds": [1_059], "#p": [BOB.pubkey]}, [TO_BOTH, TO_BOB]),
    "own wraps and others'": ([BOB], {"kinds": [1_059], "#p": [BOB.pubkey, ALICE.pubkey]}, [TO_BOTH, TO_BOB]),
    "wraps, by one of two keys": ([DAVE, ALICE], {"kinds": [1_059], "#p": [ALICE.pubkey]}, [TO_BOTH, TO_ALICE]),
    "a wrap, by whom it is not for": ([ALICE], {"ids": [TO_BOB.id], "kinds": [1_059]}, []),
    "no kinds at all": ([], {"kinds": []}, []),
}


@pytest.mark.parametrize(("keys", "question", "found"), ANSWERED.values(), ids=ANSWERED)
async def test_a_request_for_messages_alone_finds_those_of_its_keys(
    store: Store, keys: list[Author], question: dict[str, Any], found: list[Event]
) -> None:
    await store.save_many(ALL)
    async with open_named(store) as door, open_client(door, *keys) as identity:
        assert await identity.ask(question) == [event.id for event in found]
        assert await identity.count(question) == {"count": len(found)}
        assert await synced(identity, question) == {event.id for event in found}


async def test_who_authenticates_gets_live_messages_from_then_on_and_stored_ones_when_he_asks_again() -> None:
    later = sent(1_059, RANDOM, BOB, at=9)
    async with (
        open_named(MemoryStore()) as door,
        open_client(door) as identity,
        open_client(door) as publisher,
    ):
        await answered(identity, {})
        assert await publisher.publish(TO_BOB) == [True, ""]
        assert await publisher.publish(LAST) == [True, ""]
        assert await told_until(identity, LAST) == []
        assert await identity.authenticate(BOB) == [True, ""]
        assert await publisher.publish(later) == [True, ""]
        assert await publisher.publish(end := CAROL.event("the end")) == [True, ""]
        assert await told_until(identity, end) == [later.id]
        assert set(await identity.ask({"#p": [BOB.pubkey]}, sub_id="again")) == {TO_BOB.id, later.id}


async def test_keys_are_those_of_one_connection_and_of_no_other() -> None:
    store = MemoryStore()
    await store.save_many(ALL)
    async with open_named(store) as door, open_client(door, BOB), open_client(door) as identity:
        assert await identity.ask({"#p": [BOB.pubkey]}) == [NOTE.id]
        assert await identity.ask_refused({"kinds": [1_059]}) == f"auth-required: {PRIVATE}"


async def test_an_ephemeral_wrap_goes_to_whom_it_is_for_and_is_not_stored(store: Store) -> None:
    """Kind 21059."""
    wrap = sent(21_059, RANDOM, BOB)
    async with (
        open_named(store) as door,
        open_client(door, BOB) as bob,
        open_client(door, RANDOM, ALICE) as others,
        open_client(door) as publisher,
    ):
        for identity in (bob, others):
            await answered(identity, {"kinds": [21_059, 1]})
        assert await publisher.publish(wrap) == [True, ""]
        assert await publisher.publish(LAST) == [True, ""]
        assert await told_until(bob, LAST) == [wrap.id]
        assert await told_until(others, LAST) == []
        assert await bob.ask({"ids": [wrap.id]}, sub_id="again") == []
        assert await bob.count({"kinds": [21_059]}) == {"count": 0}


async def test_a_wrap_is_deleted_by_whom_it_is_for_and_by_nobody_else(store: Store) -> None:
    """NIP-09 and NIP-59; the request may come first."""
    ahead = sent(1_059, RANDOM, BOB, at=7)
    async with open_named(store) as door, open_client(door, BOB) as identity:
        assert await identity.publish(TO_BOTH) == [True, ""]
        for author, left in ((DAVE, [TO_BOTH.id]), (CAROL, [TO_BOTH.id]), (BOB, [])):
            request = author.event(kind=5, created_at=NOW + 9, tags=[["e", TO_BOTH.id], ["e", ahead.id], ["k", "1059"]])
            assert await identity.publish(request) == [True, ""]
            assert await identity.ask({"kinds": [1_059]}) == left
        for wrap in (TO_BOTH, ahead):
            accepted, reason = await identity.publish(wrap)
            assert (accepted, reason.partition(":")[0]) == (False, "blocked")
        assert await identity.count({"kinds": [1_059]}) == {"count": 0}


async def test_which_kinds_are_private_is_configured_and_told() -> None:
    """NIP-11 names 4, 17 and 59 where they hold."""
    for kinds, expected in (((4, 1_059, 21_059), {4, 17, 59}), ((4,), {4}), ((1_059,), {17, 59}), ((), set())):
        store = MemoryStore()
        await store.save_many(ALL)
        async with open_named(store, rules_for(private_kinds=kinds)) as door, open_client(door) as identity:
            supported = set(
                map(int, door.relay.document().partition(b'"supported_nips":[')[2].split(b"]")[0].split(b","))
            )
            assert supported & {4, 17, 59} == expected
            assert await identity.ask({}) == [event.id for event in reversed(ALL) if event.kind not in kinds]


async def test_where_nobody_can_authenticate_private_events_are_neither_taken_nor_served() -> None:
    """`relay.url` is empty; what was stored before is left out of other answers."""
    store = MemoryStore()
    await store.save_many(ALL)
    async with open_named(store, rules_for(url="")) as door, door.client() as talker:
        for event in (sent(4, ALICE, BOB, content="x"), sent(1_059, RANDOM, BOB, at=6), sent(21_059, RANDOM, BOB)):
            reason = "restricted: private events cannot be served here: clients cannot authenticate (relay.url)"
            assert await talker.publish(event) == ["OK", event.id, False, reason]
        await talker.send("REQ", "x", {"kinds": [4, 1_059]})
        reason = "restricted: private events are not served here: clients cannot authenticate (relay.url)"
        assert await talker.receive() == ["CLOSED", "x", reason]
        assert [event["id"] for event in await talker.ask("y", {})] == [NOTE.id]
        assert await talker.count("z", {}) == 1


@pytest.mark.parametrize(("back", "is_taken"), [(172_800, True), (176_400, True), (176_401, False)])
@pytest.mark.parametrize("kind", [1_059, 21_059])
async def test_a_wrap_may_be_two_days_and_an_hour_old_whatever_is_set(kind: int, back: int, is_taken: bool) -> None:
    """NIP-59 has its time lie back on purpose."""
    rules = rules_for(limits=Limits(created_at_behind=60))
    reason = "" if is_taken else "invalid: created_at is more than 176400 seconds ago (created_at_behind)"
    async with open_named(MemoryStore(), rules, clock=lambda: NOW) as door, open_client(door) as identity:
        assert await identity.publish(sent(kind, RANDOM, BOB, at=-back)) == [is_taken, reason]
        assert await identity.publish(sent(1, ALICE, BOB, at=-60)) == [True, ""]
        reason = "invalid: created_at is more than 60 seconds ago (created_at_behind)"
        assert await identity.publish(sent(4, ALICE, BOB, at=-61)) == [False, reason]
