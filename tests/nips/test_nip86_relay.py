"""NIP-86: what the relay is called, who has which role, who may call which method, and numbers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.keys import ALICE, BOB
from tests.support.named_relay import open_client, open_named, rules_for
from tests.support.operators import ADMIN, BY_ADMIN, MODERATOR, Clock, Operator, managed, operator
from trio_relay import MemoryStore, RelayInfo, Store
from trio_relay.net.admin import methods
from trio_relay.policy import lists


async def document(admin: Operator) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await admin.wire.ask(Accept="application/nostr+json")).body)
    return found


class TestIdentity:
    """Methods that change the NIP-11 document."""

    async def test_name_description_and_icon_change_at_once(self, store: Store) -> None:
        async with managed(store) as door, operator(door) as admin:
            assert await admin.call("changerelayname", "elsewhere") is True
            assert await admin.call("changerelaydescription", "For those who left") is True
            assert await admin.call("changerelayicon", "https://relay.example/icon.png") is True
            found = await document(admin)
            assert (found["name"], found["description"]) == ("elsewhere", "For those who left")
            assert found["icon"] == "https://relay.example/icon.png"

    async def test_an_empty_text_brings_the_configurations_back(self) -> None:
        rules = rules_for(admins=(ADMIN.pubkey,), info=RelayInfo(name="here"))
        async with open_named(MemoryStore(), rules, clock=Clock()) as door, operator(door) as admin:
            await admin.call("changerelayname", "elsewhere")
            assert await admin.call("changerelayname", "") is True
            assert (await document(admin))["name"] == "here"
            assert await admin.call("changerelayicon", "") is True
            assert "icon" not in await document(admin)

    @pytest.mark.parametrize(
        ("method", "what", "most"),
        [("changerelayname", "name", 29), ("changerelaydescription", "description", 5_000)],
    )
    async def test_texts_have_a_length(self, method: str, what: str, most: int) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            assert await admin.call(method, "é" * most) is True
            refusal = f"invalid: parameter 1 of {method} must be the {what}, a text of 0 to {most} characters"
            assert await admin.refusal(method, "é" * (most + 1)) == refusal
            assert await admin.refusal(method, 1) == refusal
            assert await admin.refusal(method) == f"invalid: {method} takes 1 parameter"
            assert await admin.refusal(method, "a", "b") == f"invalid: {method} takes 1 parameters at most"

    async def test_an_icon_is_a_url(self) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            refusal = "invalid: the icon must be an http or https URL"
            assert await admin.refusal("changerelayicon", "javascript:alert(1)") == refusal


class TestRoles:
    """Roles, and who has them."""

    async def test_a_role_is_made_changed_and_deleted(self, store: Store) -> None:
        async with managed(store) as door, operator(door) as admin:
            assert await admin.call("createrole", "baker", "Baker", "Bakes bread", 37, 2) is True
            assert await admin.call("createrole", "miller") is True
            baker = {"id": "baker", "label": "Baker", "description": "Bakes bread", "color": 37, "order": 2, **BY_ADMIN}
            miller = {"id": "miller", "label": "", "description": "", "color": None, "order": None, **BY_ADMIN}
            assert await admin.call("listroles") == [baker | {"pubkeys": []}, miller | {"pubkeys": []}]
            assert await admin.call("editrole", "miller", "Miller", None, 360, -1) is True
            assert await admin.call("deleterole", "baker") is True
            changed = miller | {"label": "Miller", "color": 360, "order": -1, "pubkeys": []}
            assert await admin.call("listroles") == [changed]

    async def test_a_role_that_is_deleted_is_taken_from_all_who_have_it(self, store: Store) -> None:
        async with managed(store) as door, operator(door) as admin:
            for role in ("baker", "miller"):
                await admin.call("createrole", role)
            for key, role in ((ALICE, "baker"), (ALICE, "miller"), (BOB, "baker"), (BOB, "baker")):
                assert await admin.call("assignrole", key.pubkey, role) is True
            assert [role["pubkeys"] for role in await admin.call("listroles")] == [
                [ALICE.pubkey, BOB.pubkey],
                [ALICE.pubkey],
            ]
            await admin.call("deleterole", "baker")
            await admin.call("createrole", "baker")
            assert [role["pubkeys"] for role in await admin.call("listroles")] == [[ALICE.pubkey], []]
            holders = door.relay.rules.lists.entries(lists.ListName.ROLE_HOLDERS, 0)
            assert {key: entry.data for key, entry in holders.items()} == {ALICE.pubkey: {"roles": ["miller"]}}

    async def test_a_role_is_taken_from_one(self) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            await admin.call("createrole", "baker")
            for key in (ALICE, BOB):
                await admin.call("assignrole", key.pubkey, "baker")
            for _ in range(2):
                assert await admin.call("unassignrole", ALICE.pubkey, "baker") is True
            assert [role["pubkeys"] for role in await admin.call("listroles")] == [[BOB.pubkey]]

    @pytest.mark.parametrize(
        ("method", "params", "error"),
        [
            ("createrole", ["baker"], "invalid: there is a role with this id; editrole changes it"),
            ("editrole", ["miller"], "invalid: there is no role with this id"),
            ("deleterole", ["miller"], "invalid: there is no role with this id"),
            ("assignrole", [ALICE.pubkey, "miller"], "invalid: there is no role with this id"),
            (
                "createrole",
                [""],
                "invalid: parameter 1 of createrole must be a role's id, a text of 1 to 200 characters",
            ),
            (
                "createrole",
                ["i" * 201],
                "invalid: parameter 1 of createrole must be a role's id, a text of 1 to 200 characters",
            ),
            (
                "createrole",
                ["a", "l" * 201],
                "invalid: parameter 2 of createrole must be a label, a text of 0 to 200 characters",
            ),
            (
                "editrole",
                ["baker", "", "d" * 2_001],
                "invalid: parameter 3 of editrole must be a description, a text of 0 to 2000 characters",
            ),
            (
                "createrole",
                ["a", "", "", 361],
                "invalid: parameter 4 of createrole must be a color's hue, an integer from 0 to 360",
            ),
            (
                "createrole",
                ["a", "", "", "#ff0000"],
                "invalid: parameter 4 of createrole must be a color's hue, an integer from 0 to 360",
            ),
            (
                "createrole",
                ["a", "", "", 0, "first"],
                "invalid: parameter 5 of createrole must be an order, an integer from -2147483648 to 2147483648",
            ),
            ("createrole", ["a", "", "", 0, 0, 0], "invalid: createrole takes 5 parameters at most"),
        ],
    )
    async def test_roles_that_cannot_be_are_refused(self, method: str, params: list[object], error: str) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            await admin.call("createrole", "baker")
            assert await admin.refusal(method, *params) == error

    async def test_the_longest_id_can_be_kept(self, store: Store) -> None:
        async with managed(store) as door, operator(door) as admin:
            assert await admin.call("createrole", "é" * 200, "l" * 200, "d" * 2_000) is True


class TestMethodsOfOthers:
    """Keys that may call some methods."""

    async def test_a_key_may_call_what_it_was_assigned_and_nothing_else(self, store: Store) -> None:
        async with managed(store) as door, operator(door) as admin, operator(door, MODERATOR) as moderator:
            assert (await moderator.ask("supportedmethods")).status == 403
            for method in ("banevent", "listbannedevents"):
                assert await admin.call("assignmethod", MODERATOR.pubkey, method) == [True, "assigned"]
            assert await moderator.call("supportedmethods") == ["banevent", "listbannedevents"]
            assert await moderator.call("banevent", "ab" * 32) is True
            assert len(await moderator.call("listbannedevents")) == 1
            for method in ("unbanevent", "banpubkey", "assignmethod", "changerelayname"):
                assert await moderator.refusal(method, "x") == "restricted: you may not call this method"
            assigned = [{"pubkey": MODERATOR.pubkey, "methods": ["banevent", "listbannedevents"]}]
            assert await admin.call("listmethodassignees") == assigned

    async def test_on_a_full_list_only_admins_put_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Else a moderator could fill the memory, and nobody could ban any more."""
        monkeypatch.setattr(methods, "MOST_ON_A_LIST", 2)
        async with (
            managed(MemoryStore()) as door,
            operator(door) as admin,
            operator(door, MODERATOR) as moderator,
        ):
            for method in ("banevent", "unbanevent"):
                await admin.call("assignmethod", MODERATOR.pubkey, method)
            ids = [f"{number:064x}" for number in range(4)]
            assert [await moderator.call("banevent", event_id) for event_id in ids[:2]] == [True, True]
            words = "restricted: this list has 2 items; only an admin can put more on it"
            assert await moderator.refusal("banevent", ids[2]) == words
            assert await moderator.call("banevent", ids[1], "another reason") is True
            assert await admin.call("banevent", ids[2]) is True
            assert await moderator.refusal("banevent", ids[3]) == words
            for event_id in ids[:2]:
                assert await moderator.call("unbanevent", event_id) is True
            assert await moderator.call("banevent", ids[3]) is True

    async def test_a_method_that_is_unassigned_is_gone_at_once(self) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin, operator(door, MODERATOR) as moderator:
            for method in ("stats", "banevent"):
                await admin.call("assignmethod", MODERATOR.pubkey, method)
            assert await admin.call("unassignmethod", MODERATOR.pubkey, "stats") == [True, "unassigned"]
            assert await moderator.refusal("stats") == "restricted: you may not call this method"
            assert await admin.call("unassignmethod", MODERATOR.pubkey, "stats") == [False, "it was not assigned"]
            assert await admin.call("unassignmethod", MODERATOR.pubkey, "banevent") == [True, "unassigned"]
            assert (await moderator.ask("banevent", "ab" * 32)).status == 403
            assert await admin.call("listmethodassignees") == []

    async def test_only_methods_that_exist_are_assigned(self) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            for method in ("signevent", "supportedmethods"):
                assert await admin.call("assignmethod", ALICE.pubkey, method) == [False, "no such method"]

    async def test_who_assigns_methods_gives_no_more_than_he_has(self) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin, operator(door, MODERATOR) as moderator:
            for method in ("assignmethod", "stats"):
                await admin.call("assignmethod", MODERATOR.pubkey, method)
            assert await moderator.call("assignmethod", ALICE.pubkey, "stats") == [True, "assigned"]
            refusal = [False, "you may not call it yourself"]
            assert await moderator.call("assignmethod", MODERATOR.pubkey, "banpubkey") == refusal
            assert (await admin.call("listmethodassignees"))[1] == {"pubkey": ALICE.pubkey, "methods": ["stats"]}

    async def test_a_banned_key_calls_nothing_until_the_ban_is_lifted(self) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin, operator(door, MODERATOR) as moderator:
            await admin.call("assignmethod", MODERATOR.pubkey, "stats")
            await admin.call("banpubkey", MODERATOR.pubkey)
            assert (await moderator.ask("stats")).status == 403
            await admin.call("unbanpubkey", MODERATOR.pubkey)
            assert (await moderator.ask("stats")).status == 200

    async def test_a_moderator_bans_neither_an_admin_nor_himself(self) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin, operator(door, MODERATOR) as moderator:
            await admin.call("assignmethod", MODERATOR.pubkey, "banpubkey")
            refusal = "restricted: this key is an admin's (policy.admins, relay.pubkey)"
            assert await moderator.refusal("banpubkey", ADMIN.pubkey) == refusal
            assert await moderator.refusal("banpubkey", MODERATOR.pubkey) == "restricted: this key is your own"


async def test_numbers_are_told() -> None:
    async with managed(MemoryStore()) as door, operator(door) as admin, open_client(door) as client:
        await client.publish(ALICE.event())
        await client.publish(ALICE.event(kind=13))
        await client.send("REQ", "open", {})
        for _ in range(2):
            await client.receive()
        await client.publish(BOB.event())
        await admin.call("banpubkey", "ab" * 32)
        assert await admin.call("stats") == {
            "subscriptions": 1,
            "delivered": 1,
            "stored": 2,
            "refused": 1,
            "disk_bytes": 0,
            "banned_pubkeys": 1,
            "reported_events": 0,
        }
