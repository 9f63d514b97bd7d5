"""Members and codes as operators see to them (NIP-86), with what the relay publishes of it (NIP-43)."""

from __future__ import annotations

import re

import pytest

from tests.nips.members_relay import (
    ADDED,
    ADMIN,
    MEMBERS,
    NOW,
    REFUSED,
    REMOVED,
    Clock,
    invited,
    join,
    joined,
    listed,
    member_rules,
    open_door,
    stored_soon,
    told,
)
from tests.support.keys import ALICE, BOB, CAROL, Author
from tests.support.named_relay import open_client, rules_for
from tests.support.operators import Operator, operator
from tests.support.server import Door
from trio_relay import AdminApi, MemberOptions, MemoryStore, Store

SECONDS = MemberOptions().invite_seconds
DAVE = Author("dave")


def signing_now(one: Operator) -> Operator:
    one.now = NOW
    return one


async def codes(admin: Operator) -> list[str]:
    return [invite["claim"] for invite in await admin.call("listinvites")]


async def test_an_operator_adds_and_removes_members_and_the_relay_says_so(store: Store) -> None:
    async with open_door(store) as door, operator(door, ADMIN) as admin, open_client(door, ADMIN) as client:
        signing_now(admin)
        await client.talker.ask("members", {"kinds": [MEMBERS, ADDED, REMOVED], "limit": 0})
        assert await admin.call("addmember", ALICE.pubkey, "a friend") is True
        assert await told(client, 2) == [(ADDED, [["-"], ["p", ALICE.pubkey]]), (MEMBERS, listed(ALICE))]
        assert await admin.call("listmembers") == [
            {"pubkey": ALICE.pubkey, "since": NOW, "by": ADMIN.pubkey, "roles": []}
        ]
        assert await admin.call("addmember", ALICE.pubkey) is True  # is one already
        assert len(await admin.call("listacts")) == 1
        assert await admin.call("removemember", ALICE.pubkey, "no more") is True
        await stored_soon(store, door, MEMBERS, [listed()])
        assert await admin.call("listmembers") == []
        assert await admin.call("removemember", ALICE.pubkey) is True


async def test_who_is_removed_loses_roles_and_codes_until_that_is_undone() -> None:
    async with open_door(MemoryStore()) as door, operator(door, ADMIN) as admin:
        signing_now(admin)
        await joined(door, ALICE)
        async with open_client(door, ALICE) as client:
            [event] = await invited(client)
        claim = event["tags"][1][1]
        await admin.call("createrole", "cook")
        await admin.call("assignrole", ALICE.pubkey, "cook")
        member = {"pubkey": ALICE.pubkey, "since": NOW, "by": "", "roles": ["cook"]}
        invites = [{"claim": claim, "by": ALICE.pubkey, "since": NOW, "until": NOW + SECONDS}]
        assert (await admin.call("listmembers"), await admin.call("listinvites")) == ([member], invites)
        await admin.call("removemember", ALICE.pubkey)
        assert (await admin.call("listmembers"), await admin.call("listinvites")) == ([], [])
        await admin.call("undoact", (await admin.call("listacts"))[0]["act"])
        assert (await admin.call("listmembers"), await admin.call("listinvites")) == ([member], invites)
        # A member's code, still: it goes with the member.
        await admin.call("banpubkey", ALICE.pubkey)
        assert await answer_to_joining(door, claim) == REFUSED


async def answer_to_joining(door: Door, claim: str) -> list[object]:
    async with open_client(door, BOB) as client:
        return await client.publish(join(BOB, claim))


async def test_anybody_joins_with_an_operators_code_until_it_ends_or_is_deleted() -> None:
    clock = Clock()
    async with open_door(MemoryStore(), clock=clock) as door, operator(door, ADMIN) as admin:
        signing_now(admin)
        made = await admin.call("createinvite")
        short = await admin.call("createinvite", NOW + 60)
        gone = await admin.call("createinvite", None)
        assert (made["until"], short["until"]) == (NOW + SECONDS, NOW + 60)
        assert re.fullmatch("[0-9a-f]{32}", made["claim"])
        assert await codes(admin) == [gone["claim"], short["claim"], made["claim"]]
        assert await admin.call("deleteinvite", gone["claim"]) is True
        assert await admin.refusal("deleteinvite", gone["claim"]) == "invalid: there is no such code"
        assert await answer_to_joining(door, gone["claim"]) == REFUSED
        await joined(door, CAROL, short["claim"])
        clock.now += 60
        admin.now += 60
        assert await answer_to_joining(door, short["claim"]) == REFUSED
        await joined(door, DAVE, made["claim"])
        assert [member["pubkey"] for member in await admin.call("listmembers")] == [CAROL.pubkey, DAVE.pubkey]
        assert [member["by"] for member in await admin.call("listmembers", CAROL.pubkey)] == [""]


async def test_the_operator_without_a_key_makes_codes_too() -> None:
    async with open_door(MemoryStore()) as door:
        made = await AdminApi(door.relay).perform("createinvite", [], "operator", "unix")
        assert isinstance(made, dict)
        await joined(door, CAROL, made["claim"])


@pytest.mark.parametrize(
    ("method", "params", "error"),
    [
        ("listmembers", ["x"], "invalid: parameter 1 of listmembers must be a pubkey: "),
        ("addmember", [ALICE.pubkey, "", 1], "invalid: addmember takes 2 parameters at most"),
        ("addmember", [CAROL.pubkey], "restricted: this key is banned here"),
        ("addmember", [DAVE.pubkey], "restricted: there is no room for more members (members.max_members)"),
        ("createinvite", [NOW], "invalid: parameter 1 of createinvite must be the time of its end in seconds"),
        ("deleteinvite", ["sesame!!"], "restricted: the configuration says otherwise (members.claims)"),
        ("deleteinvite", [1], "invalid: parameter 1 of deleteinvite must be a code"),
    ],
)
async def test_what_cannot_be_is_refused_by_its_name(method: str, params: list[object], error: str) -> None:
    rules = member_rules(MemberOptions(enabled=True, claims=("sesame!!",), max_members=1))
    async with open_door(MemoryStore(), rules) as door, operator(door, ADMIN) as admin:
        signing_now(admin)
        await admin.call("addmember", BOB.pubkey)
        await admin.call("banpubkey", CAROL.pubkey)
        assert (await admin.refusal(method, *params)).startswith(error)


async def test_where_there_are_no_members_nothing_of_it_can_be_called() -> None:
    async with open_door(MemoryStore(), rules_for(admins=(ADMIN.pubkey,))) as door, operator(door, ADMIN) as admin:
        signing_now(admin)
        for call in (
            ["listmembers"],
            ["addmember", BOB.pubkey],
            ["removemember", BOB.pubkey],
            ["createinvite"],
            ["listinvites"],
            ["deleteinvite", "x"],
        ):
            assert await admin.refusal(*call) == "unsupported: this relay has no members (members.enabled)"
