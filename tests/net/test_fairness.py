"""Nobody takes all of the relay for himself: neither its time nor its places."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.marks import replaces_what_is_compiled
from tests.support.server import open_door
from tests.support.wire import TEXT, frame, message, open_stream, open_wire, upgrade
from tests.support.working_store import WorkingStore
from trio_relay.net import server as server_module
from trio_relay.nostr.message import ClientMessage
from trio_relay.nostr.session import Session

pytestmark = pytest.mark.usefixtures("inline_threads")


@replaces_what_is_compiled
async def test_a_client_with_much_to_say_lets_others_have_their_turn(
    monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    heard: list[bytes] = []
    receive = Session.receive

    def slowly(self: Session, data: bytes) -> ClientMessage:
        heard.append(data)
        mock_clock.jump(0.003)
        return receive(self, data)

    monkeypatch.setattr(Session, "receive", slowly)
    async with open_door() as door, open_wire(door) as talker, open_wire(door) as other:
        await talker.send(*(frame(TEXT, b"talk %d" % number) for number in range(10)))
        await other.send(frame(TEXT, b"a word"))
        await wait_all_tasks_blocked()
    assert len(heard) == 11
    assert heard.index(b"a word") < heard.index(b"talk 9")


async def test_visitors_without_end_make_room_for_those_who_come(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(server_module, "MOST_VISITORS", 2)
    async with open_door() as door, open_stream(door) as one, open_stream(door) as two:
        await wait_all_tasks_blocked()
        async with open_stream(door) as three:
            assert (await three.ask()).status == 200
            assert await one.receive_end() == b""
            assert door.server.statistics().refused == 1
            # Who has become a client needs no visitor's place any more.
            await two.send(upgrade())
            assert (await two.reply()).status == 101
            async with open_stream(door) as four:
                assert (await four.ask()).status == 200
            assert (await three.ask()).status == 200
        assert door.server.statistics().connections == 1


@pytest.mark.slow
async def test_many_connections_with_heavy_counts_do_not_make_others_wait(autojump_clock: MockClock) -> None:
    """Each has two at work and more behind them; a step of theirs takes three seconds, with four readers."""
    store = WorkingStore({1: 3.0, 7: 0.02})
    async with open_door(store) as door, AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(open_wire(door)) for _ in range(12)]
        bystander = await stack.enter_async_context(open_wire(door))
        for wire in crowd:
            await wire.send(*(message("COUNT", f"c{number}", {"kinds": [1]}) for number in range(10)))
        await trio.sleep(20)
        for number in range(5):
            began = trio.current_time()
            await bystander.send(message("REQ", f"r{number}", {"kinds": [7]}))
            assert await bystander.receive() == ["EOSE", f"r{number}"]
            assert trio.current_time() - began < 0.2  # they finish one of these and begin the next, at most
        turns = door.relay.statistics().turns
        assert turns.running >= 3
        assert turns.waiting >= 12
    await wait_all_tasks_blocked()
    turns = door.relay.statistics().turns
    assert (turns.running, turns.waiting) == (0, 0)


async def test_what_waits_for_its_turn_can_be_closed_replaced_and_left(autojump_clock: MockClock) -> None:
    store = WorkingStore({1: 5.0, 7: 0.02}, readers=1)
    async with open_door(store) as door:

        def waits() -> int:
            return door.relay.statistics().turns.waiting

        async with open_wire(door) as busy, open_wire(door) as wire:
            await busy.send(message("COUNT", "busy", {"kinds": [1]}))
            await wait_all_tasks_blocked()
            await wire.send(message("REQ", "closed", {"kinds": [7]}), message("COUNT", "count", {"kinds": [7]}))
            await wait_all_tasks_blocked()
            assert waits() == 2
            await wire.send(message("CLOSE", "closed"))
            await wait_all_tasks_blocked()
            assert waits() == 1
            await wire.send(message("REQ", "again", {"kinds": [1]}))
            await wait_all_tasks_blocked()
            await wire.send(message("REQ", "again", {"kinds": [7]}))
            await wait_all_tasks_blocked()
            assert waits() == 2
            assert (await busy.receive())[0] == "COUNT"
            assert {(await wire.receive())[0] for _ in range(2)} == {"COUNT", "EOSE"}
            assert store.begun == {1: 1, 7: 2}  # of the replaced one nothing was begun
            await busy.send(message("COUNT", "busy", {"kinds": [1]}))
            await wait_all_tasks_blocked()
            await wire.send(message("COUNT", "left", {"kinds": [7]}))
            await wait_all_tasks_blocked()
            assert waits() == 1
        await wait_all_tasks_blocked()
        assert (waits(), door.relay.statistics().turns.running) == (0, 0)
