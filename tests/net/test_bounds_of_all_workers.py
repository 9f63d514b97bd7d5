"""What is bounded for the whole relay is so over all of its workers: connections, visitors, syncs, of one address too.

Two workers are two servers of one process here, which know of each other by the scoreboard alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.net.test_sync_places import GAVE_WAY, NOTES, opened
from tests.support.scoreboards import boards, replaced
from tests.support.server import Door, open_door
from tests.support.syncing import FIRST
from tests.support.wire import message, open_stream, open_wire, upgrade
from trio_relay import MemoryStore, NetOptions, SyncOptions
from trio_relay.net import server as server_module
from trio_relay.pipeline import sync_sets

pytestmark = pytest.mark.usefixtures("inline_threads")

TOO_MANY = "error: too many syncs are running"


@asynccontextmanager
async def two_doors(net: NetOptions | None = None, sync: SyncOptions | None = None) -> AsyncIterator[list[Door]]:
    store = MemoryStore()
    await store.save_many(NOTES)
    with boards(2) as (_, opened_boards):
        async with AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(open_door(store, net=net, sync=sync, scoreboard=board))
                for board in opened_boards
            ]


async def knock(door: Door) -> tuple[int, bytes]:
    """The answer to a handshake; who was let in leaves at once."""
    async with open_stream(door) as wire:
        await wire.send(upgrade())
        reply = await wire.reply()
    await wait_all_tasks_blocked()
    return reply.status, reply.body


async def test_the_eleventh_connection_is_refused_wherever_it_comes(autojump_clock: MockClock) -> None:
    async with two_doors(NetOptions(max_connections=10)) as doors, AsyncExitStack() as stack:
        for number in range(10):
            assert [(await knock(door))[0] for door in doors] == [101, 101]
            await stack.enter_async_context(open_wire(doors[number % 3 == 0]))
        assert [len(door.server.connections) for door in doors] == [6, 4]
        assert [await knock(door) for door in doors] == [(503, b"too many connections\n")] * 2
        await stack.aclose()
        await wait_all_tasks_blocked()
        assert [(await knock(door))[0] for door in doors] == [101, 101]


async def test_one_address_has_so_many_on_all_workers_together(peers: list[str], autojump_clock: MockClock) -> None:
    async with two_doors(NetOptions(max_connections_per_address=3)) as doors, AsyncExitStack() as stack:
        peers += ["2001:db8::1", "2001:db8::2", "2001:db8::3"]
        for door in (doors[0], doors[1], doors[0]):
            await stack.enter_async_context(open_wire(door))
        for door in doors:
            peers += ["2001:db8::4", "2001:db8:0:1::1", "192.0.2.1"]
            assert await knock(door) == (429, b"too many connections from this address\n")
            assert [(await knock(door))[0] for _ in range(2)] == [101, 101]


async def test_one_that_is_here_makes_room_for_who_comes_here(autojump_clock: MockClock) -> None:
    net = NetOptions(max_connections=2, ping_seconds=300)
    async with two_doors(net) as (here, there), open_wire(there), open_wire(here):
        await trio.sleep(61)
        assert (await knock(here))[0] == 101
        await trio.sleep(2)
        assert [door.server.statistics().close_reasons.get("idle", 0) for door in (here, there)] == [1, 0]


async def test_an_address_with_more_than_half_of_all_makes_room_wherever_it_is(
    peers: list[str], autojump_clock: MockClock
) -> None:
    peers += ["1.1.1.1", "1.1.1.1", "1.1.1.1", "2.2.2.2"]
    net = NetOptions(max_connections=4)
    async with two_doors(net) as (here, there), AsyncExitStack() as stack:
        one, *_ = [await stack.enter_async_context(open_wire(door)) for door in (here, there, there, there)]
        await trio.sleep(1)
        peers += ["3.3.3.3", "3.3.3.3"]
        await stack.enter_async_context(open_wire(here))
        reason = b"too many connections from this address: others wait for a place"
        assert (await one.receive_frame())[1][2:] == reason
        assert (await knock(there))[0] == 503  # it has half of all places now


async def test_visitors_of_all_workers_count(
    peers: list[str], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MOST_VISITORS", 4)
    monkeypatch.setattr(server_module, "MOST_VISITORS_OF_ONE", 2)
    async with two_doors() as (here, there), AsyncExitStack() as stack:
        peers += ["1.1.1.1", "1.1.1.1"]
        first, second = [await stack.enter_async_context(open_stream(door)) for door in (there, here)]
        await wait_all_tasks_blocked()
        peers += ["1.1.1.1"]  # has all it may have: its other one here makes room
        third = await stack.enter_async_context(open_stream(here))
        assert await second.receive_end() == b""
        peers += ["2.2.2.2", "3.3.3.3", "4.4.4.4"]
        for door in (here, there):
            await trio.sleep(1)
            await stack.enter_async_context(open_stream(door))
        await wait_all_tasks_blocked()
        await stack.enter_async_context(open_stream(here))  # all are taken: the longest here makes room
        assert await third.receive_end() == b""
        assert (await first.ask()).status == 200
        assert [door.server.statistics().refused for door in (here, there)] == [2, 0]


@pytest.fixture
def few_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_sets, "MOST_SESSIONS", 6)
    monkeypatch.setattr(sync_sets, "_MOST_SESSIONS_OF_ONE", 4)
    monkeypatch.setattr(sync_sets, "_CROWD", 4)


@pytest.mark.usefixtures("few_syncs")
async def test_syncs_of_all_workers_count(peers: list[str], autojump_clock: MockClock) -> None:
    async with two_doors() as (here, there), AsyncExitStack() as stack:
        peers += ["1.1.1.1", "2.2.2.2", "3.3.3.3"]
        one, two, late = [await stack.enter_async_context(open_wire(door)) for door in (here, there, there)]
        for number in range(3):
            assert await opened(one, str(number)) == "NEG-MSG"
            assert await opened(two, str(number)) == "NEG-MSG"
        await late.send(message("NEG-OPEN", "late", {}, FIRST.hex()))
        assert await late.receive() == ["NEG-ERR", "late", TOO_MANY]
        await trio.sleep(6)
        assert await opened(late, "late") == "NEG-MSG"
        assert await two.receive() == ["NEG-ERR", "0", GAVE_WAY]
        assert [door.relay.statistics().syncing.sessions for door in (here, there)] == [3, 3]


@pytest.mark.usefixtures("few_syncs")
async def test_syncs_of_one_address_count_on_all_workers(peers: list[str], autojump_clock: MockClock) -> None:
    async with two_doors() as (here, there), AsyncExitStack() as stack:
        peers += ["1.1.1.1", "1.1.1.1", "1.1.1.1", "2.2.2.2"]
        doors = (here, there, there, there)
        one, two, three, other = [await stack.enter_async_context(open_wire(door)) for door in doors]
        for number in range(3):
            assert await opened(one, str(number)) == "NEG-MSG"
        assert await opened(two, "first") == "NEG-MSG"
        assert await opened(three, "one more") == "NEG-MSG"  # a crowd of four: its own one here makes room
        assert await two.receive() == ["NEG-ERR", "first", GAVE_WAY]
        assert await opened(other, "other") == "NEG-MSG"
        assert [door.relay.statistics().syncing.sessions for door in (here, there)] == [3, 2]


async def test_events_that_syncs_hold_count_on_all_workers(peers: list[str], autojump_clock: MockClock) -> None:
    """24 events are held at most, by sets of six; who holds more than half of them makes room for others."""
    notes = {"kinds": [1]}
    peers += ["1.1.1.1", "1.1.1.1", "2.2.2.2", "3.3.3.3", "3.3.3.3"]
    async with (
        two_doors(sync=SyncOptions(max_events=6, max_events_of_all=24)) as (here, there),
        AsyncExitStack() as stack,
    ):
        doors = (here, there, there, here, there)
        one, same, two, late, later = [await stack.enter_async_context(open_wire(door)) for door in doors]
        assert [await opened(one, "a", notes), await opened(one, "b", notes)] == ["NEG-MSG", "NEG-MSG"]
        assert [await opened(two, "a", notes), await opened(two, "b", notes)] == ["NEG-MSG", "NEG-MSG"]
        for wire in (late, later):
            await wire.send(message("NEG-OPEN", "late", notes, FIRST.hex()))
            assert await wire.receive() == ["NEG-ERR", "late", TOO_MANY]
        await two.send(message("NEG-CLOSE", "a"))
        assert await opened(same, "c", notes) == "NEG-MSG"
        assert await opened(late, "late", notes) == "NEG-MSG"
        assert await one.receive() == ["NEG-ERR", "a", GAVE_WAY]
        assert [door.relay.statistics().syncing.held for door in (here, there)] == [12, 12]


async def test_what_a_dead_worker_held_is_free_again(autojump_clock: MockClock) -> None:
    net = NetOptions(max_connections=3)
    with boards(2) as (keeper, sides):
        async with open_door(net=net, scoreboard=sides[0]) as door, open_wire(door):
            sides[1].connections.note(2, None, 0)
            assert (await knock(door))[0] == 503
            replaced(keeper, sides, 1)
            async with open_wire(door), open_wire(door):
                assert (await knock(door))[0] == 503
