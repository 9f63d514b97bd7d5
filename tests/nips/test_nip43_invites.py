"""NIP-43, relay access: codes that members have made (section "Invite Request")."""

from __future__ import annotations

from typing import Any

import pytest

from tests.nips.members_relay import (
    ADMIN,
    INVITE,
    NOW,
    REFUSED,
    Clock,
    invited,
    join,
    joined,
    leave,
    member_rules,
    open_door,
)
from tests.support.backends import ask
from tests.support.keys import ALICE, BOB, CAROL, Author
from tests.support.named_relay import open_client
from tests.support.server import plain
from trio_relay import Event, Filter, MemberOptions, MemoryStore, Store
from trio_relay.nostr import schnorr
from trio_relay.policy.lists import Change, ListEntry, ListName


@pytest.mark.parametrize("host", [ALICE, ADMIN], ids=["a member", "an admin"])
async def test_a_member_who_asks_gets_a_code_that_lets_somebody_in(host: Author, store: Store) -> None:
    """Section "Invite Request"."""
    async with open_door(store) as door, open_client(door, host) as client:
        if host is ALICE:
            await joined(door, ALICE)
        (one,), (other,) = await invited(client), await invited(client)
        event = Event(**one)
        assert (event.kind, event.pubkey, event.tags[0]) == (INVITE, door.relay.rules.signer, ["-"])
        assert schnorr.open_backend().verify([event])[0]
        (_, claim), (_, other_claim) = event.tags[1], other["tags"][1]
        assert event.tags[1][0] == "claim"
        assert len({claim, other_claim, "sesame"}) == 3
        await joined(door, BOB, claim)
        await joined(door, CAROL, claim)
        assert await ask(store, Filter(kinds=frozenset({INVITE}))) == []


async def test_others_get_no_code(store: Store) -> None:
    async with open_door(store) as door:
        async with open_client(door) as stranger, open_client(door, BOB) as client:
            assert await invited(stranger) == []
            assert await invited(client) == []
        assert not door.relay.rules.lists.holds_any(ListName.CLAIMS)


async def test_a_code_comes_before_what_else_was_asked_for(store: Store) -> None:
    async with open_door(store) as door, open_client(door, ADMIN) as client:
        note = ADMIN.event("hello")
        await client.publish(note)
        code, found = await invited(client, {"kinds": [INVITE, 1]})
        assert (code["kind"], found) == (INVITE, plain(note))


@pytest.mark.parametrize(
    "one",
    [
        {},
        {"kinds": [1]},
        {"kinds": [INVITE], "limit": 0},
        {"kinds": [INVITE], "authors": [ALICE.pubkey]},
        {"kinds": [INVITE], "ids": [ALICE.pubkey]},
        {"kinds": [INVITE], "#p": [ALICE.pubkey]},
        {"kinds": [INVITE], "until": NOW - 1},
    ],
)
async def test_a_filter_that_asks_for_no_code_gets_none(one: dict[str, Any]) -> None:
    async with open_door(MemoryStore()) as door, open_client(door, ADMIN) as client:
        assert await invited(client, one) == []
        assert not door.relay.rules.lists.holds_any(ListName.CLAIMS)


async def test_a_code_counts_so_long_and_no_longer(store: Store) -> None:
    clock = Clock()
    rules = member_rules(MemberOptions(enabled=True, invite_seconds=60))
    async with open_door(store, rules, clock) as door, open_client(door, ADMIN) as client:
        claim = (await invited(client))[0]["tags"][1][1]
        clock.now = NOW + 59
        await joined(door, ALICE, claim)
        clock.now = NOW + 60
        async with open_client(door, BOB) as late:
            assert await late.publish(join(BOB, claim)) == REFUSED


async def test_a_code_outlives_the_relay(store: Store) -> None:
    async with open_door(store) as door, open_client(door, ADMIN) as client:
        claim = (await invited(client))[0]["tags"][1][1]
    async with open_door(store) as door:
        await joined(door, ALICE, claim)


async def test_who_leaves_takes_his_codes_and_roles_with_him(store: Store) -> None:
    async with open_door(store) as door, open_client(door, ALICE) as client, open_client(door, BOB) as other:
        await joined(door, ALICE)
        await door.relay.moderation.state.amend(
            [Change(ListName.ROLE_HOLDERS, ALICE.pubkey, ListEntry(data={"roles": ["host"]}))]
        )
        claim = (await invited(client))[0]["tags"][1][1]
        assert await client.publish(leave(ALICE)) == [True, "info: you are a member no more"]
        lists = door.relay.rules.lists
        assert [lists.holds_any(name) for name in (ListName.MEMBERS, ListName.CLAIMS, ListName.ROLE_HOLDERS)] == [
            False
        ] * 3
        assert await other.publish(join(BOB, claim)) == REFUSED
        assert await invited(client) == []


async def test_the_codes_of_a_banned_member_let_nobody_in(store: Store) -> None:
    async with open_door(store) as door, open_client(door, ALICE) as client, open_client(door, BOB) as other:
        await joined(door, ALICE)
        claim = (await invited(client))[0]["tags"][1][1]
        await door.relay.moderation.state.amend([Change(ListName.BANNED_PUBKEYS, ALICE.pubkey, ListEntry())])
        assert await invited(client) == []
        assert await other.publish(join(BOB, claim)) == REFUSED
