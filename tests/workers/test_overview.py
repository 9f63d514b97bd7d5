"""What operators see of several workers: all of it, by way of any of them, and of those that answer in time."""

from __future__ import annotations

import pytest
import trio
from msgspec import to_builtins
from msgspec.structs import replace
from trio.testing import MockClock

from tests.support.keys import ALICE, BOB
from tests.support.named_relay import open_client
from tests.support.operators import operator
from tests.workers.crew import open_crew
from trio_relay import Filter
from trio_relay.policy import identity


async def test_clients_of_all_workers_are_seen_and_hung_up_on_by_way_of_any(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        open_crew(monkeypatch) as (crew, _),
        operator(crew.door(1)) as admin,
        open_client(crew.door(1)),
        open_client(crew.door(2), ALICE) as other,
    ):
        await other.send("REQ", "notes", {"kinds": [1]})
        assert (await other.receive())[0] == "EOSE"
        listed = {one["client"]: one for one in await admin.call("listclients")}
        assert {name: one["keys"] for name, one in listed.items()} == {"1-2": [], "2-1": [ALICE.pubkey]}
        assert listed["2-1"]["subscriptions"] == [{"id": "notes", "filters": [{"kinds": [1]}], "left_out": 0}]
        assert await admin.call("disconnectclient", "2-1") is True
        await trio.sleep(2)  # it may say goodbye
        assert [one["client"] for one in await admin.call("listclients")] == ["1-2"]
        assert await admin.refusal("disconnectclient", "2-1") == "invalid: no such client is connected"


async def test_what_all_workers_have_refused_is_seen_by_way_of_any(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        open_crew(monkeypatch) as (crew, _),
        operator(crew.door(1)) as admin,
        open_client(crew.door(1)) as one,
        open_client(crew.door(2)) as other,
    ):
        for client, author in ((one, ALICE), (other, BOB)):
            accepted, _reason = await client.publish(replace(author.event("x"), sig="0" * 128))
            assert not accepted
        assert {each["key"] for each in await admin.call("listrefusals")} == {ALICE.pubkey, BOB.pubkey}
        assert [each["key"] for each in await admin.call("listrefusals", {"key": BOB.pubkey})] == [BOB.pubkey]


async def test_what_was_slow_on_any_worker_is_seen(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    who = identity.Identity(address="203.0.113.1")
    async with open_crew(monkeypatch) as (crew, _), operator(crew.door(1)) as admin:
        for number in (1, 2):
            crew.served(number).slow_requests.note("REQ", [Filter()], who, float(number), "answered", 0)
        listed = await admin.call("listslowrequests")
        assert [(one["seconds"], one["address"]) for one in listed] == [(2.0, "203.0.113.1"), (1.0, "203.0.113.1")]


async def test_subscriptions_of_all_workers_that_would_get_an_event_are_counted(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = to_builtins(ALICE.event("tea"))
    async with (
        open_crew(monkeypatch) as (crew, _),
        operator(crew.door(1)) as admin,
        open_client(crew.door(1)) as one,
        open_client(crew.door(2)) as other,
    ):
        for client, sub_ids in ((one, "ab"), (other, "a")):
            for sub_id in sub_ids:
                await client.send("REQ", sub_id, {"kinds": [1]})
                assert (await client.receive())[0] == "EOSE"
        answer = await admin.call("explainevent", note)
        assert (answer["store"], answer["subscriptions"]) == ("new", 3)


async def test_a_worker_that_does_not_answer_is_left_out(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        open_crew(monkeypatch) as (crew, (_, silent)),
        open_client(crew.door(1)),
        open_client(crew.door(2)),
    ):
        silent.down.shut()
        began = trio.current_time()
        seen = await crew.talks.admin.perform("listclients", [], "operator", "")
        assert [one["client"] for one in seen] == ["1-1"]  # type: ignore[attr-defined]
        assert trio.current_time() == began + 1
