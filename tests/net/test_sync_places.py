"""Syncs that nobody goes on with make room: places of the whole relay, and the events that their sets may hold."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.support.keys import ALICE, NOW
from tests.support.server import open_door
from tests.support.syncing import FIRST
from tests.support.wire import Wire, message, open_wire
from trio_relay import MemoryStore, SyncOptions
from trio_relay.pipeline import sync_sets

pytestmark = pytest.mark.usefixtures("inline_threads")

NOTES = [ALICE.event(str(number), created_at=NOW - number) for number in range(6)]
GAVE_WAY = "closed: others wait for this place, and of this sync nothing was heard for the longest"


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_sets, "MOST_SESSIONS", 6)
    monkeypatch.setattr(sync_sets, "_MOST_SESSIONS_OF_ONE", 4)
    monkeypatch.setattr(sync_sets, "_CROWD", 3)


async def opened(wire: Wire, sync_id: str, filter_: dict[str, Any] | None = None) -> str:
    """Open a sync; gives the verb of the answer to it."""
    await wire.send(message("NEG-OPEN", sync_id, filter_ or {}, FIRST.hex()))
    while (answer := await wire.receive())[1] != sync_id:
        assert answer[0] == "NEG-ERR"
    verb: str = answer[0]
    return verb


async def test_the_longest_idle_of_the_address_with_most_ends_first(
    peers: list[str], autojump_clock: MockClock
) -> None:
    peers += ["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"]
    async with open_door() as door, AsyncExitStack() as stack:
        honest, greedy, other, late = [await stack.enter_async_context(open_wire(door)) for _ in range(4)]
        assert await opened(honest, "mine") == "NEG-MSG"
        for number in range(4):
            await trio.sleep(0.1)
            assert await opened(greedy, f"greedy {number}") == "NEG-MSG"
        assert await opened(other, "other") == "NEG-MSG"
        assert await opened(late, "late") == "NEG-MSG"
        assert await greedy.receive() == ["NEG-ERR", "greedy 0", GAVE_WAY]
        await honest.send(message("NEG-MSG", "mine", FIRST.hex()))
        assert (await honest.receive())[:2] == ["NEG-MSG", "mine"]
        assert door.relay.statistics().syncing.sessions == 6


async def test_who_was_heard_a_moment_ago_stays_where_nobody_has_many(
    peers: list[str], autojump_clock: MockClock
) -> None:
    peers += ["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"]
    async with open_door() as door, AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(open_wire(door)) for _ in range(4)]
        for wire in wires[:3]:
            for sync_id in ("a", "b"):
                assert await opened(wire, sync_id) == "NEG-MSG"
        await wires[3].send(message("NEG-OPEN", "late", {}, FIRST.hex()))
        assert await wires[3].receive() == ["NEG-ERR", "late", "error: too many syncs are running"]
        await trio.sleep(6)
        assert await opened(wires[3], "late") == "NEG-MSG"
        assert await wires[0].receive() == ["NEG-ERR", "a", GAVE_WAY]


async def test_one_address_has_so_many_and_makes_room_for_its_own(peers: list[str], autojump_clock: MockClock) -> None:
    peers += ["1.1.1.1", "1.1.1.1"]
    async with open_door() as door, open_wire(door) as one, open_wire(door) as two:
        for number in range(4):
            assert await opened(one, str(number)) == "NEG-MSG"
        assert await opened(two, "one more") == "NEG-MSG"
        assert await one.receive() == ["NEG-ERR", "0", GAVE_WAY]
        assert door.relay.statistics().syncing.sessions == 4


async def test_sets_of_an_address_that_holds_most_of_all_events_make_room(
    peers: list[str], autojump_clock: MockClock
) -> None:
    """24 events are held at most: 18 of one address, 6 of another, and then 6 of a third."""
    store = MemoryStore()
    await store.save_many(NOTES)
    notes = {"kinds": [1]}
    peers += ["1.1.1.1", "2.2.2.2", "3.3.3.3"]
    async with (
        open_door(store, sync=SyncOptions(max_events=6, max_events_of_all=24)) as door,
        AsyncExitStack() as stack,
    ):
        honest, greedy, late = [await stack.enter_async_context(open_wire(door)) for _ in range(3)]
        assert await opened(honest, "mine", notes) == "NEG-MSG"
        for number in range(3):
            assert await opened(greedy, str(number), notes) == "NEG-MSG"
        assert door.relay.statistics().syncing.held == 24
        assert await opened(late, "late", notes) == "NEG-MSG"
        assert await greedy.receive() == ["NEG-ERR", "0", GAVE_WAY]
        assert await opened(greedy, "again", notes) == "NEG-ERR"  # it holds most, and its others are not idle
        await trio.sleep(6)
        assert await opened(greedy, "again", notes) == "NEG-MSG"
        assert door.relay.statistics().syncing.held == 24


async def test_a_message_that_is_too_long_is_refused_before_it_waits(autojump_clock: MockClock) -> None:
    options = SyncOptions(frame_bytes=4_096)
    async with open_door(sync=options) as door, open_wire(door) as wire:
        await wire.send(message("NEG-OPEN", "a", {}, (FIRST + bytes(8_192)).hex()))
        assert await wire.receive() == ["NEG-ERR", "a", "invalid: a sync's message has at most 8192 bytes"]
        assert door.relay.statistics().syncing.sets_read == 0
