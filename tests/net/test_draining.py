"""Output over real sockets: what the network takes leaves at once, the rest as the client reads; nothing is left."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.server import Door, open_door, plain, socket_pair
from tests.support.wire import PING, PONG, TEXT, Wire, closing, frame, message, open_wire
from trio_relay import NetOptions
from trio_relay.net import flush
from trio_relay.net.connection import Connection

pytestmark = pytest.mark.usefixtures("inline_threads")

SMALL = NetOptions(outbox_bytes=65_536)
NARROW = partial(socket_pair, 4_096)
"""A connection that holds little more than one of the long events."""
LONG = [ALICE.event(str(number) + "x" * 20_000, created_at=NOW - number) for number in range(12)]


def client_of(door: Door) -> Connection:
    """The only client's own object."""
    [client] = door.server.connections
    return client


def is_draining(client: Connection) -> bool:
    """True while a task of the client's waits for the network."""
    return client._outbox.statistics().is_draining


def tasks_of(client: Connection) -> int:
    """How many tasks it has beside the one that reads."""
    assert client._tasks is not None
    return len(client._tasks.child_tasks)


async def filled_store(is_quick: bool) -> ObedientStore:
    store = ObedientStore(is_quick=is_quick)
    await store.save_many(LONG)
    return store


async def expect_nothing_left(door: Door, client: Connection, tasks_before: int) -> None:
    """The client is gone with all that it had."""
    await wait_all_tasks_blocked()
    assert client._tasks is None
    assert not is_draining(client)
    assert client.open_requests == []
    assert door.relay.statistics().broadcaster.subscriptions == 0
    assert door.server.statistics().connections == 0
    assert trio.lowlevel.current_statistics().tasks_living == tasks_before


async def read_slowly(wire: Wire, bytes_at_a_time: int) -> list[list[Any]]:
    """Messages up to EOSE, read in small parts with half a second between them."""
    received: list[list[Any]] = []
    wire.pause, wire.most_bytes = 0.5, bytes_at_a_time
    while not received or received[-1][0] != "EOSE":
        received.append(await wire.receive())
    wire.pause, wire.most_bytes = 0, None
    return received


async def test_what_the_network_takes_needs_no_task(autojump_clock: MockClock) -> None:
    async with open_door(await filled_store(is_quick=True)) as door, open_wire(door, socket_pair) as wire:
        await wire.send(message("REQ", "some", {"limit": 3}), message("EVENT", ALICE.event("new")))
        await wait_all_tasks_blocked()
        assert tasks_of(client_of(door)) == 0
        assert not is_draining(client_of(door))
        received = [await wire.receive() for _ in range(6)]
    new = ALICE.event("new")
    assert received[4:] == [["OK", new.id, True, ""], ["EVENT", "some", plain(new)]]
    assert received[:4] == [*(["EVENT", "some", plain(event)] for event in LONG[:3]), ["EOSE", "some"]]


async def test_the_answers_to_one_read_leave_in_one_piece_and_ask_for_no_flush(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushes: list[object] = []
    async with open_door(await filled_store(is_quick=True)) as door, open_wire(door, socket_pair) as wire:
        monkeypatch.setattr(flush.Flushes, "add", lambda _flushes, flush: flushes.append(flush))
        await wire.send(
            message("REQ", "a", {"limit": 1}), frame(PING, b"?"), message("CLOSE", 7), message("REQ", "b", {"limit": 0})
        )
        await wait_all_tasks_blocked()
        data = bytes(await wire.stream.receive_some(2**20))
        wire._read += data
        assert [await wire.receive() for _ in range(2)] == [["EVENT", "a", plain(LONG[0])], ["EOSE", "a"]]
        assert (await wire.receive())[0] == "NOTICE"
        assert await wire.receive() == ["EOSE", "b"]
        assert await wire.receive_frame() == (PONG, b"?")
        assert (wire._read, flushes) == (b"", [])


@pytest.mark.parametrize("is_quick", [True, False])
@pytest.mark.parametrize("net", [NetOptions(), SMALL])
async def test_who_reads_slowly_gets_everything_in_its_order(
    is_quick: bool, net: NetOptions, autojump_clock: MockClock
) -> None:
    async with open_door(await filled_store(is_quick), net=net) as door, open_wire(door, NARROW) as wire:
        await wire.send(message("REQ", "all", {}))
        await wait_all_tasks_blocked()
        assert is_draining(client_of(door))
        received = await read_slowly(wire, 9_000)
        assert received == [*(["EVENT", "all", plain(event)] for event in LONG), ["EOSE", "all"]]
        await wait_all_tasks_blocked()
        assert tasks_of(client_of(door)) == 0
        assert not is_draining(client_of(door))
        await wire.send(message("REQ", "next", {"limit": 0}))
        assert await wire.receive() == ["EOSE", "next"]


async def test_live_events_that_come_while_others_leave_follow_them(autojump_clock: MockClock) -> None:
    async with (
        open_door(await filled_store(is_quick=True)) as door,
        open_wire(door, NARROW) as wire,
        door.client() as speaker,
    ):
        await wire.send(message("REQ", "all", {}))
        await wait_all_tasks_blocked()
        live = [ALICE.event(f"live {number}") for number in range(50)]
        for event in live:
            await speaker.publish(event)
        received = await read_slowly(wire, 20_000)
        received += [await wire.receive() for _ in live]
        assert [one[2]["id"] for one in received if one[0] == "EVENT"] == [event.id for event in [*LONG, *live]]


async def test_a_burst_that_the_network_takes_is_no_reason_to_leave_anyone(autojump_clock: MockClock) -> None:
    """Twelve events of one batch are four times the outbox; offered to the kernel they are not in the way."""
    async with (
        open_door(net=SMALL) as door,
        open_wire(door, partial(socket_pair, 2**20)) as wire,
        open_wire(door) as speaker,
    ):
        await wire.send(message("REQ", "live", {"limit": 0}))
        assert await wire.receive() == ["EOSE", "live"]
        await speaker.send(*(message("EVENT", event) for event in LONG))
        received = [await wire.receive() for _ in LONG]
        assert [one[2]["id"] for one in received] == [event.id for event in LONG]
        assert door.server.statistics().close_reasons == {}


async def test_who_does_not_read_is_left_and_told_so(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with open_door(net=SMALL) as door, open_wire(door, NARROW) as wire, door.client() as speaker:
        await wire.send(message("REQ", "live", {"limit": 0}))
        assert await wire.receive() == ["EOSE", "live"]
        for event in LONG:
            await speaker.publish(event)
        await trio.sleep(0.5)
        assert await wire.receive() == ["EVENT", "live", plain(LONG[0])]
        while (found := await wire.receive_frame())[0] == TEXT:
            pass
        assert found[1] == b"\x03\xf0too slow: messages wait to be read"
        await trio.sleep(1)
        assert door.server.statistics().close_reasons == {"too slow": 1}


async def test_a_stuck_client_is_aborted(autojump_clock: MockClock) -> None:
    async with open_door(await filled_store(is_quick=True)) as door, trio.open_nursery():
        tasks_before = trio.lowlevel.current_statistics().tasks_living
        async with open_wire(door, NARROW) as wire:
            await wire.send(message("REQ", "all", {}))
            await wait_all_tasks_blocked()
            client = client_of(door)
            await trio.sleep(19)
            assert door.server.statistics().connections == 1
            await trio.sleep(2)
            assert door.server.statistics().close_reasons == {"stuck": 1}
            await expect_nothing_left(door, client, tasks_before)


async def test_a_goodbye_waits_until_all_has_left(autojump_clock: MockClock) -> None:
    async with open_door(await filled_store(is_quick=True)) as door, open_wire(door, NARROW) as wire:
        await wire.send(message("REQ", "all", {}))
        await wait_all_tasks_blocked()
        door.stop.set()
        await trio.sleep(3)
        received = [await wire.receive() for _ in range(len(LONG) + 1)]
        assert received == [*(["EVENT", "all", plain(event)] for event in LONG), ["EOSE", "all"]]
        assert await wire.receive_close() == (1012, "the relay is stopping")
        await wire.send(closing(1012))
        assert await wire.receive_end() == b""
        assert trio.current_time() == 3


@pytest.mark.parametrize("is_quick", [True, False])
async def test_an_answer_that_has_begun_comes_to_its_end_as_long_as_it_is_read(
    is_quick: bool, autojump_clock: MockClock
) -> None:
    net = NetOptions(outbox_bytes=65_536, close_seconds=5, grace_seconds=60)
    async with open_door(await filled_store(is_quick), net=net) as door, open_wire(door, NARROW) as wire:
        await wire.send(message("REQ", "all", {}))
        await wait_all_tasks_blocked()
        door.stop.set()
        received = await read_slowly(wire, 9_000)
        assert trio.current_time() > 2 * 5
        assert received == [*(["EVENT", "all", plain(event)] for event in LONG), ["EOSE", "all"]]
        assert await wire.receive_close() == (1012, "the relay is stopping")
        await wire.send(closing(1012))
        assert await wire.receive_end() == b""


@pytest.mark.parametrize("is_quick", [True, False])
async def test_of_a_client_that_does_not_read_nothing_more_is_waited_for(
    is_quick: bool, autojump_clock: MockClock
) -> None:
    net = NetOptions(outbox_bytes=65_536, close_seconds=2, grace_seconds=60)
    async with open_door(await filled_store(is_quick), net=net) as door, open_wire(door, NARROW) as wire:
        await wire.send(message("REQ", "all", {}))
        await wait_all_tasks_blocked()
        door.stop.set()
        await trio.sleep(1.9)
        assert door.server.statistics().connections == 1
        await trio.sleep(0.2)
        assert door.server.statistics().connections == 0


async def test_a_goodbye_does_not_wait_for_ever(autojump_clock: MockClock) -> None:
    async with open_door(await filled_store(is_quick=True)) as door, trio.open_nursery():
        tasks_before = trio.lowlevel.current_statistics().tasks_living
        async with open_wire(door, NARROW) as wire:
            await wire.send(message("REQ", "all", {}), closing(1000))
            await wait_all_tasks_blocked()
            client = client_of(door)
            await trio.sleep(5.1)
            assert door.server.statistics().close_reasons == {"closed by client": 1}
            await expect_nothing_left(door, client, tasks_before)


@pytest.mark.parametrize("is_quick", [True, False])
@pytest.mark.parametrize("reads_first", [0, 30_000])
async def test_a_client_that_goes_away_in_the_middle_leaves_nothing_behind(
    is_quick: bool, reads_first: int, autojump_clock: MockClock
) -> None:
    async with open_door(await filled_store(is_quick), net=SMALL) as door:
        await wait_all_tasks_blocked()
        tasks_before = trio.lowlevel.current_statistics().tasks_living
        async with open_wire(door, NARROW) as wire:
            await wire.send(*(message("REQ", str(number), {}) for number in range(5)))
            await wait_all_tasks_blocked()
            client = client_of(door)
            assert is_draining(client)
            if reads_first:
                await wire.stream.receive_some(reads_first)
        await expect_nothing_left(door, client, tasks_before)
        assert list(door.server.statistics().close_reasons) == ["lost"]
        async with door.client() as other:
            assert await other.ask("unhurt", {"limit": 1}) == [plain(LONG[0])]


async def test_a_break_that_is_found_by_sending_ends_the_client_and_hurts_nobody(autojump_clock: MockClock) -> None:
    async with open_door() as door:
        await wait_all_tasks_blocked()
        tasks_before = trio.lowlevel.current_statistics().tasks_living
        async with open_wire(door, socket_pair) as wire:
            await wire.send(message("REQ", "live", {"limit": 0}))
            assert await wire.receive() == ["EOSE", "live"]
            client = client_of(door)
            assert isinstance(wire.stream, trio.SocketStream)
            wire.stream.socket.close()
            # Before its reader comes to know of it.
            client._outbox.send_nowait(b"[]")
            client._outbox.flush()
            assert client._outbox.statistics().waiting == 0
            client._outbox.send_nowait(b"late")
            assert client._outbox.statistics().waiting == 0
            await expect_nothing_left(door, client, tasks_before)
        assert door.server.statistics().close_reasons == {"lost": 1}


@pytest.mark.parametrize("cut", [1, 2, 5, 7, 40])
async def test_a_client_that_goes_in_the_middle_of_a_message_is_gone(cut: int, autojump_clock: MockClock) -> None:
    async with open_door() as door:
        async with open_wire(door, socket_pair) as wire:
            await wire.send(message("EVENT", LONG[1]), message("EVENT", LONG[0])[:cut])
            await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert door.server.statistics().close_reasons == {"lost": 1}
        async with door.client() as client:
            assert await client.ask("all", {}) == [plain(LONG[1])]
