"""NIP-86: what operators see of a running relay, and do to who is connected."""

from __future__ import annotations

from typing import Any

from tests.support.keys import ALICE, BOB, NOW
from tests.support.named_relay import open_client
from tests.support.operators import managed, operator
from tests.support.server import Door
from tests.support.wire import Wire, open_stream, open_wire, upgrade
from trio_relay import MemoryStore


async def enter(wire: Wire, agent: str) -> None:
    await wire.send(upgrade(User_Agent=agent))
    assert (await wire.reply()).status == 101


async def names(door: Door) -> dict[str, Any]:
    """The clients that an operator sees, by what they call themselves."""
    async with operator(door) as admin:
        return {one["agent"]: one for one in await admin.call("listclients")}


class TestClients:
    """Who is connected, and hanging up."""

    async def test_a_client_is_listed_with_what_it_asks_and_has_done(self) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            async with open_client(door, ALICE, BOB) as client:
                await client.publish(ALICE.event("one", created_at=NOW))
                await client.publish(BOB.event("two", created_at=NOW))
                notes = {"kinds": [1], "authors": [ALICE.pubkey], "#t": ["b", "a"]}
                await client.ask({"limit": 0})
                await client.send("REQ", "notes", notes, {"limit": 0})
                while (await client.receive())[0] != "EOSE":
                    pass
                [listed] = await admin.call("listclients")
            assert listed.pop("seconds") >= 0
            assert listed == {
                "client": "0-2",  # the operator's connection is the first
                "address": "unknown",
                "agent": "",
                "keys": sorted([ALICE.pubkey, BOB.pubkey]),
                "since": NOW,
                "subscriptions": [
                    {"id": "notes", "filters": [notes | {"#t": ["a", "b"]}, {"limit": 0}], "left_out": 0}
                ],
                "open": 1,
                "outbox_bytes": 0,
                "events": 2,
            }
            assert await admin.call("listclients") == []

    async def test_a_client_s_name_for_itself_is_cut(self) -> None:
        async with managed(MemoryStore()) as door, open_stream(door) as one, open_stream(door) as other:
            await enter(one, "nos2x/1.0")
            await enter(other, "<b>" + "x" * 1_000)
            assert list(await names(door)) == ["<b>" + "x" * 197, "nos2x/1.0"]

    async def test_who_has_made_most_work_comes_first(self) -> None:
        async with managed(MemoryStore()) as door, open_stream(door) as one, open_stream(door) as other:
            await enter(one, "busy")
            await enter(other, "idle")
            busy = next(iter(door.server.connections))
            busy.identity.account.charge(0.25, 0.0)
            listed = await names(door)
            assert [(name, one["seconds"] >= 0.25) for name, one in listed.items()] == [("busy", True), ("idle", False)]

    async def test_of_filters_no_more_is_shown_than_a_page_can_hold(self) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin, open_client(door) as client:
            keys = [f"{number:064x}" for number in range(250)]
            await client.ask({"authors": keys}, sub_id="many")
            await client.send("REQ", "many", {"authors": keys})
            await client.receive()
            for number in range(15):
                await client.send("REQ", str(number), {"kinds": [30_000 + number]})
                await client.receive()
            [listed] = await admin.call("listclients")
            first, *others = listed["subscriptions"]
            assert (len(first["filters"][0]["authors"]), first["left_out"]) == (200, 50)
            assert {(len(one["filters"]), one["left_out"]) for one in others} == {(0, 1)}
            assert listed["open"] == 16

    async def test_a_client_that_is_hung_up_on_is_told_why(self) -> None:
        async with managed(MemoryStore()) as door, open_wire(door) as one, open_wire(door) as other:
            for wire in (one, other):
                assert (await wire.receive())[0] == "AUTH"
            async with operator(door) as admin:
                assert await admin.call("disconnectclient", "0-1", "we move, come back") is True
                assert await one.receive_close() == (1008, "by an operator: we move, come back")
                assert await admin.call("disconnectclient", "0-2", "é" * 200) is True
                code, text = await other.receive_close()
                assert (code, text) == (1008, "by an operator: " + "é" * 53)

    async def test_who_is_not_there_cannot_be_hung_up_on(self) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            for name in ("0-1", "1-1", "1", "0-", "x" * 40):
                assert await admin.refusal("disconnectclient", name) == "invalid: no such client is connected"
            assert await admin.refusal("listclients", 1) == "invalid: listclients takes no parameters"
            wrong = "invalid: parameter 1 of disconnectclient must be a client, a text of 1 to 40 characters"
            assert await admin.refusal("disconnectclient", 1) == wrong
