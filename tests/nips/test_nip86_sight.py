"""NIP-86: what operators see of a running relay, and do to who is connected."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, lockstep_stream_pair

from tests.support.keys import ALICE, BOB, NOW
from tests.support.named_relay import open_client, open_named, rules_for
from tests.support.operators import ADMIN, Clock, managed, operator
from tests.support.server import Door
from tests.support.wire import Wire, message, open_stream, open_wire, request, upgrade
from tests.support.working_store import WorkingStore
from trio_relay import MemoryStore, NetOptions, RateOptions


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
            assert (len(first["filters"][0]["authors"]), first["left_out"]) == (100, 150)
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


class TestRefusals:
    """What was refused last."""

    async def test_refused_messages_and_requests_are_listed_newest_first(self) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin, open_client(door) as client:
            forged = replace(ALICE.event("x"), sig="0" * 128)
            await client.publish(forged)
            await client.send("REQ", "secret", {"nonsense": 1})
            await client.receive()
            async with open_stream(door) as wire:
                await wire.send(upgrade(Sec_WebSocket_Version="secret"))
                assert (await wire.reply()).status == 400
            async with open_stream(door) as wire:
                await wire.send(request(target="/secret"))
                assert (await wire.reply()).status == 404
            common = {"at": NOW, "address": "unknown"}
            assert await admin.call("listrefusals") == [
                common | {"verb": "HTTP 404", "reason": "Nothing here; the relay is at /"},
                common | {"verb": "HTTP 400", "reason": "invalid Sec-WebSocket-Version header"},
                common | {"verb": "REQ", "reason": "unsupported: filter key"},
                common
                | {"verb": "EVENT", "reason": "invalid: sig is not a valid signature of the id by the pubkey"}
                | {"id": forged.id, "key": ALICE.pubkey, "kind": 1},
            ]

    async def test_what_is_too_much_in_a_time_is_among_them(self) -> None:
        rates = RateOptions(events_per_address="", events_per_connection="1/hour burst 1")
        rules = rules_for(admins=(ADMIN.pubkey,), rates=rates)
        async with open_named(MemoryStore(), rules, clock=Clock()) as door, operator(door) as admin:
            async with open_client(door) as client:
                for content in ("one", "two"):
                    await client.publish(ALICE.event(content))
            [listed] = await admin.call("listrefusals")
            assert (listed["verb"], listed["reason"].partition(":")[0]) == ("EVENT", "rate-limited")

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            ({}, ["HTTP 404", "EVENT", "EVENT"]),
            ({"key": ALICE.pubkey}, ["EVENT"]),
            ({"key": BOB.pubkey.upper()}, ["EVENT"]),
            ({"kind": 7}, ["EVENT"]),
            ({"kind": 7, "key": ALICE.pubkey}, []),
            ({"text": "VALID SIGNATURE"}, ["EVENT", "EVENT"]),
            ({"text": "http"}, ["HTTP 404"]),
            ({"address": "192.0.2.0/24"}, []),
        ],
    )
    async def test_they_are_searched(self, wanted: dict[str, object], found: list[str]) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin, open_client(door) as client:
            await client.publish(replace(ALICE.event("x"), sig="0" * 128))
            await client.publish(replace(BOB.event("+", kind=7), sig="0" * 128))
            async with open_stream(door) as wire:
                await wire.send(request(target="/elsewhere"))
                await wire.reply()
            assert [one["verb"] for one in await admin.call("listrefusals", wanted)] == found

    @pytest.mark.parametrize("wanted", [[], {"keys": []}, {"kind": "1"}, {"key": "x"}, {"address": "here"}])
    async def test_a_search_is_read_strictly(self, wanted: object) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            refusal = await admin.refusal("listrefusals", wanted)
            assert refusal.startswith("invalid: parameter 1 of listrefusals must be an object with key, address, ")


class TestSlowRequests:
    """What was slow in the last hour."""

    async def test_slow_requests_are_listed_with_their_filters(self, autojump_clock: MockClock) -> None:
        store = WorkingStore({1: 0.5, 7: 2.0, 30_023: 0.01}, page_events=2)
        await store.save_many([ALICE.event(str(age), created_at=NOW - age) for age in range(3)])
        async with managed(store) as door, operator(door) as admin, open_client(door, ALICE) as client:
            await client.ask({"kinds": [1]})
            await client.ask({"kinds": [30_023]})
            await client.count({"kinds": [7]})
            common = {"at": NOW, "address": "unknown", "keys": [ALICE.pubkey], "left_out": 0, "outcome": "answered"}
            assert await admin.call("listslowrequests") == [
                common | {"verb": "COUNT", "filters": [{"kinds": [7]}], "seconds": 2.0, "found": 0},
                common | {"verb": "REQ", "filters": [{"kinds": [1]}], "seconds": 1.0, "found": 3},
            ]

    async def test_what_took_too_long_or_was_given_up_is_among_them(self, autojump_clock: MockClock) -> None:
        async with managed(WorkingStore({1: 60.0})) as door, open_client(door) as client:
            for verb in ("REQ", "COUNT"):
                await client.ask_refused({"kinds": [1]}, verb=verb)
            for verb in ("REQ", "COUNT"):
                await client.send(verb, "sub", {"kinds": [1]})
                await trio.sleep(1)
                await client.send("CLOSE", "sub")
            async with operator(door) as admin:
                listed = await admin.call("listslowrequests")
            assert [(one["verb"], one["outcome"]) for one in listed] == [
                ("REQ", "timed_out"),
                ("COUNT", "timed_out"),
                ("REQ", "given_up"),
                ("COUNT", "given_up"),
            ]

    async def test_a_client_that_reads_slowly_is_not_slow_to_answer(self, autojump_clock: MockClock) -> None:
        store = WorkingStore({1: 0.005}, page_events=1)
        await store.save_many([ALICE.event("x" * 60_000, created_at=NOW - age) for age in range(8)])
        rules = rules_for(admins=(ADMIN.pubkey,), challenge="needed")
        net = NetOptions(outbox_bytes=131_072)
        async with open_named(store, rules, clock=Clock(), net=net) as door, operator(door) as admin:
            async with open_wire(door, lockstep_stream_pair) as wire:
                await wire.send(message("REQ", "slow", {"kinds": [1]}))
                wire.pause = 1.0
                while (await wire.receive())[0] != "EOSE":
                    pass
                assert trio.current_time() > 5
            [listed] = await admin.call("listslowrequests")
            assert (listed["seconds"], listed["found"]) == (0.04, 8)
