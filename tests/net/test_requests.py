"""REQ: limits, replacement by the same id, and how a subscription ends that the relay cannot serve."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.server import open_door, plain
from trio_relay import Limits, RelayOptions

pytestmark = pytest.mark.usefixtures("inline_threads")

NOTES = [ALICE.event(str(age), created_at=NOW - age) for age in range(5)]
LATER = BOB.event("later")


async def filled_store() -> ObedientStore:
    store = ObedientStore(page_events=1)
    await store.save_many(NOTES)
    return store


async def test_a_req_with_an_open_id_replaces_that_subscription(autojump_clock: MockClock) -> None:
    """NIP-01: a REQ with an open id overwrites it."""
    async with open_door() as door, door.client() as client, door.client() as speaker:
        await client.ask("sub", {"kinds": [1]})
        await client.ask("sub", {"kinds": [7]})
        await speaker.publish(BOB.event("note"))
        reaction = BOB.event("+", kind=7)
        await speaker.publish(reaction)
        assert await client.receive() == ["EVENT", "sub", plain(reaction)]
        await client.expect_silence()
        assert door.relay.statistics().broadcaster.subscriptions == 1


async def test_the_same_req_again_is_answered_again(autojump_clock: MockClock) -> None:
    async with open_door(await filled_store()) as door, door.client() as client:
        for _ in range(2):
            assert await client.ask("sub", {"kinds": [1]}) == [plain(note) for note in NOTES]


@pytest.mark.parametrize("method", ["query", "page"])
async def test_a_replaced_query_ends_and_only_the_new_one_says_eose(method: str, autojump_clock: MockClock) -> None:
    store = await filled_store()
    store.block(method)
    async with open_door(store) as door, door.client() as client:
        await client.send("REQ", "sub", {"kinds": [1]})
        await wait_all_tasks_blocked()
        await client.send("REQ", "sub", {"kinds": [7]})
        await wait_all_tasks_blocked()
        assert store.cancelled[method] == 1
        store.release(method)
        assert await client.receive() == ["EOSE", "sub"]
        await client.expect_silence()


async def test_close_ends_a_running_query(autojump_clock: MockClock) -> None:
    store = await filled_store()
    store.block("page")
    async with open_door(store) as door, door.client() as client:
        await client.send("REQ", "sub", {})
        await wait_all_tasks_blocked()
        await client.send("CLOSE", "sub")
        await wait_all_tasks_blocked()
        assert store.cancelled["page"] == 1
        assert door.relay.statistics().queries.running == 0
        store.release("page")
        await client.expect_silence()


async def test_a_subscription_is_live_while_its_query_runs(autojump_clock: MockClock) -> None:
    store = await filled_store()
    store.block("page")
    async with open_door(store) as door, door.client() as client, door.client() as speaker:
        await client.send("REQ", "sub", {})
        await wait_all_tasks_blocked()
        await speaker.publish(LATER)
        assert await client.receive() == ["EVENT", "sub", plain(LATER)]
        store.release("page")
        rest = [await client.receive() for _ in range(len(NOTES) + 1)]
        assert rest == [*(["EVENT", "sub", plain(note)] for note in NOTES), ["EOSE", "sub"]]


async def test_a_limit_of_0_sends_nothing_stored_and_stays_open(autojump_clock: MockClock) -> None:
    """NIP-01: `limit` bounds the initial query only."""
    async with open_door(await filled_store()) as door, door.client() as client, door.client() as speaker:
        assert await client.ask("sub", {"limit": 0}) == []
        await speaker.publish(LATER)
        assert await client.receive() == ["EVENT", "sub", plain(LATER)]


@pytest.mark.parametrize("one", [{"ids": []}, {"authors": []}, {"kinds": []}, {"#t": []}, {"kinds": [1], "#e": []}])
async def test_an_empty_list_matches_nothing_and_stays_open(one: dict[str, Any], autojump_clock: MockClock) -> None:
    async with open_door(await filled_store()) as door, door.client() as client, door.client() as speaker:
        assert await client.ask("sub", one) == []
        await speaker.publish(LATER)
        await client.expect_silence()
        assert door.relay.statistics().broadcaster.subscriptions == 1


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([{"limit": 2}], NOTES[:2]),
        ([{}], NOTES[:3]),
        ([{"limit": 1_000_000}], NOTES[:4]),
        ([{"limit": 1}, {"until": NOW - 4, "limit": 1}], [NOTES[0], NOTES[4]]),
        ([{"limit": 2}, {"limit": 1}], NOTES[:2]),
    ],
)
async def test_each_filter_has_its_limit_the_default_or_the_most(
    filters: list[dict[str, Any]], found: list[Any], autojump_clock: MockClock
) -> None:
    limits = Limits(default_limit=3, max_limit=4)
    async with open_door(await filled_store(), limits=limits) as door, door.client() as client:
        assert await client.ask("sub", *filters) == [plain(note) for note in found]


async def test_too_many_subscriptions_are_closed_until_one_ends(autojump_clock: MockClock) -> None:
    async with open_door(limits=Limits(max_subscriptions=2)) as door, door.client() as client:
        for sub_id in ("a", "b", "a"):  # the third replaces the first
            await client.ask(sub_id, {})
        await client.send("REQ", "c", {})
        reason = "error: at most 2 subscriptions on a connection (max_subscriptions)"
        assert await client.receive() == ["CLOSED", "c", reason]
        await client.send("CLOSE", "a")
        assert await client.ask("c", {}) == []


async def test_too_many_filters_are_closed(autojump_clock: MockClock) -> None:
    async with open_door(limits=Limits(max_filters=2)) as door, door.client() as client:
        assert await client.ask("sub", {}, {}) == []
        await client.send("REQ", "other", {}, {}, {})
        assert await client.receive() == ["CLOSED", "other", "error: at most 2 filters in a REQ (max_filters)"]
        assert door.relay.statistics().broadcaster.subscriptions == 1


async def test_a_query_past_its_deadline_is_closed_and_its_id_is_free_again(autojump_clock: MockClock) -> None:
    store = await filled_store()
    store.block("query")
    limits, options = Limits(max_subscriptions=1), RelayOptions(query_seconds=3)
    async with open_door(store, limits=limits, options=options) as door, door.client() as client:
        started = trio.current_time()
        await client.send("REQ", "slow", {})
        reason = "error: the query took more than 3 seconds (query_seconds)"
        assert await client.receive() == ["CLOSED", "slow", reason]
        assert trio.current_time() - started == 3
        assert door.relay.statistics().broadcaster.subscriptions == 0
        store.release("query")
        assert len(await client.ask("next", {})) == len(NOTES)


async def test_a_failing_query_is_closed_and_the_connection_stays(autojump_clock: MockClock) -> None:
    store = await filled_store()
    store.failing["query"] = "disk is gone"
    async with open_door(store) as door, door.client() as client, door.client() as speaker:
        await client.send("REQ", "sub", {})
        assert await client.receive() == ["CLOSED", "sub", "error: disk is gone"]
        await speaker.publish(LATER)
        store.failing.clear()
        assert len(await client.ask("sub", {})) == len(NOTES) + 1


async def test_one_client_runs_two_queries_at_a_time_and_the_others_are_not_held_up(
    autojump_clock: MockClock,
) -> None:
    store = await filled_store()
    store.block("query")
    async with open_door(store) as door, door.client() as greedy, door.client() as modest:
        for number in range(10):
            await greedy.send("REQ", str(number), {})
        await wait_all_tasks_blocked()
        assert store.calls["query"] == 2
        await modest.send("REQ", "one", {})
        await wait_all_tasks_blocked()
        assert store.calls["query"] == 3
        store.release("query")
        ends = [message for message in [await greedy.receive() for _ in range(60)] if message[0] == "EOSE"]
        assert sorted(message[1] for message in ends) == [str(number) for number in range(10)]


async def test_closed_ends_the_subscription_of_that_id(autojump_clock: MockClock) -> None:
    async with open_door() as door, door.client() as client:
        assert await client.ask("a", {"kinds": [1]}) == []
        await client.send("REQ", "a", {"bogus": 1})
        assert (await client.receive())[:2] == ["CLOSED", "a"]
        note = ALICE.event("to nobody")
        assert await client.publish(note) == ["OK", note.id, True, ""]
        await client.expect_silence()
        assert door.relay.statistics().broadcaster.subscriptions == 0


@pytest.mark.parametrize("seed", range(5))
async def test_what_is_open_and_what_gets_live_events_are_the_same_after_any_conversation(
    seed: int, autojump_clock: MockClock
) -> None:
    chance = random.Random(seed)
    store = ObedientStore()
    async with open_door(store, limits=Limits(max_subscriptions=3)) as door, door.client() as client:
        [connection] = door.server.connections
        for _ in range(60):
            sub_id = chance.choice("abcde")
            verb = chance.choice(["REQ", "REQ", "CLOSE", "COUNT", "bad"])
            store.failing = {"query": "disk is gone"} if chance.random() < 0.2 else {}
            if verb == "CLOSE":
                await client.send("CLOSE", sub_id)
            elif verb == "bad":
                await client.send("REQ", sub_id, {"x": 1})
            else:
                await client.send(verb, sub_id, {"limit": chance.randrange(2)})
            if chance.random() < 0.5:
                await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert len(connection.open_requests) == door.relay.statistics().broadcaster.subscriptions <= 3
    assert connection.open_requests == []
    assert door.relay.statistics().broadcaster.subscriptions == 0
