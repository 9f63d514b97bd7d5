"""Frames that leave the relay are what RFC 6455, section 5.2, says, and RFC 7692, judged by websockets' own parser."""

from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Opcode
from websockets.protocol import CLIENT, Protocol

from tests.support.wire import inflated
from trio_relay.net.frames import DEFLATE_WINDOW, deflated_text, text

NOISE = random.Random(7692).randbytes(65_537)


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


@pytest.mark.parametrize(
    ("length", "is_deflated"),
    [(0, False), (126, False), (1_023, False), (1_024, True), (65_535, True), (65_536, True), (65_537, False)],
)
@pytest.mark.parametrize("content", [b"word" * 16_385, NOISE], ids=["words", "noise"])
def test_only_messages_from_1_to_64_kib_are_deflated(content: bytes, length: int, is_deflated: bool) -> None:
    data = content[:length]
    framed = deflated_text(data)
    assert framed[0] == (0xC1 if is_deflated else 0x81)
    assert (framed == text(data)) is not is_deflated
    assert inflated(framed) == [data]


@pytest.mark.parametrize("message", [NOISE[:5_000] * 2, NOISE[:4_000] * 3, b"words and " * 2_000], ids=len)
def test_a_client_needs_no_larger_a_window_than_is_agreed_to(message: bytes) -> None:
    """Read in small steps, so that the decoder has nothing but its window to look back at."""
    framed = deflated_text(message)
    data = framed[4:] + b"\x00\x00\xff\xff"  # RFC 7692, section 7.2.2
    decoder, found = zlib.decompressobj(-DEFLATE_WINDOW), b""
    while data:
        found += decoder.decompress(data, 64)
        assert not decoder.eof  # a last block would have to be followed by another
        data = decoder.unconsumed_tail
    assert found + decoder.flush() == message


def test_words_shrink_and_noise_hardly_grows() -> None:
    assert len(deflated_text(b"some words " * 400)) < 100
    for length in (1_024, 4_096, 65_536):
        assert length < len(deflated_text(NOISE[:length])) < length * 1.02 + 20


pieces = st.sampled_from(["words ", '{"id":"', "é😀", "\n", "0123456789abcdef"]) | st.text(max_size=40)
texts = st.builds(
    lambda parts, times: ("".join(parts) * times).encode(), st.lists(pieces, max_size=30), st.sampled_from([1, 30, 400])
)
noises = st.builds(
    lambda start, length: NOISE[start : start + length], st.integers(0, 60_000), st.integers(1_000, 65_537)
)


@settings(max_examples=60)
@given(st.lists(texts | noises, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_each_deflated_message_is_read_as_it_was_and_stands_alone(messages: list[bytes], chance: random.Random) -> None:
    """All who take deflated messages share the frame, whatever each of them was sent before."""
    framed = {message: deflated_text(message) for message in messages}
    order = [*messages, *messages]
    chance.shuffle(order)
    assert inflated(*(framed[message] for message in order)) == order
