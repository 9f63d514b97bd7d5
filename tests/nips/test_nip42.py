"""NIP-42, authentication: how a client shows who he is, and what he hears where that is asked for."""

from __future__ import annotations

import time
from typing import Any, Final

import pytest

from tests.support.keys import ALICE, BOB, CAROL, Author
from tests.support.named_relay import URL, AuthClient, auth_event, open_client, open_named, rules_for
from tests.support.receiving import NOTHING, answered, synced, told_until
from trio_relay import Event, MemberOptions, MemoryStore, Rules, Store
from trio_relay.config import check
from trio_relay.config_checks import ConfigError
from trio_relay.nostr.negentropy.protocol import initiate
from trio_relay.policy.identity import MOST_KEYS

TO_READ = "auth-required: only authenticated clients may read here"
TO_WRITE = "auth-required: only authenticated clients may write here"
PRIVATE = "auth-required: private events are served to their authors and recipients only"
NOTE = ALICE.event("note")


def message(sender: Author, *receivers: Author, content: str = "?") -> Event:
    return sender.event(content, kind=4, tags=[["p", one.pubkey] for one in receivers])


async def sync_refused(client: AuthClient, one: dict[str, Any]) -> str:
    """Why a sync is refused; a challenge before that is skipped."""
    await client.send("NEG-OPEN", "sync", one, initiate(NOTHING).hex())
    while (answer := await client.receive())[0] == "AUTH":
        assert answer == ["AUTH", client.challenge]
    assert answer[:2] == ["NEG-ERR", "sync"], answer
    reason: str = answer[2]
    return reason


async def test_the_challenge_comes_when_a_client_connects_and_is_another_for_each() -> None:
    """16 random bytes as hex."""
    async with open_named(MemoryStore()) as door:
        challenges = set()
        for _ in range(5):
            async with open_client(door) as client:
                assert len(bytes.fromhex(client.challenge)) == 16
                challenges.add(client.challenge)
        assert len(challenges) == 5


@pytest.mark.parametrize(
    ("rules", "at_once"),
    [
        (rules_for(challenge="needed"), False),
        (rules_for(challenge="connect"), True),
        (rules_for(challenge="needed", auth_to_read=True), True),
        (rules_for(challenge="needed", auth_to_write=True), True),
        (rules_for(challenge="needed", members=MemberOptions(enabled=True)), False),
        (rules_for(challenge="needed", members=MemberOptions(enabled=True, members_read=True)), True),
        (rules_for(challenge="connect", url=""), False),
    ],
    ids=["needed", "connect", "to read", "to write", "members write", "members read", "no name"],
)
async def test_the_challenge_waits_until_something_needs_it(rules: Rules, at_once: bool) -> None:
    """Some clients hold back answers, or ask their user, from the challenge on."""
    async with open_named(MemoryStore(), rules) as door, door.client() as client:
        await client.send("REQ", "sub", {"kinds": [1], "limit": 0})
        assert (await client.receive())[0] == (
            "AUTH" if at_once else "CLOSED" if rules.options.auth_to_read else "EOSE"
        )


def test_needed_is_the_default() -> None:
    assert check({}).policy.challenge == "needed"


DEMANDING: Final[dict[str, tuple[list[Any], str, str]]] = {
    "a REQ": (["REQ", "x", {"kinds": [4]}], "CLOSED", "EOSE"),
    "a COUNT": (["COUNT", "x", {"kinds": [4]}], "CLOSED", "COUNT"),
    "a sync": (["NEG-OPEN", "x", {"kinds": [4]}, "6100000200"], "NEG-ERR", "NEG-MSG"),
    "a protected event": (["EVENT", ALICE.event(tags=[["-"]])], "OK", "OK"),
}


@pytest.mark.parametrize(("asked", "answer", "granted"), DEMANDING.values(), ids=DEMANDING)
async def test_the_challenge_comes_right_before_the_first_answer_that_asks_for_it_and_once(
    asked: list[Any], answer: str, granted: str
) -> None:
    """Whoever goes on without authentication is not asked again and again."""
    async with open_named(MemoryStore(), rules_for(challenge="needed")) as door, door.client() as client:
        await client.send("REQ", "public", {"kinds": [1]})
        assert await client.receive() == ["EOSE", "public"]
        await client.send(*asked)
        verb, challenge = await client.receive()
        assert (verb, len(bytes.fromhex(challenge))) == ("AUTH", 16)
        first = await client.receive()
        assert first[0] == answer
        await client.send(*asked)
        assert await client.receive() == first
        event = auth_event(ALICE, challenge, created_at=door.relay.now())
        await client.send("AUTH", event)
        assert await client.receive() == ["OK", event.id, True, ""]
        await client.send(*asked)
        assert (await client.receive())[0] == granted


async def test_auth_is_answered_with_ok_like_an_event() -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        event = auth_event(ALICE, client.challenge)
        await client.send("AUTH", event)
        assert await client.receive() == ["OK", event.id, True, ""]
        await client.send("AUTH", event)
        assert await client.receive() == ["OK", event.id, True, ""]


async def test_the_flow_of_a_req_that_needs_it(store: Store) -> None:
    """ "`auth-required` in response to a REQ message", message by message."""
    own = message(BOB, ALICE)
    await store.save_many([own])
    async with open_named(store) as door, open_client(door) as client:
        await client.send("REQ", "sub_1", {"kinds": [4]})
        assert await client.receive() == ["AUTH", client.challenge]
        assert await client.receive() == ["CLOSED", "sub_1", PRIVATE]
        assert await client.authenticate(ALICE) == [True, ""]
        assert (await answered(client, {"kinds": [4]}, sub_id="sub_1"))[0] == [own.id]


async def test_the_flow_of_an_event_that_needs_it(store: Store) -> None:
    """ "`auth-required` in response to an EVENT message"."""
    async with open_named(store, rules_for(auth_to_write=True)) as door, open_client(door) as client:
        await client.send("EVENT", NOTE)
        assert await client.receive() == ["AUTH", client.challenge]
        assert await client.receive() == ["OK", NOTE.id, False, TO_WRITE]
        assert await client.ask({}) == []
        assert await client.authenticate(ALICE) == [True, ""]
        assert await client.publish(NOTE) == [True, ""]
        assert await client.ask({}) == [NOTE.id]


async def test_a_client_need_not_wait_for_the_answer() -> None:
    store = MemoryStore()
    await store.save_many([own := message(BOB, ALICE)])
    async with open_named(store) as door, open_client(door) as client:
        event = auth_event(ALICE, client.challenge)
        await client.send("AUTH", event)
        await client.send("REQ", "sub", {"kinds": [4]})
        assert await client.receive() == ["OK", event.id, True, ""]
        assert (await client.receive())[2]["id"] == own.id


async def test_it_holds_for_the_connection_and_for_no_other() -> None:
    """ "The authenticated session is valid afterwards for the duration of the connection"."""
    async with open_named(MemoryStore(), rules_for(auth_to_read=True)) as door:
        async with open_client(door, ALICE) as client, open_client(door) as other:
            for _ in range(3):
                assert await client.ask({}) == []
            assert await other.ask_refused({}) == TO_READ
        async with open_client(door) as again:
            assert await again.ask_refused({}) == TO_READ


async def test_a_challenge_stays_good_after_a_reminder_and_after_an_answer() -> None:
    """ "The challenge is valid for the duration of the connection or until another challenge is sent"."""
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        assert await client.ask_refused({"kinds": [4]}) == PRIVATE
        for key in (ALICE, BOB, CAROL):
            assert await client.authenticate(key) == [True, ""]
        assert await client.ask({"kinds": [4]}) == []


async def test_every_key_of_a_connection_counts(store: Store) -> None:
    """What each may read and write, in any order of the keys."""
    to_alice, to_bob, to_carol = (message(Author("dave"), one) for one in (ALICE, BOB, CAROL))
    await store.save_many([to_alice, to_bob, to_carol])
    async with open_named(store) as door, open_client(door, ALICE) as client:
        assert await client.ask({"kinds": [4]}) == [to_alice.id]
        assert await client.authenticate(BOB) == [True, ""]
        assert set(await client.ask({"kinds": [4]})) == {to_alice.id, to_bob.id}
        assert await client.count({"kinds": [4]}) == {"count": 2}
        assert await synced(client, {"kinds": [4]}) == {to_alice.id, to_bob.id}
        for key in (ALICE, BOB):
            assert await client.publish(key.event(tags=[["-"]])) == [True, ""]
        assert (await client.publish(CAROL.event(tags=[["-"]])))[0] is False


async def test_a_key_that_fails_takes_no_other_away() -> None:
    async with open_named(MemoryStore(), rules_for(auth_to_read=True)) as door, open_client(door, ALICE) as client:
        assert (await client.authenticate(BOB, challenge="another"))[0] is False
        assert await client.publish(ALICE.event(tags=[["-"]])) == [True, ""]
        assert (await client.publish(BOB.event(tags=[["-"]])))[0] is False


async def test_a_connection_has_64_keys_and_no_more() -> None:
    keys = [Author(f"key {number}") for number in range(MOST_KEYS + 1)]
    async with open_named(MemoryStore()) as door, open_client(door, *keys[:-1]) as client:
        assert await client.authenticate(keys[-1]) == [False, f"restricted: at most {MOST_KEYS} keys on a connection"]
        assert await client.authenticate(keys[0]) == [True, ""]
        assert MOST_KEYS == 64


async def test_a_subscription_has_what_is_for_a_key_from_then_on() -> None:
    first, second, last = message(BOB, ALICE, content="1"), message(BOB, ALICE, content="2"), NOTE
    async with open_named(MemoryStore()) as door, open_client(door) as reader, open_client(door) as author:
        await answered(reader, {"kinds": [1, 4]})
        assert await author.publish(first) == [True, ""]
        assert await reader.authenticate(ALICE) == [True, ""]
        assert await author.publish(second) == [True, ""]
        assert await author.publish(last) == [True, ""]
        assert await told_until(reader, last) == [second.id]


async def test_kind_22242_is_broadcast_to_nobody_and_stored_nowhere(store: Store) -> None:
    """ "Relays MUST exclude kind: 22242 events from being broadcasted to any client"."""
    refused = [False, "invalid: kind 22242 must be sent in an AUTH message (NIP-42)"]
    async with open_named(store) as door, open_client(door, CAROL) as reader, open_client(door) as client:
        for sub_id, one in (("all", {}), ("kind", {"kinds": [22_242]}), ("author", {"authors": [ALICE.pubkey]})):
            assert (await answered(reader, one, sub_id=sub_id))[0] == []
        for event in (auth_event(ALICE, client.challenge), auth_event(ALICE, "any"), auth_event(BOB, reader.challenge)):
            assert await client.publish(event) == refused
        assert await client.authenticate(ALICE) == [True, ""]
        assert await client.publish(auth_event(ALICE, client.challenge)) == refused
        for number in range(3):
            assert await client.publish(CAROL.event(str(number))) == [True, ""]
        live = [await reader.receive() for _ in range(3)]
        assert {(live_one[1], live_one[2]["kind"]) for live_one in live} == {("all", 1)}
        assert await client.ask({"kinds": [22_242]}) == []
        assert await client.ask({"authors": [ALICE.pubkey]}) == []
        assert await client.count({}) == {"count": 3}


async def test_an_event_in_event_authenticates_nobody() -> None:
    async with open_named(MemoryStore(), rules_for(auth_to_read=True)) as door, open_client(door) as client:
        await client.publish(auth_event(ALICE, client.challenge))
        assert await client.ask_refused({}) == TO_READ


async def test_reading_can_need_it_in_every_way() -> None:
    store = MemoryStore()
    await store.save_many([NOTE])
    async with open_named(store, rules_for(auth_to_read=True)) as door, open_client(door) as client:
        for one in ({}, {"kinds": [1]}, {"ids": [NOTE.id]}, {"kinds": [4]}, {"limit": 0}):
            assert await client.ask_refused(one) == TO_READ
            assert await client.ask_refused(one, verb="COUNT") == TO_READ
            assert await sync_refused(client, one) == TO_READ
        published = BOB.event("still welcome")
        assert await client.publish(published) == [True, ""]  # nothing of it is delivered live
        assert await client.authenticate(CAROL) == [True, ""]
        assert set(await client.ask({})) == {NOTE.id, published.id}
        assert await client.count({}) == {"count": 2}
        assert await synced(client, {"kinds": [1]}) == {NOTE.id, published.id}


async def test_writing_can_need_it_and_any_key_will_do() -> None:
    async with open_named(MemoryStore(), rules_for(auth_to_write=True)) as door, open_client(door) as client:
        for event in (NOTE, ALICE.event(kind=20_001), ALICE.event(kind=5), message(ALICE, BOB)):
            assert await client.publish(event) == [False, TO_WRITE]
        assert await client.ask({}) == []
        assert await client.authenticate(BOB) == [True, ""]
        assert await client.publish(NOTE) == [True, ""]


@pytest.mark.parametrize("keys", [[], [BOB]], ids=["nobody", "another"])
async def test_who_is_not_allowed_hears_restricted(keys: list[Author]) -> None:
    """No key of the client's could help, since the event's author is who is judged."""
    rules = rules_for(allowed_pubkeys=(BOB.pubkey,))
    async with open_named(MemoryStore(), rules) as door, open_client(door, *keys) as client:
        refusal = "restricted: the author of this event is not among the keys that may write here"
        assert await client.publish(NOTE) == [False, refusal]
        assert await client.publish(BOB.event()) == [True, ""]


async def test_who_is_no_member_is_first_asked_who_he_is_and_then_restricted() -> None:
    rules = rules_for(admins=(ALICE.pubkey,), members=MemberOptions(enabled=True, members_read=True))
    async with open_named(MemoryStore(), rules) as door, open_client(door) as client:
        for verb in ("REQ", "COUNT"):
            assert await client.ask_refused({}, verb=verb) == "auth-required: only members may read here"
        assert await client.authenticate(BOB) == [True, ""]
        for verb in ("REQ", "COUNT"):
            assert await client.ask_refused({}, verb=verb) == "restricted: only members may read here"
        assert await client.authenticate(ALICE) == [True, ""]
        assert await client.ask({}) == []


async def test_a_refusal_that_authentication_cannot_mend_brings_no_challenge() -> None:
    async with open_named(MemoryStore()) as door, open_client(door, CAROL) as client:
        await client.send("REQ", "sub", {"kinds": [4], "#p": [BOB.pubkey], "authors": [ALICE.pubkey]})
        told = ["CLOSED", "sub", "restricted: these events are for keys other than the authenticated ones"]
        assert await client.receive() == told


async def test_a_refused_req_ends_the_subscription_that_it_would_replace() -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        await answered(client, {"kinds": [1]}, sub_id="sub")
        assert await client.ask_refused({"kinds": [4]}) == PRIVATE
        assert await client.publish(NOTE) == [True, ""]
        assert await client.ask({}) == [NOTE.id]


async def test_a_relay_without_a_name_has_no_authentication() -> None:
    event = auth_event(ALICE, "", URL, created_at=int(time.time()))
    async with open_named(MemoryStore(), rules_for(url="")) as door, door.client() as client:
        await client.send("AUTH", event)
        refusal = "unsupported: authentication is off on this relay (relay.url)"
        assert await client.receive() == ["OK", event.id, False, refusal]
        await client.send("REQ", "sub", {"kinds": [4]})
        unserved = "restricted: private events are not served here: clients cannot authenticate (relay.url)"
        assert await client.receive() == ["CLOSED", "sub", unserved]


@pytest.mark.parametrize("key", ["auth_to_read", "auth_to_write"])
def test_nothing_can_need_it_where_nobody_can_authenticate(key: str) -> None:
    needy: dict[str, Any] = {"policy": {key: True}}
    reason = rf"^policy\.{key}: needs relay\.url, without which no client can authenticate \(NIP-42\)$"
    for listen in (["0.0.0.0:7777"], ["*:7777"], ["127.0.0.1:7777", "[::]:7777"], ["unix:/run/relay.sock"]):
        with pytest.raises(ConfigError, match=reason):
            check({**needy, "net": {"listen": listen}})
        check({**needy, "net": {"listen": listen}, "relay": {"url": URL}})
    check({**needy, "net": {"listen": ["127.0.0.1:7777", "[::1]:7777", "localhost:0"]}})
