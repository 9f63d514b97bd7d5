"""What the relay holds for all clients together is bounded; whoever holds most goes first, and is told why."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import pytest
import structlog
import trio
from trio.testing import MockClock, lockstep_stream_pair, wait_all_tasks_blocked

from tests.net.lines import Client as LineClient
from tests.net.lines import Line, open_client
from tests.support.keys import ALICE, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.server import Door, open_door, plain
from tests.support.wire import CONT, PING, TEXT, Wire, frame, message, open_wire
from trio_relay import NetOptions, RelayOptions
from trio_relay.net import budgets, close_reasons

pytestmark = pytest.mark.usefixtures("inline_threads")

MIB: Final = 2**20
SMALL: Final = NetOptions(inbound_bytes=MIB, outbound_bytes=MIB)
FULL_IN: Final = (1013, "too much: the relay is full of unfinished input, and this address has most")
FULL_OUT: Final = (1013, "too slow: the relay is full of unread messages, and this address has most")


class Holder:
    """A client that holds what a test says."""

    def __init__(self, origin: str | None, held: int, own: int | None = None) -> None:
        self.origin = origin
        self.held = held
        self.own = held if own is None else own
        self.reason: close_reasons.CloseReason | None = None
        self.asked = 0

    def held_bytes(self, direction: budgets.Direction) -> int:
        self.asked += 1
        return self.held

    def own_bytes(self, direction: budgets.Direction) -> int:
        self.asked += 1
        return self.own

    def put_out(self, reason: close_reasons.CloseReason) -> None:
        self.reason, self.held, self.own = reason, 0, 0


def put_out(most: int, *holders: Holder) -> list[int]:
    """Have a budget find out that it is exceeded; the numbers of those that have to go."""
    budgets.Budget(budgets.Direction.IN, most, lambda: holders).grow(most + 1)
    return [number for number, holder in enumerate(holders) if holder.reason is not None]


@pytest.mark.parametrize(
    ("holders", "expected"),
    [
        pytest.param([Holder("a", 500), Holder("b", 500)], [], id="no more than there may be"),
        pytest.param([Holder("a", 501), Holder("b", 500)], [0], id="who holds most"),
        pytest.param([Holder("a", 300), Holder("b", 200), Holder("a", 301), Holder("c", 400)], [2], id="its largest"),
        pytest.param([Holder("a", 100) for _ in range(9)] + [Holder("b", 200)], [0, 1], id="of an address, not alone"),
        pytest.param([Holder(None, 300) for _ in range(3)] + [Holder("b", 400)], [3], id="none is each alone"),
        pytest.param([Holder("a", 2_000, 600), Holder("b", 2_000, 300)], [], id="what is shared counts by parts"),
        pytest.param([Holder("a", 2_000, 600), Holder("b", 900, 800)], [1], id="and by parts it is looked who goes"),
        pytest.param([Holder(str(number), 100) for number in range(20)], list(range(11)), id="until there is room"),
    ],
)
def test_who_goes(holders: list[Holder], expected: list[int]) -> None:
    assert put_out(1_000, *holders) == expected


def test_one_below_a_fair_share_never_goes() -> None:
    """However many addresses the others have: who holds no more than the average is not the greediest."""
    honest = Holder("honest", 1_000 // 101)
    greedy = [Holder(str(number % 100), 37) for number in range(400)]
    gone = put_out(1_000, honest, *greedy)
    assert gone
    assert honest.reason is None


def test_nobody_is_looked_at_as_long_as_there_must_be_room() -> None:
    holders = [Holder(str(number), 4) for number in range(100)]
    budget = budgets.Budget(budgets.Direction.OUT, 1_000, lambda: holders)
    for _ in range(500):
        budget.grow(1)
    assert sum(holder.asked for holder in holders) == 0
    for _ in range(10_000):
        budget.grow(1)
    assert sum(holder.asked for holder in holders) <= 100 * (10_000 // 100 + 1)


def test_from_half_on_it_is_tight_until_there_is_room_again() -> None:
    holder = Holder("a", 501)
    budget = budgets.Budget(budgets.Direction.OUT, 1_000, lambda: [holder])
    budget.grow(501)
    assert budget.is_tight
    holder.held = 500
    budget.watch(0.0)
    assert not budget.is_tight


def test_a_minute_s_clients_are_told_of_in_one_line(logged: list[structlog.typing.EventDict]) -> None:
    holders: list[Holder] = []
    budget = budgets.Budget(budgets.Direction.OUT, 1_000, lambda: holders)
    for second in range(150):
        holders[:] = [Holder("a", 2_000)]
        budget.grow(2_000)
        budget.watch(1_000.0 + second)
    assert [(line["log_level"], line["direction"], line["clients"]) for line in logged] == [
        ("warning", "out", 1),
        ("warning", "out", 60),
        ("warning", "out", 60),
    ]


@asynccontextmanager
async def wires(door: Door, number: int) -> AsyncIterator[list[Wire]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_wire(door)) for _ in range(number)]


def begun(size: int) -> bytes:
    """The first so many bytes of a message of a megabyte."""
    return frame(TEXT, b"x" * MIB)[:size]


def cut(data: bytes, size: int) -> list[bytes]:
    """The same in parts of so many bytes."""
    return [data[at : at + size] for at in range(0, len(data), size)]


async def test_unfinished_messages_of_one_address_go_before_those_of_others(
    peers: list[str], autojump_clock: MockClock
) -> None:
    """Four of 210 kB from one address, one of 250 kB of another: the largest of the four."""
    peers += ["1.1.1.1", "2.2.2.2", "2.2.2.2", "2.2.2.2", "2.2.2.2"]
    note = ALICE.event("x" * 250_000)
    sent = message("EVENT", note)
    async with open_door(net=SMALL) as door, wires(door, 5) as (honest, *others):
        await honest.send(sent[:-1])
        for number, wire in enumerate(others):
            await wire.send(begun(210_000 + number))
            await wait_all_tasks_blocked()
        assert await others[2].receive_close() == FULL_IN  # of the last, not all had come by then
        await honest.send(sent[-1:])
        assert await honest.receive() == ["OK", note.id, True, ""]
        await others[2].receive_end()
        await wait_all_tasks_blocked()
        assert door.server.statistics().close_reasons == {"inbound bytes": 1}
        assert 600_000 < door.server.statistics().held_bytes["in"] <= MIB


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([begun(1_000_000)], id="a frame"),
        pytest.param([frame(TEXT, b"x" * 900, fin=False), *[frame(CONT, b"y" * 900, fin=False)] * 999], id="fragments"),
        pytest.param([frame(TEXT, b"", fin=False), *[frame(CONT, b"yz", fin=False)] * 1_000], id="tiny fragments"),
        pytest.param(cut(begun(70_000), 7), id="a frame in crumbs"),
    ],
)
@pytest.mark.slow
async def test_what_an_unfinished_message_costs_is_what_is_counted(
    parts: list[bytes], autojump_clock: MockClock
) -> None:
    async with open_door() as door, open_wire(door) as wire:
        await wait_all_tasks_blocked()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for part in parts:
                await wire.stream.send_all(part)  # without a deadline, which costs memory too
                await trio.lowlevel.checkpoint()
            await wait_all_tasks_blocked()
            gc.collect()
            costs = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        counted = door.server.statistics().held_bytes["in"]
        assert counted == pytest.approx(costs, rel=0.15, abs=20_000)


async def test_a_second_frame_of_a_message_counts_towards_its_length_before_it_is_read(
    autojump_clock: MockClock,
) -> None:
    """Else a message could hold twice what it may have."""
    async with open_door() as door, open_wire(door) as wire:
        await wire.send(frame(TEXT, b"x" * (MIB - 10), fin=False))
        await wait_all_tasks_blocked()
        assert door.server.statistics().held_bytes["in"] < MIB + 1_000
        await wire.send(frame(CONT, b"x" * 1_000)[:20])
        assert (await wire.receive_close())[0] == 1009


async def test_what_waits_for_the_pipeline_counts(peers: list[str], autojump_clock: MockClock) -> None:
    store = ObedientStore()
    store.block("save_many")
    narrow = RelayOptions(channel_parcels=0, verifiers=1, verify_batch=1, write_batch=1)
    notes = [ALICE.event(str(number) + "x" * 60_000, created_at=NOW - number) for number in range(16)]
    peers += ["1.1.1.1"] + ["2.2.2.2"] * 15
    async with open_door(store, options=narrow, net=SMALL) as door, wires(door, 16) as (honest, *others):
        for wire, note in zip([honest, *others], notes, strict=True):
            await wire.send(message("EVENT", note), message("EVENT", note))
            await wait_all_tasks_blocked()
        assert door.server.statistics().held_bytes["in"] <= MIB
        assert (await others[-1].receive_close())[0] == 1013
        store.release("save_many")
        assert [(await honest.receive())[:3] for _ in range(2)] == [["OK", notes[0].id, True]] * 2


async def test_unread_messages_of_one_address_go_before_those_of_others(
    peers: list[str], autojump_clock: MockClock
) -> None:
    """Each has a sub id of its own, so that no two share their bytes."""
    peers += ["1.1.1.1", "2.2.2.2", "2.2.2.2", "2.2.2.2", "3.3.3.3"]
    notes = [ALICE.event(str(number) + "x" * 50_000, created_at=NOW - number) for number in range(8)]
    async with open_door(net=SMALL) as door, AsyncExitStack() as stack:
        pairs = [lockstep_stream_pair] * 4
        silent = [await stack.enter_async_context(open_wire(door, pair)) for pair in pairs]
        for number, wire in enumerate(silent):
            await wire.send(message("REQ", f"live {number}", {"limit": 0}))
            assert await wire.receive() == ["EOSE", f"live {number}"]
        speaker = await stack.enter_async_context(open_wire(door))
        for note in notes:
            await speaker.send(message("EVENT", note))
            assert await speaker.receive() == ["OK", note.id, True, ""]
            await wait_all_tasks_blocked()
            # The frames of the event that is being delivered seem to be another's, too.
            assert door.server.statistics().held_bytes["out"] <= MIB + 4 * 51_000
        await trio.sleep(1.1)
        assert door.server.statistics().close_reasons == {"outbound bytes": 2}
        # Who does not read either, but holds no more than its share, loses nothing.
        assert [(await silent[0].receive())[2] for _ in notes] == list(map(plain, notes))


async def test_who_is_put_out_and_reads_again_is_told_why(peers: list[str], autojump_clock: MockClock) -> None:
    peers += ["1.1.1.1", "2.2.2.2"]
    note = ALICE.event("x" * 250_000)
    async with open_door(net=SMALL) as door, open_wire(door, lockstep_stream_pair) as wire, open_wire(door) as speaker:
        for number in range(6):
            await wire.send(message("REQ", str(number), {"limit": 0}))
            assert await wire.receive() == ["EOSE", str(number)]
        await speaker.send(message("EVENT", note))
        await wait_all_tasks_blocked()
        assert (await wire.receive())[0] == "EVENT"  # what was on its way
        assert await wire.receive_close() == FULL_OUT


async def test_what_many_wait_for_is_counted_once(autojump_clock: MockClock) -> None:
    """40 clients are behind by 400 kB each: of the 16 MB, 64 KiB for each are on their way, the rest is one and the
    same."""
    notes = [ALICE.event(str(number) + "x" * 20_000, created_at=NOW - number) for number in range(20)]
    async with open_door(net=NetOptions(outbound_bytes=4 * MIB)) as door, AsyncExitStack() as stack:
        behind = [await stack.enter_async_context(open_wire(door, lockstep_stream_pair)) for _ in range(40)]
        for wire in behind:
            await wire.send(message("REQ", "live", {"limit": 0}))
            assert await wire.receive() == ["EOSE", "live"]
        speaker = await stack.enter_async_context(open_wire(door))
        for note in notes:
            await speaker.send(message("EVENT", note))
            assert await speaker.receive() == ["OK", note.id, True, ""]
            await wait_all_tasks_blocked()
        assert door.server.statistics().held_bytes["out"] > 8 * MIB
        for wire in behind:
            assert [(await wire.receive())[2] for _ in notes] == list(map(plain, notes))
        assert door.server.statistics().close_reasons == {}


async def test_stored_events_are_not_sent_far_ahead_while_much_is_held(
    peers: list[str], autojump_clock: MockClock
) -> None:
    """Eight slow readers of 500 kB each, and room for two megabytes: all get everything."""
    store = ObedientStore(page_events=1)
    stored = [ALICE.event(str(number) + "x" * 20_000, created_at=NOW - number) for number in range(25)]
    await store.save_many(stored)
    peers += [f"1.1.1.{number}" for number in range(8)]
    net = NetOptions(outbound_bytes=2 * MIB)
    async with open_door(store, net=net) as door, AsyncExitStack() as stack, trio.open_nursery() as nursery:
        slow = [await stack.enter_async_context(open_wire(door, lockstep_stream_pair)) for _ in range(8)]

        async def read(wire: Wire) -> None:
            got = []
            while (answer := await wire.receive())[0] == "EVENT":
                got.append(answer[2])
                await trio.sleep(0.5)
            assert got == list(map(plain, stored))

        for wire in slow:
            await wire.send(message("REQ", "all", {}))
            await wait_all_tasks_blocked()
        for wire in slow:
            nursery.start_soon(read, wire)
        for _ in range(10):
            await trio.sleep(1)
            assert door.server.statistics().held_bytes["out"] < 2 * MIB
    assert door.server.statistics().close_reasons.keys() <= {"lost", "closed by client"}


async def test_an_outbox_tells_of_what_the_network_does_not_take_and_of_nothing_else() -> None:
    told: list[int] = []

    def clients() -> list[budgets.Client]:
        """Asked each time that a budget of nothing hears of more."""
        told.append(client.outbox.held_bytes)
        return []

    async with open_client(10_000, budget=budgets.Budget(budgets.Direction.OUT, 0, clients)) as client:
        for _ in range(10):
            client.send(b"x" * 36)
            client.outbox.flush()
        assert told == []
        client.line.at_once = 50
        client.send(b"x" * 36, b"x" * 36)
        client.outbox.flush()
        client.send(b"x" * 100)
        assert told == [200, 364]


def test_the_part_of_a_frame_that_is_one_outbox_s_own_depends_on_how_many_have_it() -> None:
    outboxes = [LineClient(2**30, Line(0)).outbox for _ in range(10)]
    shared = [bytes([number]) * 10_000 for number in range(40)]
    for outbox in outboxes:
        for framed in shared:
            outbox.send_framed_nowait(framed)
    del framed
    held = 40 * (10_000 + 64)
    for outbox in outboxes:
        assert outbox.held_bytes == held
        # The list above has them, too.
        assert outbox.own_bytes() == pytest.approx(40 * (10_000 / 11 + 64), rel=0.01)
    alone = LineClient(2**30, Line(0)).outbox
    for number in range(1_000):
        alone.send_framed_nowait(bytes([number % 256]) * 1_000)
    assert alone.own_bytes() == alone.held_bytes == 1_000 * 1_064


def test_an_outbox_of_many_tiny_messages_counts_what_they_cost() -> None:
    outbox = LineClient(2**30, Line(0)).outbox
    tracemalloc.start()
    try:
        for number in range(10_000):
            outbox.send_framed_nowait(b"%d" % number)
        costs, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert costs <= outbox.held_bytes <= 2 * costs
    assert sys.getsizeof(b"") + 8 <= 64


@pytest.mark.slow
async def test_pings_after_the_relay_s_close_frame_are_neither_answered_nor_kept(autojump_clock: MockClock) -> None:
    """A close frame has gone out, and nothing may follow it; the client has seconds to send what it likes."""
    async with open_door() as door, open_wire(door) as wire:
        door.stop.set()
        assert await wire.receive_close() == (1012, "the relay is stopping")
        pings = frame(PING, b"x" * 125) * 400
        await wire.stream.send_all(pings)
        await wait_all_tasks_blocked()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(40):
                await wire.stream.send_all(pings)
                await wait_all_tasks_blocked()
            assert trio.current_time() == 0
            gc.collect()
            kept = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert kept < 40 * len(pings) / 10
