"""Whoever breaks WebSocket's rules gets the RFC's close code, and the connection ends."""

from __future__ import annotations

import msgspec
import pytest
import structlog
import trio
from trio.testing import MockClock

from tests.support.keys import ALICE
from tests.support.server import open_door
from tests.support.wire import BINARY, CLOSE, CONT, PING, TEXT, closing, frame, message, open_wire
from trio_relay import Limits, NetOptions

pytestmark = pytest.mark.usefixtures("inline_threads")

NOTE = ALICE.event("note")
LIMITS = Limits(max_message_length=1024)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(frame(BINARY, b"[]"), 1003, id="binary"),
        pytest.param(frame(BINARY, fin=False), 1003, id="the start of a binary message"),
        pytest.param(frame(TEXT, b"\xff"), 1007, id="bad UTF-8"),
        pytest.param(frame(TEXT, b"\xc3", fin=False) + frame(CONT, b"("), 1007, id="bad UTF-8 across fragments"),
        pytest.param(frame(TEXT, b"\xed\xa0\x80"), 1007, id="a surrogate in UTF-8"),
        pytest.param(frame(TEXT, b"[]", masked=False), 1002, id="unmasked"),
        pytest.param(frame(3, b""), 1002, id="reserved opcode"),
        pytest.param(frame(0x40 | TEXT, b"[]"), 1002, id="reserved bit"),
        pytest.param(frame(CONT, b"[]"), 1002, id="continuation of nothing"),
        pytest.param(frame(TEXT, b"[", fin=False) + frame(TEXT, b"]"), 1002, id="message inside a message"),
        pytest.param(frame(PING, b"", fin=False), 1002, id="fragmented ping"),
        pytest.param(frame(PING, b"x" * 126), 1002, id="long ping"),
        pytest.param(frame(CLOSE, b"\x03"), 1002, id="half a close code"),
        pytest.param(closing(1005), 1002, id="close code that must not be sent"),
        pytest.param(frame(TEXT, b"x" * 1025), 1009, id="oversize"),
        pytest.param(frame(TEXT, b"x" * 70_000)[:14], 1009, id="announced oversize"),
        pytest.param(frame(TEXT, b"x" * 600, fin=False) + frame(CONT, b"x" * 600), 1009, id="oversize in fragments"),
    ],
)
async def test_a_broken_rule_is_closed_with_its_code(
    sent: bytes, code: int, autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with open_door(limits=LIMITS) as door, open_wire(door) as wire, door.client() as other:
        await wire.send(sent)
        assert (await wire.receive_close())[0] == code
        await wire.send(closing(code))
        assert await wire.receive_end() == b""
        assert await other.ask("unhurt", {}) == []
        reason = f"protocol error {code}"
        assert door.server.statistics().close_reasons == {}
        await trio.aclose_forcefully(wire.stream)
        await trio.testing.wait_all_tasks_blocked()
        assert door.server.statistics().close_reasons == {reason: 1}
    assert ("debug", reason) in [(entry["log_level"], entry.get("reason")) for entry in logged]


@pytest.mark.parametrize("text", [b"x" * 1024, b"[" + b" " * 1023])
async def test_the_longest_message_is_read(text: bytes, autojump_clock: MockClock) -> None:
    async with open_door(limits=LIMITS) as door, open_wire(door) as wire:
        await wire.send(frame(TEXT, text))
        assert (await wire.receive())[0] == "NOTICE"


async def test_what_came_before_the_broken_rule_is_still_done(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_wire(door) as wire:
        await wire.send(message("REQ", "sub", {"limit": 0}), frame(BINARY), message("REQ", "late", {"limit": 0}))
        await wire.send(closing(1003))
        await wire.receive_end()
        assert door.relay.statistics().broadcaster.subscriptions == 0


async def test_events_before_the_broken_rule_are_stored_and_those_after_it_are_not(autojump_clock: MockClock) -> None:
    late = ALICE.event("late")
    async with open_door() as door, open_wire(door) as wire:
        await wire.send(message("EVENT", NOTE), frame(BINARY), message("EVENT", late))
        await wire.send(closing(1003))
        await wire.receive_end()
        async with door.client() as client:
            assert [found["id"] for found in await client.ask("all", {})] == [NOTE.id]


async def test_who_does_not_close_after_breaking_a_rule_is_cut_off(autojump_clock: MockClock) -> None:
    async with open_door(net=NetOptions(close_seconds=4)) as door, open_wire(door) as wire:
        started = trio.current_time()
        await wire.send(frame(BINARY))
        assert await wire.receive_close() == (1003, "text messages only")
        await wire.receive_end()
        assert trio.current_time() - started == 4
        assert door.server.statistics().connections == 0


class TestFragments:
    """RFC 6455, section 5.4."""

    async def test_a_message_in_fragments_is_put_together(self, autojump_clock: MockClock) -> None:
        text = '["REQ","é😀",{"limit":0}]'.encode()
        pieces = [text[place : place + 1] for place in range(len(text))]  # also within characters
        async with open_door() as door, open_wire(door) as wire:
            await wire.send(frame(TEXT, pieces[0], fin=False))
            for piece in pieces[1:-1]:
                await wire.send(frame(CONT, piece, fin=False))
            await wire.send(frame(CONT, pieces[-1]))
            assert await wire.receive() == ["EOSE", "é😀"]

    async def test_control_frames_may_come_between_fragments(self, autojump_clock: MockClock) -> None:
        async with open_door() as door, open_wire(door) as wire:
            await wire.send(frame(TEXT, b'["REQ","a",', fin=False), frame(PING, b"?"))
            assert await wire.receive_frame() == (10, b"?")
            await wire.send(frame(CONT, b'{"limit":0}]'))
            assert await wire.receive() == ["EOSE", "a"]

    async def test_a_message_after_a_fragmented_one_stands_alone(self, autojump_clock: MockClock) -> None:
        async with open_door() as door, open_wire(door) as wire:
            await wire.send(frame(TEXT, b'["REQ","a",', fin=False), frame(CONT, b'{"limit":0}]'))
            await wire.send(message("REQ", "b", {"limit": 0}))
            assert [await wire.receive(), await wire.receive()] == [["EOSE", "a"], ["EOSE", "b"]]

    @pytest.mark.parametrize("at_once", [True, False])
    async def test_a_message_of_too_many_fragments_is_not_taken(self, at_once: bool, autojump_clock: MockClock) -> None:
        """Empty fragments never grow the message, so its size limit alone would let them go on for ever."""
        text = msgspec.json.encode(("EVENT", NOTE))
        start = frame(TEXT, text[:-1], fin=False) + frame(CONT, fin=False) * 1024
        end = frame(CONT, text[-1:])
        async with open_door() as door, open_wire(door) as wire:
            for data in [start + end] if at_once else [start, end]:
                await wire.send(data)
            assert await wire.receive_close() == (1009, "too many fragments")
            async with door.client() as client:
                assert await client.ask("all", {}) == []

    async def test_a_message_of_many_fragments_is_taken(self, autojump_clock: MockClock) -> None:
        async with open_door() as door, open_wire(door) as wire:
            await wire.send(frame(TEXT, b'["REQ","a",', fin=False), frame(CONT, fin=False) * 1000)
            await wire.send(frame(CONT, b'{"limit":0}]'))
            assert await wire.receive() == ["EOSE", "a"]
