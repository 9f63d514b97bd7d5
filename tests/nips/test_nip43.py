"""NIP-43, relay access: requests to join and to leave, in the order of its text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.nips.members_relay import (
    ADMIN,
    JOIN,
    LEAVE,
    MEMBERS,
    NOW,
    OPEN,
    REFUSED,
    Clock,
    join,
    joined,
    leave,
    listed,
    member_rules,
    open_door,
    stored_soon,
)
from tests.support.backends import ask
from tests.support.keys import ALICE, BOB, Author
from tests.support.named_relay import open_client, rules_for
from tests.support.server import plain
from trio_relay import Event, Filter, MemberOptions, MemoryStore, Store


async def test_the_document_names_the_key_that_signs_and_the_nip(store: Store) -> None:
    async with open_door(store) as door:
        document = json.loads(door.relay.document())
        assert document["self"] == door.relay.rules.signer
        assert len(document["self"]) == 64
        assert 43 in document["supported_nips"]


async def test_without_membership_there_is_no_key_and_a_request_is_an_event_like_others(store: Store) -> None:
    async with open_door(store, member_rules(MemberOptions())) as door, open_client(door) as client:
        document = json.loads(door.relay.document())
        assert "self" not in document
        assert 43 not in document["supported_nips"]
        assert await store.get_metadata() == {}
        assert await client.publish(join(ALICE, is_protected=False)) == [True, ""]
        assert not door.relay.rules.is_member(ALICE.pubkey, NOW)


async def test_a_relay_without_a_name_has_no_membership() -> None:
    """Nobody can authenticate there."""
    async with open_door(MemoryStore(), rules_for(url="", members=OPEN)) as door:
        document = json.loads(door.relay.document())
        assert "self" not in document
        assert 43 not in document["supported_nips"]


async def test_the_key_outlives_the_relay(store: Store) -> None:
    async with open_door(store) as door:
        signer = door.relay.rules.signer
    async with open_door(store) as door:
        assert door.relay.rules.signer == signer


@pytest.mark.parametrize("claim", ["sesame", "please"])
async def test_who_names_a_code_of_the_relay_is_a_member_and_may_write(claim: str, store: Store) -> None:
    """Section "Join Request"."""
    async with open_door(store) as door, open_client(door, ALICE) as client:
        note = ALICE.event("hello")
        refusal = "restricted: the author of this event is not among the keys that may write here"
        assert await client.publish(note) == [False, refusal]
        assert await client.publish(join(ALICE, claim)) == [True, "info: welcome to club"]
        assert await client.publish(note) == [True, ""]


async def test_membership_outlives_the_relay(store: Store) -> None:
    async with open_door(store) as door:
        await joined(door, ALICE)
    async with open_door(store) as door, open_client(door) as client:
        assert await client.publish(ALICE.event("hello")) == [True, ""]


@pytest.mark.parametrize(
    ("claim", "answer"),
    [
        ("Sesame", REFUSED),
        ("sesame ", REFUSED),
        ("", [False, "restricted: a request to join needs a code in a claim tag"]),
        (None, [False, "restricted: a request to join needs a code in a claim tag"]),
    ],
)
async def test_who_names_another_code_or_none_is_refused(claim: str | None, answer: list[Any]) -> None:
    async with open_door(MemoryStore()) as door, open_client(door, ALICE) as client:
        assert await client.publish(join(ALICE, claim)) == answer
        assert not door.relay.rules.is_member(ALICE.pubkey, NOW)


async def test_codes_cannot_be_tried_and_others_get_in_meanwhile() -> None:
    clock = Clock()
    async with open_door(MemoryStore(), clock=clock) as door, open_client(door, ALICE) as guesser:
        guesses = [join(ALICE, f"guess {number}") for number in range(100)]
        for guess in guesses:  # all at once: none is answered before the next one is there
            await guesser.send("EVENT", guess)
        answers = [(await guesser.receive())[2:] for _ in guesses]
        assert answers.count(REFUSED) == 5
        assert [answer for answer in answers if answer != REFUSED] == [TOO_MANY] * 95
        assert await guesser.publish(join(ALICE)) == TOO_MANY
        await joined(door, BOB)
        clock.now += 60
        assert await guesser.publish(join(ALICE)) == [True, "info: welcome to club"]


TOO_MANY = [
    False,
    "rate-limited: too many requests to join or to leave within a minute, of which a wrong code counts as 10;"
    " try again in a minute",
]


@pytest.mark.parametrize("author", [ALICE, ADMIN])
async def test_who_is_a_member_already_is_told_so_whatever_he_names(author: Author, store: Store) -> None:
    async with open_door(store) as door, open_client(door, author) as client:
        if author is ALICE:
            await joined(door, ALICE)
        assert await client.publish(join(author, "nonsense")) == [True, "duplicate: you are a member already"]


@pytest.mark.parametrize("kind", [JOIN, LEAVE])
async def test_a_banned_key_can_neither_join_nor_leave(kind: int) -> None:
    rules = member_rules(denied_pubkeys=(ALICE.pubkey,))
    async with open_door(MemoryStore(), rules) as door, open_client(door, ALICE) as client:
        event = join(ALICE) if kind == JOIN else leave(ALICE)
        assert await client.publish(event) == [False, "blocked: the author of this event is banned here"]


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ([], "auth-required: a request to join or to leave is accepted from its authenticated author only (NIP-70)"),
        ([BOB], "restricted: a request to join or to leave is accepted from its authenticated author only (NIP-70)"),
    ],
)
@pytest.mark.parametrize("event", [join(ALICE), leave(ALICE)], ids=["join", "leave"])
async def test_nobody_joins_or_leaves_for_others(event: Event, keys: list[Author], reason: str) -> None:
    async with open_door(MemoryStore()) as door, open_client(door, *keys) as client:
        assert await client.publish(event) == [False, reason]


async def test_a_request_must_have_the_protecting_tag() -> None:
    async with open_door(MemoryStore()) as door, open_client(door, ALICE) as client:
        answer = [False, "invalid: kind 28934 needs the tag '-' (NIP-43)"]
        assert await client.publish(join(ALICE, is_protected=False)) == answer


@pytest.mark.parametrize(("seconds", "accepted"), [(-601, False), (-600, True), (600, True), (601, False)])
async def test_a_request_must_be_of_the_last_or_next_minutes(seconds: int, accepted: bool) -> None:
    async with open_door(MemoryStore()) as door, open_client(door, ALICE) as client:
        welcome = [True, "info: welcome to club"]
        answer = [False, "invalid: created_at is more than 600 seconds from the relay's time (NIP-43)"]
        assert await client.publish(join(ALICE, at=NOW + seconds)) == (welcome if accepted else answer)


async def test_a_forged_request_lets_nobody_in() -> None:
    real = join(ALICE)
    forged = Event(**{**plain(real), "sig": leave(ALICE).sig})
    async with open_door(MemoryStore()) as door, open_client(door, ALICE) as client:
        bad = [False, "invalid: sig is not a valid signature of the id by the pubkey"]
        assert await client.publish(forged) == bad
        assert not door.relay.rules.is_member(ALICE.pubkey, NOW)


async def test_requests_are_neither_stored_nor_delivered(store: Store) -> None:
    async with open_door(store) as door, open_client(door, ALICE) as client, open_client(door, ADMIN) as watcher:
        assert await watcher.talker.ask("sub", {"kinds": [JOIN, LEAVE]}) == []
        assert await client.publish(join(ALICE)) == [True, "info: welcome to club"]
        assert await client.publish(leave(ALICE)) == [True, "info: you are a member no more"]
        await watcher.talker.expect_silence()
        assert await ask(store, Filter(kinds=frozenset({JOIN, LEAVE}))) == []


async def test_requests_pass_a_list_of_allowed_kinds(store: Store) -> None:
    async with open_door(store, member_rules(allowed_kinds=(1,))) as door:
        await joined(door, ALICE)
        await stored_soon(store, door, MEMBERS, [listed(ALICE)])


async def test_several_requests_in_one_read_are_answered_in_their_order(store: Store) -> None:
    async with open_door(store) as door, open_client(door, ALICE, BOB) as client:
        requests = [join(ALICE), join(BOB, "wrong"), leave(ALICE), join(ALICE, at=NOW + 1)]
        for request in requests:
            await client.send("EVENT", request)
        answers = [(await client.receive())[2:] for _ in requests]
        welcome, gone = [True, "info: welcome to club"], [True, "info: you are a member no more"]
        assert answers == [welcome, REFUSED, gone, welcome]


async def test_who_leaves_may_write_no_more(store: Store) -> None:
    """Section "Leave Request"."""
    async with open_door(store) as door, open_client(door, ALICE) as client:
        await joined(door, ALICE)
        assert await client.publish(leave(ALICE)) == [True, "info: you are a member no more"]
        refusal = "restricted: the author of this event is not among the keys that may write here"
        assert await client.publish(ALICE.event("hello")) == [False, refusal]


async def test_who_is_no_member_leaves_all_the_same() -> None:
    async with open_door(MemoryStore()) as door, open_client(door, ALICE) as client:
        assert await client.publish(leave(ALICE)) == [True, "info: you are no member"]


async def test_where_only_members_read_joining_opens_the_answers(store: Store) -> None:
    rules = member_rules(MemberOptions(enabled=True, claims=("sesame",), members_read=True))
    async with open_door(store, rules) as door, open_client(door, ALICE) as client:
        assert await client.ask_refused({"kinds": [1]}) == "restricted: only members may read here"
        assert await client.publish(join(ALICE)) == [True, "info: welcome to club"]
        assert await client.ask({"kinds": [1]}) == []
