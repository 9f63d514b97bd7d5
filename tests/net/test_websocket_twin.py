"""What is read past websockets' core says the same as the core alone, whatever comes and however it is cut."""

from __future__ import annotations

from itertools import pairwise
from typing import Self

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from tests.fuzz.frames import MOST, check, quiet
from tests.support.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, closing, frame
from trio_relay.net.websocket import WebSocket

payloads = st.sampled_from(
    [b"", b"[]", b'["CLOSE","a"]', "é😀".encode(), b"\xff", b"\xc3", b"\xed\xa0\x80", b"x" * 125, b"x" * 126]
    + [b"x" * length for length in (MOST - 1, MOST, MOST + 1)]
) | st.binary(max_size=8)


@st.composite
def unusual(draw: st.DrawFn) -> bytes:
    """A frame with any first byte, masked or not, its length told in any of the three ways, and any mask."""
    first = draw(st.integers(0, 255) | st.sampled_from([0x81, 0x01, 0x80, 0x00, 0xC1]))
    payload = draw(st.binary(max_size=10))
    bit = draw(st.sampled_from([0x80, 0x80, 0x80, 0]))
    length = draw(
        st.sampled_from(
            [
                bytes([bit | len(payload)]),
                bytes([bit | 126]) + len(payload).to_bytes(2),
                bytes([bit | 127]) + len(payload).to_bytes(8),
                bytes([bit | 127]) + (2**63 + len(payload)).to_bytes(8),
            ]
        )
    )
    return bytes([first]) + length + (draw(st.binary(min_size=4, max_size=4)) if bit else b"") + payload


def deflated(message: bytes) -> bytes:
    """A message as a client that has agreed to permessage-deflate sends it (RFC 7692)."""
    packed = PerMessageDeflate(True, True, 15, 15).encode(Frame(Opcode.TEXT, message))
    return frame(0x40 | TEXT, bytes(packed.data))


frames = st.one_of(
    st.builds(frame, st.just(TEXT), payloads),
    st.builds(frame, st.sampled_from([TEXT, CONT, BINARY]), payloads, fin=st.booleans(), masked=st.booleans()),
    st.builds(frame, st.sampled_from([TEXT, CONT]), payloads, fin=st.booleans()),
    st.builds(frame, st.sampled_from([PING, PONG, CLOSE]), st.binary(max_size=126)),
    st.sampled_from([closing(1000), closing(1001, "é"), closing(4000), frame(CLOSE)]),
    st.builds(deflated, payloads),
    st.just(frame(TEXT, b"x" * 70_000)[:40]),
    unusual(),
)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data in pieces, none of them empty."""
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


@pytest.mark.slow
@settings(max_examples=400)
@given(
    sent=st.lists(frames, max_size=8).map(b"".join),
    end=st.integers(0, 20),
    cuts=st.lists(st.integers(0, 10**6), max_size=12),
    byte_by_byte=st.booleans(),
    deflate=st.booleans(),
    ends=st.booleans(),
    most_frames=st.sampled_from([1, 2, 512]),
)
@example(frame(TEXT, b"[]")[:4], 0, [], False, False, True, 512)
@example(frame(TEXT, b"\xff") + closing(1007), 0, [], False, False, False, 512)
@example(frame(BINARY, b"") + closing(1003), 0, [], False, False, False, 512)
@example(frame(TEXT, b"\xff") + deflated(b""), 0, [], False, True, False, 512)
@example(frame(TEXT, b"[", fin=False) + frame(TEXT, b"]"), 0, [], False, False, False, 512)
def test_all_is_read_as_the_core_alone_reads_it(
    sent: bytes, end: int, cuts: list[int], byte_by_byte: bool, deflate: bool, ends: bool, most_frames: int
) -> None:
    sent = sent[: len(sent) - end]  # what was sent last may not have come whole
    pieces = [sent[place : place + 1] for place in range(len(sent))] if byte_by_byte else cut(sent, cuts)
    check(pieces, deflate=deflate, ends=ends, most_frames=most_frames)


class Counted(bytearray):
    """Counts the bytes that are copied into it and out of it."""

    copied = 0

    def __iadd__(self, more: bytes) -> Self:  # type: ignore[override, misc]  # bytes are all that it is given
        self.copied += len(more)
        super().__iadd__(more)
        return self

    def __bytes__(self) -> bytes:
        self.copied += len(self)
        return memoryview(self).tobytes()


@pytest.mark.parametrize("piece_bytes", [1, 7, 1_460])
def test_a_long_message_in_small_pieces_is_copied_twice_and_not_with_every_piece(piece_bytes: int) -> None:
    message = b"x" * 100_000
    socket = WebSocket(ServerProtocol(state=OPEN, max_size=len(message), logger=quiet))
    kept = socket._kept = Counted()
    sent = frame(TEXT, message)
    messages = []
    for place in range(0, len(sent), piece_bytes):
        messages += socket.receive(sent[place : place + piece_bytes])
    assert messages == [message]
    assert len(sent) < kept.copied < 2 * len(sent) + 200  # the head alone is looked at again as it grows


def test_what_is_kept_of_a_message_is_let_go_with_it() -> None:
    socket = WebSocket(ServerProtocol(state=OPEN, max_size=MOST, logger=quiet))
    sent = frame(TEXT, b"first") + frame(TEXT, b"second")
    assert socket.receive(sent[:15]) == [b"first"]
    assert socket.receive(sent[15:]) == [b"second"]
    assert socket._kept == b""
