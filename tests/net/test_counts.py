"""COUNT (NIP-45) in a conversation: it is answered or refused, and leaves the subscriptions alone."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.server import open_door, plain
from trio_relay import Limits, NetOptions, RelayOptions

pytestmark = pytest.mark.usefixtures("inline_threads")

NOTES = [ALICE.event(str(age), created_at=NOW - age) for age in range(5)]
LATER = BOB.event("later")
GREETING = BOB.event("good morning", created_at=NOW - 1)


async def filled_store() -> ObedientStore:
    store = ObedientStore(page_events=1)
    await store.save_many(NOTES)
    return store


async def test_several_filters_get_one_number(autojump_clock: MockClock) -> None:
    """NIP-45: filters are joined as in a REQ, so that an event which matches two counts once."""
    async with open_door(await filled_store()) as door, door.client() as client:
        assert await client.count("a", {}) == 5
        assert await client.count("a", {"authors": [ALICE.pubkey]}, {"since": NOW - 1}, {"limit": 1}) == 5
        assert await client.count("a", {"until": NOW - 3, "limit": 1}) == 2
        assert await client.count("a", {"authors": [BOB.pubkey]}) == 0
        assert door.relay.statistics().queries.counts == {"answered": 4}


async def test_an_acknowledged_event_counts_at_once(autojump_clock: MockClock) -> None:
    async with open_door(await filled_store()) as door, door.client() as client:
        assert await client.publish(LATER) == ["OK", LATER.id, True, ""]
        assert await client.count("a", {}) == 6


async def test_what_is_searched_for_is_counted(autojump_clock: MockClock) -> None:
    async with open_door(await filled_store()) as door, door.client() as client:
        await client.publish(GREETING)
        assert await client.count("a", {"search": "MORNING"}) == 1
        assert await client.count("a", {"search": "evening"}) == 0


async def test_a_count_leaves_a_subscription_of_the_same_id_alone(autojump_clock: MockClock) -> None:
    async with open_door() as door, door.client() as client, door.client() as speaker:
        assert await client.ask("a", {"kinds": [1]}) == []
        assert await client.count("a", {"kinds": [7]}) == 0
        await client.send("COUNT", "a", {"kinds": "bad"})
        assert (await client.receive())[:2] == ["CLOSED", "a"]
        await speaker.publish(LATER)
        assert await client.receive() == ["EVENT", "a", plain(LATER)]
        assert door.relay.statistics().broadcaster.subscriptions == 1


async def test_a_count_opens_nothing(autojump_clock: MockClock) -> None:
    async with open_door() as door, door.client() as client, door.client() as speaker:
        assert await client.count("a", {}) == 0
        await speaker.publish(LATER)
        await client.expect_silence()
        assert door.relay.statistics().broadcaster.subscriptions == 0


@pytest.mark.parametrize(
    ("filters", "reason"),
    [
        ([], "invalid: COUNT needs at least one filter"),
        ([{}, {}, {}], "error: at most 2 filters in a COUNT (max_filters)"),
        ([{"kinds": [1, 2, 3, 4]}], "error: at most 8 values in the filters of a connection (max_filter_values)"),
        ([{"colour": "red"}], "unsupported: filter key 'colour' is not known here"),
        ([{"search": "word"}], "unsupported: search is off on this relay"),
    ],
)
async def test_a_count_that_a_req_would_not_get_is_closed(
    filters: list[dict[str, object]], reason: str, autojump_clock: MockClock
) -> None:
    limits = Limits(max_filters=2, max_filter_values=8)
    async with open_door(limits=limits, has_search=False) as door, door.client() as client:
        await client.send("COUNT", "a", *filters)
        assert await client.receive() == ["CLOSED", "a", reason]
        assert await client.count("a", {}) == 0
        assert door.relay.statistics().unreadable == 1


async def test_a_count_past_its_deadline_is_closed_and_makes_room_for_the_next(autojump_clock: MockClock) -> None:
    store = await filled_store()
    store.block("count")
    limits, options = Limits(max_subscriptions=1), RelayOptions(query_seconds=3)
    async with open_door(store, limits=limits, options=options) as door, door.client() as client:
        started = trio.current_time()
        await client.send("COUNT", "a", {})
        await client.send("REQ", "b", {})
        full = "error: at most 1 subscriptions on a connection (max_subscriptions)"
        assert await client.receive() == ["CLOSED", "b", full]
        reason = "error: the query took more than 3 seconds (query_seconds)"
        assert await client.receive() == ["CLOSED", "a", reason]
        assert trio.current_time() - started == 3
        store.release("count")
        assert await client.count("a", {}) == 5


async def test_a_failing_count_is_closed_and_the_connection_stays(autojump_clock: MockClock) -> None:
    store = await filled_store()
    store.failing["count"] = "disk is gone"
    async with open_door(store) as door, door.client() as client:
        await client.send("COUNT", "a", {})
        assert await client.receive() == ["CLOSED", "a", "error: disk is gone"]
        assert len(await client.ask("a", {})) == 5


async def test_one_client_has_two_counts_or_queries_at_a_time(autojump_clock: MockClock) -> None:
    store = await filled_store()
    store.block("count")
    async with open_door(store) as door, door.client() as greedy, door.client() as modest:
        for _ in range(10):
            await greedy.send("COUNT", "same", {})
        await greedy.send("REQ", "after", {"limit": 1})
        await wait_all_tasks_blocked()
        assert (store.calls["count"], store.calls["query"]) == (2, 0)
        assert len(await modest.ask("others", {})) == 5
        store.release("count")
        answers = [await greedy.receive() for _ in range(12)]
        assert answers.count(["COUNT", "same", {"count": 5}]) == 10
        assert answers.count(["EOSE", "after"]) == 1


async def test_close_ends_the_counts_of_its_id_without_a_word(autojump_clock: MockClock) -> None:
    store = await filled_store()
    store.block("count")
    async with open_door(store) as door, door.client() as client:
        for sub_id in ("a", "b", "a"):
            await client.send("COUNT", sub_id, {})
        await wait_all_tasks_blocked()
        await client.send("CLOSE", "a")
        await wait_all_tasks_blocked()
        assert store.cancelled["count"] == 1  # the second of its id had not had its turn
        store.release("count")
        assert await client.receive() == ["COUNT", "b", {"count": 5}]
        await client.expect_silence()


async def test_a_count_that_comes_back_as_it_is_closed_is_silent(autojump_clock: MockClock) -> None:
    store = await filled_store()
    store.block("count")
    async with open_door(store) as door, door.client() as client:
        await client.send("COUNT", "a", {})
        await wait_all_tasks_blocked()
        [one] = [client for client in door.server.connections if client.open_requests]
        store.release("count")
        [counting] = one.open_requests
        counting.end()  # as CLOSE does, in the very turn in which the answer comes
        await client.expect_silence()
        assert one.open_requests == []


@pytest.mark.parametrize("leaves_properly", [True, False])
async def test_the_counts_of_a_client_who_leaves_are_cancelled(
    leaves_properly: bool, autojump_clock: MockClock
) -> None:
    store = await filled_store()
    store.block("count")
    async with open_door(store, net=NetOptions(close_seconds=5)) as door:
        async with door.client() as client:
            for _ in range(3):
                await client.send("COUNT", "a", {})
            await wait_all_tasks_blocked()
            if leaves_properly:
                await client.connection.aclose()
        await wait_all_tasks_blocked()
        assert store.cancelled["count"] == 2
        assert door.server.statistics().connections == 0
        assert door.relay.statistics().queries.running == 0


async def test_who_says_goodbye_is_not_waited_for_with_his_counts(autojump_clock: MockClock) -> None:
    """He still gets the answers to his events; his COUNT holds no place meanwhile."""
    store = await filled_store()
    store.block("count")
    store.block("save_many")
    async with open_door(store) as door, door.client() as client, trio.open_nursery() as nursery:
        await client.send("COUNT", "a", {})
        await client.send("EVENT", LATER)
        await wait_all_tasks_blocked()
        nursery.start_soon(client.connection.aclose)
        await wait_all_tasks_blocked()
        assert store.cancelled["count"] == 1
        assert door.server.statistics().connections == 1
        store.release("save_many")


async def test_search_that_is_off_closes_a_req(autojump_clock: MockClock) -> None:
    async with open_door(await filled_store(), has_search=False) as door, door.client() as client:
        await client.send("REQ", "a", {"search": "word"})
        assert await client.receive() == ["CLOSED", "a", "unsupported: search is off on this relay"]
        assert len(await client.ask("a", {})) == 5
