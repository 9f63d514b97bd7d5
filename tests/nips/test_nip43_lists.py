"""NIP-43, relay access: what the relay publishes of its members and roles, in the order of the NIP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.nips.members_relay import (
    ADDED,
    ADMIN,
    MEMBERS,
    NOW,
    REMOVED,
    ROLES,
    joined,
    leave,
    listed,
    member_rules,
    open_door,
    published,
    stored_soon,
    told,
)
from tests.support.keys import ALICE, BOB, CAROL
from tests.support.named_relay import open_client
from trio_relay import MemberOptions, Store
from trio_relay.moderation import announcements
from trio_relay.nostr.signer import Signer
from trio_relay.policy.lists import Change, ListEntry, ListName


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let lists follow one another at once; their times rise all the same."""
    monkeypatch.setattr(announcements, "_LEAST_SECONDS", 0.0)


async def test_a_joining_is_published_as_a_list_and_as_an_addition_live_and_stored(store: Store) -> None:
    """Sections "Membership Lists" and "Add User"."""
    async with open_door(store) as door, open_client(door) as watcher:
        assert await watcher.talker.ask("sub", {"kinds": [MEMBERS, ADDED, REMOVED]}) == []
        await joined(door, ALICE)
        expected = [(ADDED, [["-"], ["p", ALICE.pubkey]]), (MEMBERS, listed(ALICE))]
        assert await told(watcher, 2) == expected
        await joined(door, BOB)
        assert await told(watcher, 2) == [(ADDED, [["-"], ["p", BOB.pubkey]]), (MEMBERS, listed(ALICE, BOB))]
        await stored_soon(store, door, MEMBERS, [listed(ALICE, BOB)])
        assert len(await published(store, door, ADDED)) == 2


async def test_a_leaving_is_published_as_a_list_and_as_a_removal(store: Store) -> None:
    """Section "Remove User"."""
    async with open_door(store) as door, open_client(door, ALICE) as client, open_client(door) as watcher:
        await joined(door, ALICE)
        await stored_soon(store, door, MEMBERS, [listed(ALICE)])
        assert await watcher.talker.ask("sub", {"kinds": [MEMBERS, REMOVED]}) != []
        assert await client.publish(leave(ALICE)) == [True, "info: you are a member no more"]
        assert await told(watcher, 2) == [(REMOVED, [["-"], ["p", ALICE.pubkey]]), (MEMBERS, listed())]
        await stored_soon(store, door, MEMBERS, [listed()])


async def test_lists_of_one_second_have_rising_times(store: Store) -> None:
    """Else the lower id would stand (NIP-01), whichever list that is of."""
    async with open_door(store) as door, open_client(door) as watcher:
        await watcher.talker.ask("sub", {"kinds": [MEMBERS]})
        times = []
        for author in (ALICE, BOB, CAROL):
            await joined(door, author)
            times.append((await watcher.receive())[2]["created_at"])
        assert times == [NOW, NOW + 1, NOW + 2]


async def test_a_banned_member_is_not_listed_until_the_ban_is_lifted(store: Store) -> None:
    async with open_door(store) as door:
        await joined(door, ALICE)
        await joined(door, BOB)
        await door.relay.moderation.state.amend([Change(ListName.BANNED_PUBKEYS, ALICE.pubkey, ListEntry())])
        await stored_soon(store, door, MEMBERS, [listed(BOB)])
        await door.relay.moderation.state.amend([Change(ListName.BANNED_PUBKEYS, ALICE.pubkey)])
        await stored_soon(store, door, MEMBERS, [listed(ALICE, BOB)])


async def test_a_list_that_was_published_is_not_published_again_at_the_next_start(store: Store) -> None:
    async with open_door(store) as door:
        await joined(door, ALICE)
    async with open_door(store) as door:
        await stored_soon(store, door, MEMBERS, [listed(ALICE)])
        before = await published(store, door, MEMBERS, ADDED)
    async with open_door(store) as door:
        assert await published(store, door, MEMBERS, ADDED) == before
        assert door.relay.statistics().writer.outcomes == {}


async def test_what_others_publish_of_these_kinds_is_theirs(store: Store) -> None:
    theirs = [
        ALICE.event(kind=kind, tags=[["member", BOB.pubkey], ["d", "x"]]) for kind in (MEMBERS, ADDED, REMOVED, ROLES)
    ]
    async with open_door(store, member_rules(MemberOptions(enabled=True, members_write=False))) as door:
        async with open_client(door) as client:
            for event in theirs:
                assert await client.publish(event) == [True, ""]
            assert set(await client.ask({"authors": [ALICE.pubkey]})) == {event.id for event in theirs}
        assert not door.relay.rules.is_member(BOB.pubkey, NOW)


async def test_a_role_is_published_with_its_properties_and_its_holders_are_listed_with_it(store: Store) -> None:
    """Section "Roles"."""
    role: dict[str, Any] = {"label": "Host", "description": "says hello", "color": 37, "order": -1}
    async with open_door(store) as door:
        await joined(door, ALICE)
        await door.relay.moderation.state.amend(
            [
                Change(ListName.ROLES, "host", ListEntry(data=role)),
                *(
                    Change(ListName.ROLE_HOLDERS, key.pubkey, ListEntry(data={"roles": ["host", "gone"]}))
                    for key in (ALICE, BOB, ADMIN)
                ),
            ]
        )
        tags = [
            ["-"],
            ["d", "host"],
            ["label", "Host"],
            ["description", "says hello"],
            ["color", "37"],
            ["order", "-1"],
        ]
        await stored_soon(store, door, ROLES, [tags])
        await stored_soon(store, door, MEMBERS, [listed((ALICE, "host"), (ADMIN, "host"))])


async def test_a_role_without_properties_has_its_name_alone(store: Store) -> None:
    async with open_door(store) as door:
        empty: dict[str, Any] = {"label": "", "description": "", "color": None, "order": None}
        await door.relay.moderation.state.amend([Change(ListName.ROLES, "guest", ListEntry(data=empty))])
        await stored_soon(store, door, ROLES, [[["-"], ["d", "guest"]]])


async def test_a_role_that_is_deleted_goes_and_may_come_back(store: Store) -> None:
    async with open_door(store) as door, open_client(door) as watcher:
        await watcher.talker.ask("sub", {"kinds": [5]})
        for label in ("first", "second"):
            await door.relay.moderation.state.amend([Change(ListName.ROLES, "host", ListEntry(data={"label": label}))])
            await stored_soon(store, door, ROLES, [[["-"], ["d", "host"], ["label", label]]])
            await door.relay.moderation.state.amend([Change(ListName.ROLES, "host")])
            await stored_soon(store, door, ROLES, [])
            address = f"{ROLES}:{door.relay.rules.signer}:host"
            assert await told(watcher, 1) == [(5, [["-"], ["a", address], ["k", str(ROLES)]])]


async def test_what_the_relay_says_is_barred_by_no_list(store: Store) -> None:
    """Its own events do not come in: a ban of its key, as another relay on the store can have made, is about others."""
    secret = bytes(31) + b"\x01"
    await store.put_metadata({"self": secret, f"banned-pubkeys/{Signer(secret).pubkey}": b"{}"})
    async with open_door(store) as door:
        await joined(door, ALICE)
        await stored_soon(store, door, MEMBERS, [listed(ALICE)])
