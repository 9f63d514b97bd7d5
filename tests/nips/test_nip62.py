"""NIP-62, request to vanish: all that belongs to a key goes from here, and what is as old never comes back."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from tests.support.named_relay import URL, AuthClient, open_client, open_named, rules_for
from trio_relay import Event, MemberOptions, MemoryStore, Store
from trio_relay.policy.lists import Change, ListEntry, ListName

GONE = [False, "blocked: its author has asked to vanish"]
AT = NOW + 5


def asks(*relays: str, author: Author = ALICE, at: int = AT, content: str = "") -> Event:
    return author.event(content, kind=62, created_at=at, tags=[["relay", relay] for relay in relays])


def wrap(*names: Author, at: int = NOW) -> Event:
    return Author("nobody").event("sealed", kind=1_059, created_at=at, tags=[["p", name.pubkey] for name in names])


async def publish_all(client: AuthClient, *events: Event) -> None:
    for event in events:
        assert await client.publish(event) == [True, ""]


NOTE, LAST, NEXT = (ALICE.event("tea", created_at=at) for at in (NOW, AT, AT + 1))
TARGET = ALICE.event("to be deleted")
DELETION = ALICE.event(kind=5, created_at=NOW + 1, tags=[["e", TARGET.id]])
PROFILE, ARTICLE = ALICE.event("{}", kind=0), ALICE.event("tea", kind=30_023, tags=[["d", "x"]])
OF_BOB = BOB.event("tea, Alice?", tags=[["p", ALICE.pubkey], ["e", NOTE.id]])
OWN = [NOTE, LAST, TARGET, DELETION, PROFILE, ARTICLE]
HERE, EVERYWHERE = asks(URL), asks("ALL_RELAYS")


@pytest.mark.parametrize("request_", [HERE, EVERYWHERE], ids=["this relay", "all relays"])
async def test_everything_of_the_key_up_to_its_time_is_deleted(request_: Event, store: Store) -> None:
    """ "Including NIP-09 Deletion Events, from the .pubkey until its .created_at"."""
    async with open_named(store) as door, open_client(door) as client:
        await publish_all(client, *OWN, OF_BOB, NEXT, request_)
        assert await client.ask({"authors": [ALICE.pubkey]}) == [NEXT.id, request_.id]
        assert await client.ask({"ids": [one.id for one in OWN]}) == []
        assert await client.count({"authors": [ALICE.pubkey]}) == {"count": 2}
        assert await client.ask({"search": "tea", "authors": [ALICE.pubkey]}) == [NEXT.id]


async def test_others_keep_what_they_said_of_it(store: Store) -> None:
    async with open_named(store) as door, open_client(door) as client:
        await publish_all(client, NOTE, OF_BOB, HERE)
        assert await client.ask({"#p": [ALICE.pubkey]}) == [OF_BOB.id]
        assert await client.ask({"#e": [NOTE.id]}) == [OF_BOB.id]


async def test_gift_wraps_for_the_key_go_too(store: Store) -> None:
    for_alice, for_both, for_bob = wrap(ALICE), wrap(BOB, ALICE), wrap(BOB)
    newer = wrap(ALICE, at=AT + 1)
    async with open_named(store) as door, open_client(door, ALICE, BOB) as client:
        await publish_all(client, for_alice, for_both, for_bob, newer, HERE)
        assert await client.ask({"kinds": [1_059]}) == [newer.id, for_bob.id]
        for one in (for_alice, for_both, wrap(ALICE, CAROL), wrap(ALICE, at=AT)):
            assert await client.publish(one) == GONE
        assert await client.publish(wrap(ALICE, at=AT + 2)) == [True, ""]


async def test_what_has_vanished_is_not_broadcast_into_the_relay_again(store: Store) -> None:
    """ "Ensure past events are not re-broadcasted": neither what was here, nor what never was."""
    unseen = ALICE.event("never seen here", created_at=NOW - 1_000)
    async with open_named(store) as door, open_client(door) as client:
        await publish_all(client, *OWN, HERE)
        for event in (*OWN, unseen):
            assert await client.publish(event) == GONE
        assert await client.ask({"authors": [ALICE.pubkey]}) == [HERE.id]


async def test_the_request_may_come_before_all_else(store: Store) -> None:
    async with open_named(store) as door, open_client(door) as client:
        await publish_all(client, HERE)
        assert await client.publish(NOTE) == GONE
        assert await client.publish(LAST) == GONE


async def test_newer_events_are_welcome(store: Store) -> None:
    profile = ALICE.event("{}", kind=0, created_at=AT + 1)
    async with open_named(store) as door, open_client(door) as client:
        await publish_all(client, NOTE, PROFILE, HERE, NEXT, profile)
        assert set(await client.ask({"authors": [ALICE.pubkey]})) == {HERE.id, NEXT.id, profile.id}


async def test_the_request_is_kept_for_who_wants_to_see_it(store: Store) -> None:
    """ "Relays MAY store the deletion request for bookkeeping"."""
    request = asks(URL, content="a legal notice")
    async with open_named(store) as door, open_client(door) as client:
        await publish_all(client, request)
        assert await client.ask({"kinds": [62]}) == [request.id]
        assert await client.publish(request) == [True, "duplicate: already have this event"]


async def test_a_later_request_takes_the_earlier_one_with_it(store: Store) -> None:
    later, earlier = asks(URL, at=AT + 10), asks(URL, at=NOW)
    async with open_named(store) as door, open_client(door) as client:
        await publish_all(client, HERE, NEXT, later)
        assert await client.ask({"authors": [ALICE.pubkey]}) == [later.id]
        for event in (earlier, HERE, NEXT):
            assert await client.publish(event) == GONE


@pytest.mark.parametrize("is_first", [True, False], ids=["before it", "after it"])
async def test_a_deletion_of_the_request_has_no_effect(is_first: bool, store: Store) -> None:
    undoing, by_bob = (one.event(kind=5, created_at=AT + 1, tags=[["e", HERE.id], ["k", "62"]]) for one in (ALICE, BOB))
    order = [undoing, by_bob, HERE] if is_first else [HERE, undoing, by_bob]
    async with open_named(store) as door, open_client(door) as client:
        await publish_all(client, NOTE, *order)
        assert await client.ask({"kinds": [62]}) == [HERE.id]
        assert await client.publish(NOTE) == GONE


async def test_what_was_deleted_before_stays_away_without_its_deletion(store: Store) -> None:
    async with open_named(store) as door, open_client(door) as client:
        await publish_all(client, TARGET, DELETION, HERE)
        assert await client.ask({"kinds": [5]}) == []
        assert await client.publish(TARGET) == GONE


@pytest.mark.parametrize(
    "named",
    [
        ["wss://relay.example"],
        ["WSS://RELAY.Example:443/"],
        [" wss://relay.example/ "],
        ["https://relay.example/"],
        ["wss://other.example/", URL],
        ["wss://other.example/", "ALL_RELAYS"],
    ],
)
async def test_the_relay_is_named_in_whatever_spelling_and_place(named: list[str]) -> None:
    """ "If their service url is tagged in the event"."""
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        await publish_all(client, NOTE, asks(*named))
        assert await client.ask({"kinds": [1]}) == []


OTHERS_ONLY = [False, "invalid: this request to vanish names other relays only (NIP-62)"]
NO_RELAY = [False, "invalid: a request to vanish names a relay, or ALL_RELAYS, in a relay tag (NIP-62)"]


@pytest.mark.parametrize(
    ("tags", "refusal"),
    [
        ([["relay", "wss://other.example/"]], OTHERS_ONLY),
        ([["relay", "ws://relay.example/"]], OTHERS_ONLY),
        ([["relay", "wss://relay.example/sub"]], OTHERS_ONLY),
        ([["relay", "wss://relay.example:8443/"]], OTHERS_ONLY),
        ([["relay", "relay.example"]], OTHERS_ONLY),
        ([["relay", "all_relays"]], OTHERS_ONLY),
        ([["relay", "wss://other.example/", URL]], OTHERS_ONLY),
        ([["relay", ""]], OTHERS_ONLY),
        ([], NO_RELAY),
        ([["relay"]], NO_RELAY),
        ([["r", URL], ["e", NOTE.id], []], NO_RELAY),
    ],
)
async def test_a_request_that_is_not_for_here_deletes_nothing(tags: list[list[str]], refusal: list[Any]) -> None:
    """ "The tag list MUST include at least one relay value", and ALL_RELAYS "in uppercase"."""
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        await publish_all(client, NOTE)
        assert await client.publish(ALICE.event(kind=62, created_at=AT, tags=tags)) == refusal
        assert await client.ask({}) == [NOTE.id]
        assert await client.publish(PROFILE) == [True, ""]


async def test_nobody_makes_another_vanish(store: Store) -> None:
    forged = replace(HERE, sig=NOTE.sig)
    async with open_named(store) as door, open_client(door, BOB) as client:
        await publish_all(client, NOTE, asks(URL, author=BOB))
        assert await client.publish(forged) == [
            False,
            "invalid: sig is not a valid signature of the id by the pubkey",
        ]
        assert await client.ask({"kinds": [1]}) == [NOTE.id]


@pytest.mark.parametrize(
    "policy",
    [
        {"denied_pubkeys": (ALICE.pubkey,)},
        {"allowed_pubkeys": (BOB.pubkey,)},
        {"admins": (BOB.pubkey,), "trust_depth": 1},
        {"members": MemberOptions(enabled=True)},
        {"allowed_kinds": (1,)},
    ],
    ids=["denied", "not allowed", "not trusted", "no member", "a relay for notes"],
)
async def test_whoever_asks_may_vanish(policy: dict[str, Any]) -> None:
    """ "Relays that have restrictions on who can post MUST also follow the request regardless of the user's status"."""
    store = MemoryStore()
    await store.save_many([NOTE, wrap(ALICE)])
    async with open_named(store, rules_for(**policy)) as door, open_client(door) as client:
        assert await client.ask({"kinds": [1]}) == [NOTE.id]
        await publish_all(client, HERE)
        assert await client.ask({"kinds": [1, 62]}) == [HERE.id]
        assert await client.authenticate(ALICE) == [True, ""]
        assert await client.ask({"kinds": [1_059]}) == []


async def test_who_was_banned_since_may_vanish_too() -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        await publish_all(client, NOTE)
        await door.relay.moderation.state.amend([Change(ListName.BANNED_PUBKEYS, ALICE.pubkey, ListEntry("spam"))])
        assert await client.publish(NEXT) == [False, "blocked: the author of this event is banned here"]
        await publish_all(client, HERE)
        assert await client.ask({"kinds": [1]}) == []


async def test_authentication_can_be_asked_for_since_anybody_can_do_it() -> None:
    async with open_named(MemoryStore(), rules_for(auth_to_write=True)) as door, open_client(door) as client:
        refusal = [False, "auth-required: only authenticated clients may write here"]
        assert await client.publish(HERE) == refusal
        assert await client.authenticate(ALICE) == [True, ""]
        await publish_all(client, HERE)


async def test_a_relay_without_a_name_takes_no_requests() -> None:
    async with open_named(MemoryStore(), rules_for(url="")) as door, door.client() as client:
        refusal = "blocked: requests to vanish are not accepted here: this relay has no name (relay.url)"
        for request in (HERE, EVERYWHERE):
            assert await client.publish(request) == ["OK", request.id, False, refusal]
        assert await client.publish(NOTE) == ["OK", NOTE.id, True, ""]


async def test_who_denies_the_kind_takes_no_requests() -> None:
    async with open_named(MemoryStore(), rules_for(denied_kinds=(62,))) as door, open_client(door) as client:
        assert await client.publish(HERE) == [False, "blocked: kind 62 is not accepted here"]
