"""Where all places for WebSockets are taken, one that has nothing open and says nothing makes room for a newcomer."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE
from tests.support.server import Door, open_door
from tests.support.syncing import FIRST
from tests.support.wire import PING, PONG, Reply, Wire, frame, message, open_stream, open_wire, upgrade
from trio_relay import NetOptions, SyncOptions

pytestmark = pytest.mark.usefixtures("inline_threads")

FULL = NetOptions(max_connections=3)
IDLE = (1013, "idle: others wait for this place")
CROWDED = (1013, "too many connections from this address: others wait for a place")


async def knock(door: Door) -> Reply:
    """The answer to a handshake; who was let in leaves at once."""
    async with open_stream(door) as wire:
        await wire.send(upgrade())
        return await wire.reply()


async def stay(*wires: Wire, seconds: int) -> None:
    """Answer pings for so long."""
    for _ in range(seconds):
        await trio.sleep(1)
        for wire in wires:
            await wire.send(frame(PONG))


async def close_of(wire: Wire) -> tuple[int, str]:
    """What the close frame says that comes after pings."""
    opcode, payload = await wire.receive_frame()
    while opcode == PING:
        opcode, payload = await wire.receive_frame()
    return int.from_bytes(payload[:2]), payload[2:].decode()


async def test_a_minute_of_nothing_is_needed_and_pongs_are_nothing(autojump_clock: MockClock) -> None:
    async with open_door(net=FULL) as door, open_wire(door) as one, open_wire(door) as two, open_wire(door) as three:
        wires = (one, two, three)
        await stay(*wires, seconds=30)
        await two.send(message("CLOSE", "something"))
        await stay(*wires, seconds=29)
        assert (await knock(door)).status == 503
        await stay(*wires, seconds=2)
        async with open_wire(door) as four:
            assert await close_of(one) == IDLE
            assert (await knock(door)).status == 101
            assert await close_of(three) == IDLE
            assert (await knock(door)).status == 101  # the place of the last one, which has left
            await two.send(message("REQ", "a", {"limit": 0}))
            await four.send(message("REQ", "a", {"limit": 0}))
            assert await four.receive() == ["EOSE", "a"]
        await trio.sleep(2)
        assert door.server.statistics().close_reasons["idle"] == 2


async def test_who_is_in_the_middle_of_a_long_message_is_not_idle(autojump_clock: MockClock) -> None:
    """Over a slow line a quarter of a megabyte takes longer than a minute."""
    event = message("EVENT", ALICE.event("a" * 260_000))
    step = len(event) // 72 + 1
    async with open_door(net=NetOptions(max_connections=1)) as door, open_wire(door) as slow:
        for start in range(0, len(event), step):
            await trio.sleep(1)
            await slow.send(event[start : start + step])
            if start > 65 * step:
                assert (await knock(door)).status == 503
        assert (await slow.receive())[:1] == ["OK"]


@pytest.mark.parametrize(
    "opening",
    [
        pytest.param(message("REQ", "a", {"limit": 0}), id="a subscription"),
        pytest.param(message("NEG-OPEN", "a", {}, FIRST.hex()), id="a sync"),
    ],
)
async def test_who_has_something_open_stays(opening: bytes, autojump_clock: MockClock) -> None:
    net, sync = NetOptions(max_connections=1), SyncOptions(idle_seconds=200)
    async with open_door(net=net, sync=sync) as door, open_wire(door) as wire:
        await wire.send(opening)
        await wire.receive()
        await stay(wire, seconds=110)
        assert (await knock(door)).status == 503
        assert door.server.statistics().close_reasons == {}


async def test_of_those_the_address_with_most_goes_first(peers: list[str], autojump_clock: MockClock) -> None:
    peers += ["1.1.1.1", "2.2.2.2", "2.2.2.2", "4.4.4.4"]
    async with open_door(net=FULL) as door, AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(open_wire(door)) for _ in range(3)]
        await stay(*wires, seconds=61)
        assert (await knock(door)).status == 101
        assert await close_of(wires[1]) == IDLE


async def test_an_address_with_more_than_half_of_all_places_makes_room_whatever_it_has_open(
    peers: list[str], autojump_clock: MockClock
) -> None:
    peers += ["2.2.2.2", "2.2.2.2", "1.1.1.1", "2.2.2.2", "4.4.4.4", "5.5.5.5"]
    async with open_door(net=FULL) as door, AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(open_wire(door)) for _ in range(3)]
        for wire in wires[::-1]:
            await wire.send(message("REQ", "a", {"limit": 0}))
            assert await wire.receive() == ["EOSE", "a"]
            await trio.sleep(1)
        assert (await knock(door)).status == 503  # of the same address
        await trio.sleep(2)
        async with open_wire(door):
            assert await wires[1].receive_close() == CROWDED
            await wait_all_tasks_blocked()
            assert (await knock(door)).status == 503  # nobody has more than half any more
        await trio.sleep(2)
        assert door.server.statistics().close_reasons["crowded"] == 1
