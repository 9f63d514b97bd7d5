"""One client's requests in turn: quick answers stay behind one that waits, and CLOSE and replacement do as before."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.server import open_door, plain, socket_pair
from tests.support.wire import Wire, message, open_wire
from trio_relay import Limits, NetOptions, turns

pytestmark = pytest.mark.usefixtures("inline_threads")

NOTES = [ALICE.event(str(age), created_at=NOW - age) for age in range(5)]
LATER = BOB.event("later")


async def quick_store() -> ObedientStore:
    store = ObedientStore(is_quick=True)
    await store.save_many(NOTES)
    return store


async def hold_up(wire: Wire, store: ObedientStore, sub_id: str) -> None:
    """Ask for something that has to wait at the store's gate; all else may be quick again."""
    store.block("query")
    store.is_quick = False
    await wire.send(message("REQ", sub_id, {}))
    await wait_all_tasks_blocked()
    store.is_quick = True


async def received(wire: Wire, number: int) -> list[list[Any]]:
    return [await wire.receive() for _ in range(number)]


async def test_a_quick_answer_does_not_overtake_one_that_waits_of_the_same_client(autojump_clock: MockClock) -> None:
    store = await quick_store()
    async with open_door(store) as door, open_wire(door) as wire, open_wire(door) as other:
        await hold_up(wire, store, "slow")
        await wire.send(message("REQ", "quick", {"limit": 1}))
        await other.send(message("REQ", "other", {"limit": 1}))
        assert await received(other, 2) == [["EVENT", "other", plain(NOTES[0])], ["EOSE", "other"]]
        await wait_all_tasks_blocked()
        assert store.calls["query_nowait"] == 1  # the other's
        with trio.move_on_after(1) as patience:
            await wire.receive()
        assert patience.cancelled_caught
        store.release("query")
        ends = {one[1] for one in await received(wire, len(NOTES) + 3) if one[0] == "EOSE"}
        assert ends == {"slow", "quick"}
        await wire.send(message("REQ", "again", {"limit": 1}))
        assert await received(wire, 2) == [["EVENT", "again", plain(NOTES[0])], ["EOSE", "again"]]
        assert store.calls["query_nowait"] == 2
        assert door.relay.statistics().queries.at_once == 2


async def test_once_the_one_that_waits_is_closed_answers_are_quick_again(autojump_clock: MockClock) -> None:
    store = await quick_store()
    async with open_door(store) as door, open_wire(door) as wire:
        await hold_up(wire, store, "slow")
        await wire.send(message("CLOSE", "slow"))
        await wait_all_tasks_blocked()
        await wire.send(message("REQ", "quick", {"limit": 1}))
        assert await received(wire, 2) == [["EVENT", "quick", plain(NOTES[0])], ["EOSE", "quick"]]
        assert store.cancelled["query"] == 1
        store.release("query")
        assert door.relay.statistics().broadcaster.subscriptions == 1


@pytest.mark.parametrize("waits", [True, False])
async def test_a_req_of_the_same_id_replaces_the_other_whichever_is_quick(
    waits: bool, autojump_clock: MockClock
) -> None:
    """NIP-01: a REQ with an open id overwrites that subscription."""
    store = await quick_store()
    async with open_door(store) as door, open_wire(door) as wire, door.client() as speaker:
        if waits:
            await hold_up(wire, store, "sub")
        else:
            await wire.send(message("REQ", "sub", {"limit": 0}))
            assert await received(wire, 1) == [["EOSE", "sub"]]
        await wire.send(message("REQ", "sub", {"kinds": [7]}))
        if waits:
            await wait_all_tasks_blocked()
            assert store.cancelled["query"] == 1
            store.release("query")
        assert await received(wire, 1) == [["EOSE", "sub"]]
        reaction = BOB.event("+", kind=7)
        await speaker.publish(LATER)
        await speaker.publish(reaction)
        assert await received(wire, 1) == [["EVENT", "sub", plain(reaction)]]
        assert door.relay.statistics().broadcaster.subscriptions == 1


async def test_closed_and_opened_again_in_one_read_a_subscription_is_answered_each_time(
    autojump_clock: MockClock,
) -> None:
    async with open_door(await quick_store()) as door, open_wire(door) as wire:
        await wire.send(
            message("REQ", "a", {"limit": 1}),
            message("CLOSE", "a"),
            message("REQ", "a", {"limit": 0}),
            message("REQ", "a", {"bogus": 1}),
            message("REQ", "b", {"limit": 0}),
        )
        answers = await received(wire, 5)
        assert answers[:3] == [["EVENT", "a", plain(NOTES[0])], ["EOSE", "a"], ["EOSE", "a"]]
        assert answers[3][:2] == ["CLOSED", "a"]
        assert answers[4] == ["EOSE", "b"]
        assert door.relay.statistics().broadcaster.subscriptions == 1


async def test_quick_subscriptions_count_for_the_most_that_may_be_open(autojump_clock: MockClock) -> None:
    limits = Limits(max_subscriptions=2)
    async with open_door(await quick_store(), limits=limits) as door, open_wire(door) as wire:
        await wire.send(*(message("REQ", sub_id, {"limit": 0}) for sub_id in "abc"))
        assert [one[:2] for one in await received(wire, 3)] == [["EOSE", "a"], ["EOSE", "b"], ["CLOSED", "c"]]


async def test_answers_larger_than_the_room_go_the_long_way_and_come_whole(autojump_clock: MockClock) -> None:
    store = ObedientStore(is_quick=True)
    long = [ALICE.event(str(number) + "x" * 20_000, created_at=NOW - number) for number in range(12)]
    await store.save_many(long)
    async with open_door(store, net=NetOptions(outbox_bytes=65_536)) as door, open_wire(door) as wire:
        await wire.send(message("REQ", "all", {}), message("REQ", "one", {"limit": 1}))
        found = await received(wire, len(long) + 3)
        assert [item for item in found if item[1] == "all"] == [
            *(["EVENT", "all", plain(event)] for event in long),
            ["EOSE", "all"],
        ]
        assert [item for item in found if item[1] == "one"] == [
            ["EVENT", "one", plain(long[0])],
            ["EOSE", "one"],
        ]
        assert door.relay.statistics().queries.at_once == 0


@pytest.mark.parametrize("closes", [True, False])
async def test_of_a_storm_of_requests_with_one_id_only_the_first_and_the_last_are_tried_at_once(
    closes: bool, autojump_clock: MockClock
) -> None:
    """Each try may take a while of everyone's time, and replacing an answer that waits must not earn one each."""
    store = ObedientStore(is_quick=True)
    long = [ALICE.event(str(number) + "x" * 20_000, created_at=NOW - number) for number in range(12)]
    await store.save_many(long)
    async with open_door(store, net=NetOptions(outbox_bytes=65_536)) as door, open_wire(door) as wire:
        again = [message("CLOSE", "sub")] if closes else []
        await wire.send(*[*again, message("REQ", "sub", {"kinds": [1]})] * 100)
        assert await received(wire, len(long) + 1) == [
            *(["EVENT", "sub", plain(one)] for one in long),
            ["EOSE", "sub"],
        ]
        assert (store.calls["query_nowait"], store.calls["query"]) == (2, 0)  # what the last try found is sent
        assert door.relay.statistics().broadcaster.subscriptions == 1
        await wire.send(message("REQ", "sub", {"limit": 1}))
        assert await received(wire, 2) == [["EVENT", "sub", plain(long[0])], ["EOSE", "sub"]]
        assert store.calls["query_nowait"] == 3


class Spawned(trio.abc.Instrument):
    """Counts tasks that were started."""

    number = 0

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.number += 1


async def test_what_is_closed_while_it_waits_has_no_task_and_is_never_asked_of_the_store(
    autojump_clock: MockClock,
) -> None:
    store = ObedientStore()
    await store.save_many(NOTES)
    spawned = Spawned()
    async with open_door(store) as door, open_wire(door) as wire:
        trio.lowlevel.add_instrument(spawned)
        asked = [(message("REQ", str(number), {}), message("CLOSE", str(number))) for number in range(100)]
        await wire.send(*(one for pair in asked for one in pair))
        await wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(spawned)
        assert spawned.number <= 2
        assert store.calls["query"] == 0
        assert door.relay.statistics().broadcaster.subscriptions == 0
        await wire.send(message("REQ", "last", {"limit": 1}))
        assert await received(wire, 2) == [["EVENT", "last", plain(NOTES[0])], ["EOSE", "last"]]


async def test_what_waited_behind_a_long_answer_is_tried_at_once_when_that_has_been_sent(
    autojump_clock: MockClock,
) -> None:
    store = await quick_store()
    async with open_door(store) as door, open_wire(door) as wire:
        await hold_up(wire, store, "slow")
        await wire.send(message("REQ", "slow too", {}))
        for number in range(5):
            await wire.send(message("REQ", str(number), {"limit": 1}))
        await wait_all_tasks_blocked()
        assert store.calls["query"] == 2
        store.release("query")
        ends = [one[1] for one in await received(wire, 2 * len(NOTES) + 12) if one[0] == "EOSE"]
        assert sorted(ends) == ["0", "1", "2", "3", "4", "slow", "slow too"]
        assert store.calls["query"] < 7


async def test_a_long_read_sends_what_is_answered_and_gives_others_a_turn(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "SECONDS", -1.0)
    seen: list[bytes] = []
    async with (
        open_door(await quick_store()) as door,
        open_wire(door, socket_pair) as wire,
        trio.open_nursery() as nursery,
    ):
        assert isinstance(wire.stream, trio.SocketStream)
        line = wire.stream.socket.fileno()

        async def look_each_turn() -> None:
            while True:
                with suppress(BlockingIOError):
                    seen.append(os.read(line, 2**20))
                await trio.lowlevel.checkpoint()

        await wire.send(*(message("REQ", str(number), {"limit": 1}) for number in range(20)))
        nursery.start_soon(look_each_turn)
        with trio.fail_after(10):
            while b"".join(seen).count(b"EOSE") < 20:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    # Who of two tasks comes first is chance, so that two answers may be seen together.
    assert max(data.count(b"EOSE") for data in seen) <= 2
