"""Connections that say nothing make room for those who come: the one that was waited for longest, of a crowd first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.server import Door, open_door
from tests.support.wire import Wire, open_stream, upgrade
from trio_relay.net import http, http_responses, lobby
from trio_relay.net import server as server_module

pytestmark = pytest.mark.usefixtures("inline_threads")


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MOST_VISITORS", 4)
    monkeypatch.setattr(server_module, "MOST_VISITORS_OF_ONE", 3)


@asynccontextmanager
async def visitors(door: Door, number: int) -> AsyncIterator[list[Wire]]:
    """So many silent connections, a second between one and the next."""
    async with AsyncExitStack() as stack:
        wires = []
        for _ in range(number):
            wires.append(await stack.enter_async_context(open_stream(door)))
            await trio.sleep(1)
        yield wires


async def ended(wires: list[Wire]) -> list[int]:
    """The numbers of those whose connection the relay has ended."""
    await wait_all_tasks_blocked()
    found = []
    for number, wire in enumerate(wires):
        with trio.move_on_after(0.001):
            await wire.receive_end()
            found.append(number)
    return found


@pytest.mark.parametrize(
    ("addresses", "newcomer", "expected"),
    [
        pytest.param(["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"], "5.5.5.5", [0], id="all alone"),
        pytest.param(["1.1.1.1", "2.2.2.2", "3.3.3.3", "3.3.3.3"], "5.5.5.5", [2], id="two of one address"),
        pytest.param(["1.1.1.1", "3.3.3.3", "3.3.3.3", "3.3.3.3"], "3.3.3.3", [1], id="a crowd's own"),
        pytest.param(["127.0.0.1", "127.0.0.1", "3.3.3.3", "3.3.3.3"], "5.5.5.5", [2], id="this machine is no crowd"),
        pytest.param(["2001:db8::1", "2.2.2.2", "1.1.1.1", "2001:db8::2"], "5.5.5.5", [0], id="one network"),
        pytest.param(["3.3.3.3", "3.3.3.3", "3.3.3.3"], "3.3.3.3", [0], id="all that one address may have"),
        pytest.param(["3.3.3.3", "3.3.3.3", "3.3.3.3"], "5.5.5.5", [], id="there is room"),
    ],
)
async def test_whoever_comes_is_served_and_one_makes_room(
    addresses: list[str], newcomer: str, expected: list[int], peers: list[str], autojump_clock: MockClock
) -> None:
    peers += [*addresses, newcomer]
    async with open_door() as door, visitors(door, len(addresses)) as silent, open_stream(door) as last:
        await last.send(upgrade())
        assert (await last.reply()).status == 101
        assert await ended(silent) == expected
        statistics = door.server.statistics()
        assert statistics.refused == len(expected)
        assert statistics.refusals.requests == ({"unanswered": 1} if expected else {})


async def test_who_sends_a_byte_now_and_then_has_been_waited_for_as_long(autojump_clock: MockClock) -> None:
    async with open_door() as door, visitors(door, 4) as silent:
        await silent[0].send(b"GET / HTTP/1.1\r\n")
        await silent[1].send(b"G")
        async with open_stream(door) as last:
            assert (await last.ask()).status == 200
            assert await ended(silent) == [0]


async def test_who_was_answered_is_waited_for_from_then_on(autojump_clock: MockClock) -> None:
    async with open_door() as door, visitors(door, 4) as silent:
        assert (await silent[0].ask()).status == 200
        async with open_stream(door) as last:
            assert (await last.ask()).status == 200
            assert await ended(silent) == [1]


async def test_who_is_being_answered_is_not_silent(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_door() as door:

        async def answer(_request: http.Request, *_others: object) -> http_responses.Response:
            await trio.sleep(9)
            return http_responses.Response(200, b"late\n")

        monkeypatch.setattr(door.server._front, "answer", answer)
        async with AsyncExitStack() as stack:
            busy = [await stack.enter_async_context(open_stream(door)) for _ in range(4)]
            async with trio.open_nursery() as nursery:
                for wire in busy:
                    nursery.start_soon(wire.ask)
                await wait_all_tasks_blocked()
                async with open_stream(door) as last:
                    assert await last.receive_end() == b""  # there is nobody who could make room
                    assert trio.current_time() == 0
            assert door.server.statistics().refused == 1


async def test_a_thousand_that_come_leave_no_more_than_have_a_place(autojump_clock: MockClock) -> None:
    async with open_door() as door, AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(open_stream(door)) for _ in range(100)]
        assert await ended(wires) == list(range(96))
        assert (await wires[-1].ask()).status == 200


async def test_what_has_come_when_the_relay_stops_is_still_read(autojump_clock: MockClock) -> None:
    """The loop of a busy relay may be behind by more than anyone is given to ask in."""
    near, far = (trio.SocketStream(one) for one in trio.socket.socketpair())
    places, began = lobby.Lobby(4, 4, lambda _peer: None), trio.current_time()
    async with near, far:
        with places.visit(near, "1.1.1.1") as visit:
            await trio.sleep(2 * lobby.PARTING_SECONDS)
            await far.send_all(b"GET /")
            places.close()
            await trio.lowlevel.checkpoint()
            assert await visit.receive_some() == b"GET /"
            await trio.sleep_forever()
    assert trio.current_time() - began == 3 * lobby.PARTING_SECONDS
