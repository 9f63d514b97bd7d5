"""Pings, pongs and the closing handshake (RFC 6455, sections 5.5 and 7)."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from tests.support.keys import ALICE
from tests.support.obedient_store import ObedientStore
from tests.support.server import Door, open_door
from tests.support.wire import CLOSE, PING, PONG, TEXT, Wire, closing, frame, message, open_wire
from trio_relay import NetOptions, RelayOptions

pytestmark = pytest.mark.usefixtures("inline_threads")

NOTES = [ALICE.event(str(number)) for number in range(8)]
NARROW = RelayOptions(channel_parcels=0, verifiers=1, verify_batch=1, write_batch=1)


@pytest.mark.parametrize("payload", [b"", b"are you there?", b"x" * 125])
async def test_a_ping_gets_its_payload_back(payload: bytes, autojump_clock: MockClock) -> None:
    async with open_door() as door, open_wire(door) as wire:
        await wire.send(frame(PING, payload))
        assert await wire.receive_frame() == (PONG, payload)


async def test_a_ping_is_answered_in_its_place_among_the_answers(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_wire(door) as wire:
        await wire.send(frame(TEXT, b"?"), frame(PING, b"1"))
        assert [(await wire.receive_frame())[0] for _ in range(2)] == [TEXT, PONG]


async def test_a_pong_that_nobody_asked_for_is_taken_in_silence(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_wire(door) as wire:
        await wire.send(frame(PONG, b"hello"), frame(PING, b"next"))
        assert await wire.receive_frame() == (PONG, b"next")


@pytest.mark.parametrize(
    ("sent", "echoed"),
    [(closing(1000, "bye"), closing(1000, "bye")), (closing(4999), closing(4999)), (frame(CLOSE), frame(CLOSE))],
)
async def test_a_close_is_answered_with_the_same_and_the_relay_ends_the_stream(
    sent: bytes, echoed: bytes, autojump_clock: MockClock
) -> None:
    async with open_door() as door, open_wire(door) as wire:
        started = trio.current_time()
        await wire.send(sent)
        opcode, payload = await wire.receive_frame()
        assert frame(opcode, payload) == echoed
        assert await wire.receive_end() == b""
        await trio.aclose_forcefully(wire.stream)
        await wait_all_tasks_blocked()
        assert door.server.statistics().close_reasons == {"closed by client": 1}
        assert trio.current_time() == started


async def test_a_client_that_drops_the_connection_is_gone(autojump_clock: MockClock) -> None:
    async with open_door() as door:
        async with open_wire(door):
            pass
        await wait_all_tasks_blocked()
        assert door.server.statistics().close_reasons == {"lost": 1}
        assert door.server.statistics().connections == 0


async def test_a_client_that_ends_its_side_only_is_gone_too(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_wire(door) as wire:
        assert isinstance(wire.stream, trio.StapledStream)
        await wire.stream.send_eof()
        assert await wire.receive_end() == b""
        await wait_all_tasks_blocked()
        assert door.server.statistics().close_reasons == {"lost": 1}


async def test_a_client_that_keeps_the_stream_open_after_closing_is_cut_off(autojump_clock: MockClock) -> None:
    async with open_door(net=NetOptions(close_seconds=3)) as door, open_wire(door) as wire:
        await wire.send(closing(1000))
        await trio.sleep(2.99)
        assert door.server.statistics().connections == 1
        await trio.sleep(0.02)
        assert door.server.statistics().connections == 0


async def test_a_client_in_its_closing_handshake_is_not_pinged(autojump_clock: MockClock) -> None:
    net = NetOptions(ping_seconds=1, pong_seconds=1, close_seconds=10)
    async with open_door(net=net) as door, open_wire(door) as wire:
        await wire.send(closing(1000))
        await trio.sleep(10.01)
        assert await wire.receive_end() == closing_echo(1000)
        assert door.server.statistics().close_reasons == {"closed by client": 1}


def closing_echo(code: int) -> bytes:
    """A server's close frame."""
    return frame(CLOSE, code.to_bytes(2), masked=False)


class Unclosable(trio.abc.Stream):
    """A stream whose one side cannot be ended alone, as with TLS."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


async def test_a_stream_that_cannot_be_ended_alone_is_ended_by_the_client(autojump_clock: MockClock) -> None:
    def pair() -> tuple[trio.abc.Stream, trio.abc.Stream]:
        near, far = memory_stream_pair()
        return near, Unclosable(far)

    async with open_door() as door, open_wire(door, pair) as wire:
        await wire.send(closing(1000))
        assert await wire.receive_close() == (1000, "")
        await wait_all_tasks_blocked()
        assert door.server.statistics().connections == 1
        await trio.aclose_forcefully(wire.stream)
        await wait_all_tasks_blocked()
        assert door.server.statistics().close_reasons == {"closed by client": 1}


async def test_nothing_follows_the_close_frame(autojump_clock: MockClock) -> None:
    """RFC 6455, section 5.5.1: no data frames after a close frame, also where answers are still under way."""
    store = ObedientStore()
    store.block("save_many")
    async with open_door(store, options=NARROW) as door, open_wire(door) as wire:
        await fill_pipeline(door, wire)
        await wire.send(message("EVENT", NOTES[-1]), closing(1000))
        await wait_all_tasks_blocked()
        store.release("save_many")
        opcodes: list[int] = []
        while not opcodes or opcodes[-1] != CLOSE:
            opcodes.append((await wire.receive_frame())[0])
        assert await wire.receive_end() == b""
        assert set(opcodes[:-1]) == {TEXT}
        await trio.aclose_forcefully(wire.stream)
    assert store.contents() == {NOTES[0].id, NOTES[1].id, NOTES[-1].id}


async def fill_pipeline(door: Door, wire: Wire) -> None:
    """The narrowest pipeline holds two events: one in the writer, one in the verifier."""
    for note in NOTES[:2]:
        await wire.send(message("EVENT", note))
        await wait_all_tasks_blocked()
    assert door.relay.statistics().channels["intake"].capacity == 0


async def test_what_is_said_after_a_close_frame_is_not_heard(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    async with open_door(store) as door, open_wire(door) as wire:
        await wire.send(closing(1000), message("EVENT", NOTES[0]))
        await wire.receive_end()
        await trio.aclose_forcefully(wire.stream)
    assert store.contents() == set()


async def test_events_sent_in_front_of_a_close_frame_are_answered_before_it(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_wire(door) as wire:
        await wire.send(*(message("EVENT", note) for note in NOTES), closing(1000))
        answers = [await wire.receive_frame() for _ in range(len(NOTES) + 1)]
        assert [opcode for opcode, _ in answers] == [TEXT] * len(NOTES) + [CLOSE]
        assert await wire.receive_end() == b""


async def test_a_close_frame_is_not_kept_waiting_for_a_store_that_hangs(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    store.block("save_many")
    async with open_door(store, net=NetOptions(close_seconds=3)) as door, open_wire(door) as wire:
        started = trio.current_time()
        await wire.send(message("EVENT", NOTES[0]), closing(1000))
        assert await wire.receive_frame() == (CLOSE, (1000).to_bytes(2))
        assert trio.current_time() == started + 3
        store.release("save_many")
