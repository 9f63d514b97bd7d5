"""A message has to end in time, however it is cut; who sends it slowly but steadily may take as long as it needs."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE
from tests.support.obedient_store import ObedientStore
from tests.support.server import open_door
from tests.support.wire import CONT, PING, PONG, TEXT, Wire, frame, message, open_wire
from trio_relay import NetOptions, RelayOptions

pytestmark = pytest.mark.usefixtures("inline_threads")

LONG = ALICE.event("x" * 250_000)
LATE = (1008, "too slow: a message has to arrive in time (message_seconds)")


async def drip(wire: Wire, *parts: bytes, seconds: float = 1.0) -> None:
    """Send one part after another, until the relay takes no more."""
    for part in parts:
        try:
            await wire.send(part)
        except trio.BrokenResourceError:
            return
        await trio.sleep(seconds)


async def close_of(wire: Wire) -> tuple[int, str]:
    """The close frame, with the relay's pings before it answered."""
    while True:
        opcode, payload = await wire.receive_frame()
        if opcode != PING:
            assert opcode == 8, (opcode, payload)
            return int.from_bytes(payload[:2]), payload[2:].decode()


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([bytes([byte]) for byte in message("EVENT", LONG)[:60]], id="a frame byte by byte"),
        pytest.param([frame(TEXT, b"[", fin=False), *[frame(CONT, b"", fin=False)] * 59], id="empty fragments"),
        pytest.param(
            [frame(TEXT, b"[", fin=False), *[frame(PING), frame(CONT, b"1", fin=False)] * 30],
            id="fragments between pings",
        ),
        pytest.param(
            [frame(TEXT, b"[", fin=False), *(bytes([byte]) for byte in frame(CONT, b"x" * 60))],
            id="a fragment byte by byte",
        ),
        pytest.param([frame(PING, b"x" * 100)[:99]], id="a ping"),
    ],
)
async def test_a_message_that_does_not_end_in_time_ends_the_connection(
    parts: list[bytes], autojump_clock: MockClock
) -> None:
    async with open_door() as door, open_wire(door) as wire, trio.open_nursery() as nursery:
        nursery.start_soon(drip, wire, *parts)
        frames = []
        while (got := await wire.receive_frame())[0] in (PING, PONG):
            frames.append(got)
        assert (int.from_bytes(got[1][:2]), got[1][2:].decode()) == LATE
        assert trio.current_time() == pytest.approx(20, abs=1.1)
        await wire.receive_end()
        await wait_all_tasks_blocked()
        assert door.server.statistics().close_reasons == {"unfinished message": 1}
        assert door.server.statistics().held_bytes == {"in": 0, "out": 0}
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("bytes_a_second", "ends"), [(3_600, False), (3_000, True)])
async def test_a_slow_line_sends_the_longest_message_if_it_brings_64_kib_in_20_seconds(
    bytes_a_second: int, ends: bool, autojump_clock: MockClock
) -> None:
    sent = message("EVENT", LONG)
    parts = [sent[at : at + bytes_a_second] for at in range(0, len(sent), bytes_a_second)]
    async with open_door() as door, open_wire(door) as wire, trio.open_nursery() as nursery:
        nursery.start_soon(drip, wire, *parts)
        if ends:
            assert await wire.receive_close() == LATE
            nursery.cancel_scope.cancel()
        else:
            assert await wire.receive() == ["OK", LONG.id, True, ""]
            assert trio.current_time() > 60


async def test_messages_one_after_another_may_take_as_long_as_they_like(autojump_clock: MockClock) -> None:
    """Each read ends within a message, none of which takes long."""
    one = message("CLOSE", "x" * 20)
    async with open_door() as door, open_wire(door) as wire:
        await wire.send(one[:5])
        for _ in range(100):
            await trio.sleep(1)
            await wire.send(one[5:] + one[:5])
        await wait_all_tasks_blocked()
        assert door.server.statistics().connections == 1
        await trio.sleep(23)
        assert door.server.statistics().close_reasons == {"unfinished message": 1}


async def test_time_in_which_the_relay_does_not_read_is_not_the_client_s(autojump_clock: MockClock) -> None:
    notes = [ALICE.event(str(number)) for number in range(4)]
    store = ObedientStore()
    store.block("save_many")
    narrow = RelayOptions(channel_parcels=0, verifiers=1, verify_batch=1, write_batch=1)
    last = message("EVENT", notes[-1])
    async with open_door(store, options=narrow) as door, open_wire(door) as wire:
        for note in notes[:2]:
            await wire.send(message("EVENT", note))
            await wait_all_tasks_blocked()
        await wire.send(message("EVENT", notes[2]), last[:9])
        await trio.sleep(1_000)
        assert door.server.statistics().connections == 1
        store.release("save_many")
        await wait_all_tasks_blocked()
        await wire.send(last[9:])
        assert [(await wire.receive())[1] for _ in notes] == [note.id for note in notes]


async def test_the_time_is_configured(autojump_clock: MockClock) -> None:
    async with open_door(net=NetOptions(message_seconds=3)) as door, open_wire(door) as wire:
        await wire.send(b"\x81")
        assert await wire.receive_close() == LATE
        assert trio.current_time() == pytest.approx(3, abs=1.1)
