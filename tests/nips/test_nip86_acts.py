"""The audit log over NIP-86: what operators do is recorded with what it changes, told, and outlives the relay."""

from __future__ import annotations

import json

from tests.support.keys import ALICE, BOB, NOW
from tests.support.named_relay import open_client
from tests.support.operators import ADMIN, MODERATOR, Clock, FailingStore, managed, operator
from trio_relay import MemoryStore, Store

HEX = "ab" * 32


async def test_an_act_is_told_with_who_what_and_when_and_what_came_of_it(store: Store) -> None:
    clock = Clock()
    async with managed(store, clock) as door, operator(door) as admin, operator(door, MODERATOR) as moderator:
        await admin.call("assignmethod", MODERATOR.pubkey, "banpubkey")
        clock.now += 7
        await moderator.call("banpubkey", ALICE.pubkey, "spam")
        ban, grant = await admin.call("listacts")
        assert (ban["at"], ban["who"], ban["method"]) == (NOW + 7, MODERATOR.pubkey, "banpubkey")
        assert (json.loads(ban["params"]), ban["told"]) == ([ALICE.pubkey, "spam"], "done; 0 events removed")
        assert (grant["at"], grant["who"], grant["method"], grant["told"]) == (
            NOW,
            ADMIN.pubkey,
            "assignmethod",
            "done",
        )
        assert ban["act"] > grant["act"]
    async with managed(store, clock) as door, operator(door) as admin:
        assert await admin.call("listacts") == [ban, grant]


async def test_what_changes_nothing_is_no_act() -> None:
    async with managed(MemoryStore()) as door, operator(door) as admin:
        await admin.call("unbanpubkey", HEX)
        await admin.refusal("banpubkey", "nobody")
        await admin.call("listbannedpubkeys")
        assert await admin.call("listacts") == []


async def test_acts_are_found_by_operator_method_item_and_before_another() -> None:
    async with managed(MemoryStore()) as door, operator(door) as admin, operator(door, MODERATOR) as moderator:
        await admin.call("assignmethod", MODERATOR.pubkey, "banevent")
        await moderator.call("banevent", HEX)
        await admin.call("banpubkey", ALICE.pubkey.upper())
        every = await admin.call("listacts")
        assert [act["method"] for act in every] == ["banpubkey", "banevent", "assignmethod"]
        for chosen, which in (
            ({}, every),
            (None, every),
            ({"who": MODERATOR.pubkey}, every[1:2]),
            ({"method": "banpubkey"}, every[:1]),
            ({"item": HEX}, every[1:2]),
            ({"item": ALICE.pubkey}, every[:1]),  # though it was written in another way
            ({"before": every[0]["act"]}, every[1:]),
            ({"before": every[0]["act"], "who": ADMIN.pubkey}, every[2:]),
            ({"item": BOB.pubkey}, []),
        ):
            assert await admin.call("listacts", chosen) == which
        fields = "an object of who, method, item, before"
        for wrong in ({"whom": "x"}, "x", 1):
            assert await admin.refusal("listacts", wrong) == f"invalid: parameter 1 of listacts must be {fields}"
        assert "of texts of 200 characters" in await admin.refusal("listacts", {"who": 1})


async def test_an_act_that_cannot_be_stored_leaves_neither_itself_nor_its_record() -> None:
    store = FailingStore()
    async with managed(store) as door, operator(door) as admin:
        store.failing = {"keep"}
        assert (await admin.ask("banpubkey", ALICE.pubkey)).status == 503
        store.failing = {"remove"}
        assert await admin.call("listacts") == await admin.call("listbannedpubkeys") == []
        assert (await admin.ask("banpubkey", ALICE.pubkey)).status == 503
        [act] = await admin.call("listacts")
        assert act["told"] == "done; what it bans is still to be removed"
        assert len(await admin.call("listbannedpubkeys")) == 1


async def test_an_act_is_undone_and_what_it_removed_stays_removed(store: Store) -> None:
    note = ALICE.event("note")
    async with managed(store) as door, operator(door) as admin:
        async with open_client(door) as client:
            assert await client.publish(note) == [True, ""]
            await admin.call("banpubkey", ALICE.pubkey, "mistaken")
            [ban] = await admin.call("listacts")
            assert (ban["told"], ban["can_undo"], ban["undone"]) == ("done; 1 events removed", True, False)
            assert await admin.call("undoact", ban["act"]) is True
            assert await admin.call("listbannedpubkeys") == []
            assert await client.ask({"authors": [ALICE.pubkey]}) == []
            assert await client.publish(note) == [True, ""]
            undoing, ban = await admin.call("listacts")
            assert (undoing["method"], json.loads(undoing["params"])) == ("undoact", [ban["act"]])
            assert (undoing["told"], ban["undone"]) == ("undone; removed events stay removed", True)
            assert (await admin.refusal("undoact", ban["act"])).startswith("invalid: it does not stand any more")
            # To undo that is to ban again.
            assert await admin.call("undoact", undoing["act"]) is True
            assert await client.ask({"authors": [ALICE.pubkey]}) == []
        [again, *_] = await admin.call("listacts")
        assert again["told"] == "undone; 1 events removed"
