"""Any bytes where WebSocket frames are expected: read as websockets' core alone reads them, however they are cut."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import pytest
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from tests.fuzz.script import frame_of, pieces
from trio_relay.net import websocket as websocket_module

MOST: Final = 300
"""Bytes of a message; over 126 and over the size at which frames tell their length in other ways."""
VOCABULARY: Final = [
    b"",
    b"[]",
    b'["CLOSE","a"]',
    "é😀".encode(),
    b"x" * 125,
    b"x" * 126,
    b"x" * MOST,
    b"x" * (MOST + 1),
]
_MOST_HELD: Final = 2 * MOST + 1_024 * 48
"""Bytes of a message that has not ended: 1,024 fragments, an object each, and one more that has begun."""

quiet = logging.getLogger("tests.websockets")
quiet.propagate = False


def new_core(deflate: bool) -> ServerProtocol:
    """The core of a conversation that has begun."""
    core = ServerProtocol(state=OPEN, max_size=MOST, logger=quiet)
    extension: Extension = PerMessageDeflate(True, True, 15, 15)
    core.extensions = [extension] if deflate else []
    return core


@dataclass
class Twin:
    """The core alone; what it leaves to its user is done frame by frame, in the plainest way."""

    core: ServerProtocol
    messages: list[bytes] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)

    def receive(self, *pieces: bytes) -> Twin:
        for piece in pieces:
            is_open = self.core.state is OPEN
            self.core.receive_data(piece)
            for found in self.core.events_received():
                # Nothing that comes after a close frame counts.
                is_open = is_open and self.take(found.opcode, bytes(found.data), found.fin)  # type: ignore[union-attr]  # frames only
        return self

    def take(self, opcode: Opcode, data: bytes, fin: bool) -> bool:
        """Do as a frame says; False if that is the end."""
        if opcode is Opcode.BINARY:
            return self.end(1003, "text messages only")
        if opcode is Opcode.TEXT or opcode is Opcode.CONT:
            self.parts.append(data)
            if fin:
                message, self.parts = b"".join(self.parts), []
                try:
                    message.decode()
                except UnicodeDecodeError:
                    return self.end(1007, "text is not UTF-8")
                self.messages.append(message)
        return True

    def end(self, code: int, reason: str) -> bool:
        if self.core.state is OPEN:
            self.core.send_close(code, reason)
            self.core.extensions = []  # from now on nothing is inflated
        return False


def lasting(core: ServerProtocol) -> tuple[object, ...]:
    """How a conversation stands, and all that the client has been sent."""
    return core.state, core.close_sent, core.close_rcvd, core.eof_sent, b"".join(core.data_to_send())


def without_a_cut_frame(sent: bytes) -> bytes:
    """All that was sent but the frame at its end that has not come whole, if it is one that may still be whole."""
    at = 0
    while len(sent) >= at + 2 and sent[at + 1] & 0x80:
        length, width = sent[at + 1] & 0x7F, 0
        if length > 125:
            width = 2 if length == 126 else 8
            if len(sent) < at + 2 + width:
                return sent[:at]
            length = int.from_bytes(sent[at + 2 : at + 2 + width])
        if length > MOST:
            return sent
        if len(sent) < at + 6 + width + length:
            return sent[:at]
        at += 6 + width + length
    return sent if len(sent) >= at + 2 else sent[:at]


def feed(data: bytes) -> None:
    """Read what a script says that follows a byte of options: deflate, the end of the stream, frames at a time.

    Raises:
        AssertionError: it is not read as the core alone reads it.
    """
    options = data[0] if data else 0
    most_frames = (1, 2, 512, 512)[options >> 2 & 3]
    check(
        pieces(data[1:], VOCABULARY, frame_of),
        deflate=bool(options & 1),
        ends=bool(options & 2),
        most_frames=most_frames,
    )


def check(pieces: Sequence[bytes], *, deflate: bool, ends: bool, most_frames: int) -> None:
    """Read these, and compare.

    Where one read breaks two rules, both may be told: the first, or the one that the core looks at first. What a
    frame's head alone breaks may also be told only once the frame is whole.
    """
    sent = b"".join(pieces)
    single = [sent[place : place + 1] for place in range(len(sent))]
    twins = [Twin(new_core(deflate)).receive(*parts) for parts in (single, pieces, [without_a_cut_frame(sent)])]
    core = new_core(deflate)
    ours, messages = websocket_module.WebSocket(core), list[bytes]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(websocket_module, "_MOST_FRAMES", most_frames)
        for piece in pieces:
            was_open = ours.is_open
            found = ours.receive(piece)
            while ours.has_more:
                found += ours.more()
            messages += found if was_open else []
            assert ours.held_bytes() <= _MOST_HELD
    if ends:
        for twin in twins:
            twin.core.receive_eof()
        assert ours.receive(b"") == []
        assert not ours.is_open
    assert [twin.messages for twin in twins] == [messages] * 3
    assert lasting(core) in [lasting(twin.core) for twin in twins]
