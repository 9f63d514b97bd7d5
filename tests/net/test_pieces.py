"""What one read holds is worked off in pieces: bounded in bytes and in frames, with turns for others between them."""

from __future__ import annotations

import logging
import tracemalloc
from collections import Counter

import pytest
import trio
from trio.testing import MockClock
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.utils import apply_mask

from tests.support.marks import replaces_what_is_compiled
from tests.support.server import open_door
from tests.support.wire import PING, PONG, TEXT, closing, deflated, frame, open_wire
from trio_relay import Limits
from trio_relay.net.close_reasons import STOPPING
from trio_relay.net.websocket import WebSocket
from trio_relay.nostr import message, session

pytestmark = pytest.mark.usefixtures("inline_threads")

OFFER = "permessage-deflate; client_max_window_bits"
MOST = Limits().max_message_length
PIECE_BYTES, PIECE_FRAMES = 2**18, 512
BOMB = frame(0x40 | TEXT, deflated(b" " * MOST))
BOMBS = 65_536 // len(BOMB)
"""In one read."""


def new_socket() -> WebSocket:
    core = ServerProtocol(state=OPEN, max_size=MOST, logger=logging.getLogger("tests.websockets"))
    core.extensions = [PerMessageDeflate(True, True, 15, 15)]
    return WebSocket(core)


def pieces(socket: WebSocket, data: bytes) -> list[list[bytes]]:
    """All that a read holds, as it is given back."""
    found = [socket.receive(data)]
    while socket.has_more:
        found.append(socket.more())
    return found


def test_bombs_are_given_back_one_at_a_time_and_take_no_more_memory() -> None:
    assert BOMBS * MOST > 20 * PIECE_BYTES
    socket, sizes = new_socket(), list[int]()
    tracemalloc.start()
    try:
        sizes.append(sum(map(len, socket.receive(BOMB * BOMBS))))
        while socket.has_more:
            sizes.append(sum(map(len, socket.more())))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(sizes) == BOMBS * MOST
    assert sizes == [MOST] * BOMBS
    assert peak < PIECE_BYTES + 6 * MOST


class Others:
    """Counts the turns that others have."""

    turns = 0

    async def take_turns(self) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            self.turns += 1


@pytest.mark.parametrize("size", [100_000, MOST // 2, MOST - 1])
def test_what_is_inflated_at_a_time_is_bounded(size: int) -> None:
    found = pieces(new_socket(), frame(0x40 | TEXT, deflated(b" " * size)) * 50)
    assert sum(map(len, found)) == 50
    assert max(sum(map(len, piece)) for piece in found) < PIECE_BYTES + size


@pytest.mark.parametrize("text", [b"", b"[]"])
@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1, [1]),
        (PIECE_FRAMES, [PIECE_FRAMES]),
        (PIECE_FRAMES + 1, [PIECE_FRAMES, 1]),
        (2 * PIECE_FRAMES, [PIECE_FRAMES, PIECE_FRAMES]),
    ],
)
def test_many_small_messages_are_given_back_some_at_a_time(text: bytes, number: int, expected: list[int]) -> None:
    assert pieces(new_socket(), frame(TEXT, text) * number) == [[text] * count for count in expected]


def test_pings_are_answered_some_at_a_time() -> None:
    socket = new_socket()
    assert socket.receive(frame(PING) * (PIECE_FRAMES + 1)) == []
    assert socket.output() == frame(PONG, masked=False) * PIECE_FRAMES
    assert socket.more() == []
    assert (socket.output(), socket.has_more) == (frame(PONG, masked=False), False)


def test_a_frame_that_a_read_cuts_behind_several_pieces_is_read_with_the_next() -> None:
    socket, last = new_socket(), frame(TEXT, b"last")
    assert pieces(socket, frame(TEXT, b"[]") * 600 + last[:3]) == [[b"[]"] * 512, [b"[]"] * 88]
    assert pieces(socket, last[3:]) == [[b"last"]]


def test_a_close_frame_behind_several_pieces_ends_the_last_of_them() -> None:
    socket = new_socket()
    found = pieces(socket, frame(TEXT, b"[]") * 600 + closing(1000) + frame(TEXT, b"late") * 600)
    assert [len(piece) for piece in found if piece] == [512, 88]
    assert socket.was_closed_by_client
    assert socket.is_done


def test_what_follows_a_broken_rule_is_looked_through_in_pieces_for_a_close_frame() -> None:
    """Thousands of empty fragments may follow one that is too many."""
    socket = new_socket()
    socket.receive(
        (frame(TEXT, b"", fin=False) + frame(0, b"", fin=False) * 1_023 + frame(0, b"", fin=False) * 9_000)[:60_000]
        + closing(1009)
    )
    number = 0
    while socket.has_more:
        assert socket.more() == []
        number += 1
    assert number > 10
    assert socket.is_done


@pytest.mark.parametrize("who", ["client", "relay"])
def test_after_a_close_frame_nothing_is_inflated(who: str) -> None:
    """A frame may be that is on its way already, but not all that a client likes to send."""
    socket = new_socket()
    if who == "client":
        socket.receive(closing(1000))
    else:
        socket.close(1012, "the relay is stopping")
    tracemalloc.start()
    try:
        found = [*pieces(socket, BOMB * BOMBS), *pieces(socket, BOMB * BOMBS)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(map(len, found)) <= 1
    assert peak < 6 * MOST


@pytest.mark.parametrize(
    ("sent", "opcode", "answers", "most"),
    [
        pytest.param(frame(PING) * 10_000, PONG, 10_000, PIECE_FRAMES, id="pings"),
        pytest.param(BOMB * BOMBS, TEXT, BOMBS, 1, id="bombs"),
    ],
)
@pytest.mark.slow
async def test_between_the_pieces_of_one_read_others_get_a_turn(
    sent: bytes,
    opcode: int,
    answers: int,
    most: int,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of it in one go would hold up everyone for as long as a client likes."""
    others = Others()
    seen: Counter[int] = Counter()
    receive = ServerProtocol.receive_data

    def noted(core: ServerProtocol, data: bytes) -> None:
        seen[others.turns] += 1
        receive(core, data)

    monkeypatch.setattr(ServerProtocol, "receive_data", noted)
    async with open_door() as door, open_wire(door, offer=OFFER) as wire, trio.open_nursery() as nursery:
        nursery.start_soon(others.take_turns)
        await wire.send(sent)
        assert {(await wire.receive_frame())[0] for _ in range(answers)} == {opcode}
        nursery.cancel_scope.cancel()
    # Who of two tasks comes first is chance, so that two pieces may come between two turns, but never three.
    assert seen.total() == answers
    assert max(seen.values()) <= 2 * most


async def test_a_relay_that_stops_finds_the_close_frame_among_what_it_has_not_looked_at(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client has said goodbye already, and waits for the relay's: nothing else will come from it."""
    async with open_door() as door, open_wire(door) as wire:
        unmask = apply_mask

        def last_words(data: bytes, mask: bytes) -> bytes:
            door.stop.set()
            for client in door.server.connections:
                client.hang_up(STOPPING)
            return unmask(data, mask)

        monkeypatch.setattr("trio_relay.net.websocket.apply_mask", last_words)
        await wire.send(frame(TEXT, b"[]") * 600, closing(1000))
        assert await wire.receive_close() == (1012, "the relay is stopping")
        assert await wire.receive_end() == b""
        assert trio.current_time() == 0


@replaces_what_is_compiled
@pytest.mark.parametrize(
    ("size", "seconds", "waits"),
    [
        pytest.param(70_000, 0.003, True, id="a long one that took a while to inflate"),
        pytest.param(70_000, 0.001, False, id="a long one that did not"),
        pytest.param(60_000, 0.003, False, id="a short one"),
    ],
)
async def test_inflating_counts_before_a_long_message_is_parsed(
    size: int, seconds: float, waits: bool, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    inflate, parse = PerMessageDeflate.decode, session.Session.receive
    give_turn = trio.lowlevel.cancel_shielded_checkpoint

    def slow(extension: PerMessageDeflate, deflated_frame: Frame, *, max_size: int | None = None) -> Frame:
        inflated = inflate(extension, deflated_frame, max_size=max_size)
        autojump_clock.jump(seconds)
        done.append("inflated")
        return inflated

    async def given() -> None:
        done.append("turn given")
        await give_turn()

    def noted(conversation: session.Session, data: bytes) -> message.ClientMessage:
        done.append("parsed")
        return parse(conversation, data)

    monkeypatch.setattr(PerMessageDeflate, "decode", slow)
    monkeypatch.setattr(trio.lowlevel, "cancel_shielded_checkpoint", given)
    monkeypatch.setattr(session.Session, "receive", noted)
    async with open_door() as door, open_wire(door, offer=OFFER) as wire:
        done.clear()
        await wire.send(frame(0x40 | TEXT, deflated(b'["REQ","a",{"limit":0}]' + b" " * size)))
        assert await wire.receive() == ["EOSE", "a"]
        assert done[: done.index("parsed")] == ["inflated"] + ["turn given"] * waits
