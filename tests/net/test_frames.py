"""Frames that leave the relay are what RFC 6455, section 5.2, says, judged by websockets' own parser."""

from __future__ import annotations

import pytest
from websockets.frames import Opcode
from websockets.protocol import CLIENT, Protocol

from trio_relay.net.frames import text


@pytest.mark.parametrize(
    ("length", "head"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_message_is_one_text_frame_whose_head_tells_its_length(length: int, head: bytes) -> None:
    message = b"x" * length
    framed = text(message)
    assert framed == head + message
    client = Protocol(CLIENT)
    client.receive_data(framed * 2)
    frames = client.events_received()
    assert [(frame.opcode, bytes(frame.data), frame.fin) for frame in frames] == [(Opcode.TEXT, message, True)] * 2  # type: ignore[union-attr]
