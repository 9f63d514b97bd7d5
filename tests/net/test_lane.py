"""The lane: who uses much of the loop goes on one at a time, and nobody else waits for more than one of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.ledger import Ledger
from tests.support.marks import replaces_what_is_compiled
from tests.support.server import open_door
from tests.support.wire import TEXT, frame, open_wire
from trio_relay.net.lane import Lane, Pace
from trio_relay.nostr.message import ClientMessage
from trio_relay.nostr.session import Session

MILLISECOND = 0.001


async def work(pace: Pace, clock: MockClock, seconds: float) -> None:
    """One turn of a client's."""
    await pace.begin(trio.current_time())
    clock.jump(seconds)
    pace.pause(trio.current_time())


@asynccontextmanager
async def open_lane() -> AsyncIterator[Lane]:
    lane = Lane(trio.current_time)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lane.run)
        yield lane
        nursery.cancel_scope.cancel()


class Passes(trio.abc.Instrument):
    """Counts them."""

    number = 0

    def before_io_wait(self, timeout: float) -> None:
        self.number += 1


async def test_each_pass_has_time_for_a_long_turn_and_for_all_short_ones(mock_clock: MockClock) -> None:
    passes = Passes()
    trio.lowlevel.add_instrument(passes)
    turns, short = Counter[int](), Counter[int]()
    async with open_lane() as lane:

        async def busy(number: int) -> None:
            pace = Pace(lane, number)
            for _ in range(20):
                await work(pace, mock_clock, 2 * MILLISECOND)
                turns[passes.number] += 1
                await trio.lowlevel.checkpoint()

        async def brief() -> None:
            pace = Pace(lane, "brief")
            while turns.total() < 400:
                await work(pace, mock_clock, 0.2 * MILLISECOND)
                short[passes.number] += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(busy, number)
            nursery.start_soon(brief)
        assert turns.total() == 400
        settled = sorted(turns)[4:]
        assert max(turns[one] for one in settled) <= 2
        assert all(short[one] == 1 for one in settled[:-1])


async def test_one_long_turn_is_made_up_for(mock_clock: MockClock) -> None:
    passes = Passes()
    trio.lowlevel.add_instrument(passes)
    async with open_lane() as lane:
        pace = Pace(lane, "a")
        await work(pace, mock_clock, 20 * MILLISECOND)
        before = passes.number
        await work(pace, mock_clock, 2 * MILLISECOND)
        assert passes.number - before >= 4


async def test_those_in_line_have_turns_by_whom_they_count_as(mock_clock: MockClock) -> None:
    order: list[str] = []
    async with open_lane() as lane:
        paces = {name: Pace(lane, name[0]) for name in ("a1", "a2", "a3", "a4", "b1", "c1")}
        for pace in paces.values():
            await work(pace, mock_clock, 4 * MILLISECOND)
        lane.charge("x", 0.1)

        async def go_on(name: str) -> None:
            await work(paces[name], mock_clock, 4 * MILLISECOND)
            order.append(name)

        async with trio.open_nursery() as nursery:
            for name in paces:
                nursery.start_soon(go_on, name)
                await trio.lowlevel.checkpoint()
        assert {name[0] for name in order[:4]} == {"a", "b", "c"}


async def test_who_has_used_less_comes_before_those_who_wait_already(mock_clock: MockClock) -> None:
    order: list[str] = []
    async with open_lane() as lane:
        for name in "abc":
            lane.charge(name, 0.2)
        lane.charge("light", 0.01)

        async def enter(name: str) -> None:
            await lane.enter(name)
            lane.charge(name, 0.002)
            order.append(name)

        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(enter, name)
            await trio.lowlevel.checkpoint()
            nursery.start_soon(enter, "light")
    assert order[0] == "light"
    assert sorted(order[1:]) == ["a", "b", "c"]


async def test_who_has_used_much_is_not_kept_waiting_for_ever_by_those_who_come_later(mock_clock: MockClock) -> None:
    async with open_lane() as lane:
        lane.charge("much", 0.05)
        over = trio.Event()
        served = Counter[str]()

        async def newcomer(name: str) -> None:
            await lane.enter(name)
            lane.charge(name, 0.002)
            served[name] += 1

        async def much() -> None:
            await lane.enter("much")
            over.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(much)
            number = 0
            while not over.is_set():
                for _ in range(2):  # twice as many as passes have time for
                    nursery.start_soon(newcomer, f"new {number}")
                    number += 1
                mock_clock.jump(0.002)
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert 10 < served.total() < 1_000  # half of a second, by `_BEHIND`


async def test_little_that_a_busy_client_says_is_heard_in_each_pass_unless_it_takes_long(mock_clock: MockClock) -> None:
    async with open_lane() as lane:
        pace = Pace(lane, "a")
        await work(pace, mock_clock, 20 * MILLISECOND)
        assert lane.is_heavy("a")
        assert not pace.begin_nowait(trio.current_time(), 5_000)
        assert pace.begin_nowait(trio.current_time(), 500)
        mock_clock.jump(0.3 * MILLISECOND)
        pace.pause(trio.current_time())
        assert pace.begin_nowait(trio.current_time(), 500)
        mock_clock.jump(1.5 * MILLISECOND)
        pace.pause(trio.current_time())
        assert not pace.begin_nowait(trio.current_time(), 500)
        mock_clock.jump(30)
        await work(pace, mock_clock, 0.1 * MILLISECOND)
        assert pace.begin_nowait(trio.current_time(), 5_000)


async def test_who_leaves_while_it_waits_takes_nothing_along(mock_clock: MockClock) -> None:
    async with open_lane() as lane:
        lane.charge("x", 0.1)
        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(lane.enter, name)
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        with trio.fail_after(1):
            await lane.enter("y")
            await wait_all_tasks_blocked()
            await lane.enter("y")


async def test_short_turns_count_for_nothing_and_long_ones_fade(mock_clock: MockClock) -> None:
    async with open_lane() as lane:
        for _ in range(1_000):
            await work(Pace(lane, "honest"), mock_clock, 0.2 * MILLISECOND)
        assert not lane.is_heavy("honest")
        await work(Pace(lane, "a"), mock_clock, 20 * MILLISECOND)
        assert lane.is_heavy("a")
        mock_clock.jump(20)
        assert not lane.is_heavy("a")


@replaces_what_is_compiled
async def test_a_crowd_of_busy_clients_makes_nobody_wait_for_all_of_them(
    mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message of theirs takes a millisecond, and turns have two or three of them."""
    receive, heard, is_time = Session.receive, list[bytes](), trio.Event()

    def slow(session: Session, data: bytes) -> ClientMessage:
        heard.append(data)
        mock_clock.jump(MILLISECOND)
        if len(heard) == 3_000:
            is_time.set()
        return receive(session, data)

    monkeypatch.setattr(Session, "receive", slow)
    monkeypatch.setattr(time, "thread_time", trio.current_time)
    async with open_door() as door, AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(open_wire(door)) for _ in range(20)]
        quiet = await stack.enter_async_context(open_wire(door))
        for wire in crowd:
            await wire.send(*[frame(TEXT, b"talk")] * 250)
        await is_time.wait()
        await quiet.send(frame(TEXT, b"a word"))
        await wait_all_tasks_blocked()
    assert len(heard) == 5_001
    assert heard.index(b"a word") - 3_000 <= 40


async def test_each_turn_is_charged_to_the_account_by_what_it_took(mock_clock: MockClock) -> None:
    account = Ledger()
    async with open_lane() as lane:
        pace = Pace(lane, "a", account)
        await work(pace, mock_clock, 0.1 * MILLISECOND)
        await work(pace, mock_clock, 20 * MILLISECOND)
        pace.pause(trio.current_time())  # again: nothing has been done meanwhile
    alone = Pace(None, "b", account)
    await work(alone, mock_clock, 3 * MILLISECOND)
    assert account.charged == pytest.approx([0.0001, 0.02, 0.003])
