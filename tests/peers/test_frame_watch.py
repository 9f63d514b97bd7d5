"""What another relay sends below the level of messages is bounded: frames of one message, its time, pings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.support.other_relays import shake, streamed
from tests.support.wire import frame
from trio_relay.peers import frame_watch, options

QUICK = options.PeerOptions(connect_seconds=4, answer_seconds=3, idle_seconds=10, max_message_bytes=10_000)
_TEXT, _MORE, _PING, _PONG = 1, 0, 9, 10
_ENOUGH = 2_000
Serve = Callable[[trio.abc.Stream], Awaitable[None]]


def endless(begin: bytes, again: bytes, seconds: float = 0) -> Serve:
    """Sends the one once, and the other for ever."""

    async def serve(stream: trio.abc.Stream) -> None:
        await shake(stream)
        await stream.send_all(begin)
        for _ in range(_ENOUGH):
            await trio.sleep(seconds)
            await stream.send_all(again)
        raise AssertionError("it was never given up")

    return serve


def of_peer(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    return frame(opcode, payload, fin=fin, masked=False)


BEGINNING = of_peer(_TEXT, b"[", fin=False)
EMPTY = of_peer(_MORE, fin=False)


@pytest.mark.parametrize(
    ("serve", "reason"),
    [
        (endless(BEGINNING, EMPTY * 100), "it sent a message of more than 16384 frames"),
        (endless(BEGINNING, EMPTY, seconds=1), "it did not end a message within 3 seconds"),
        (endless(BEGINNING, of_peer(_PING), seconds=1), "it did not end a message within 3 seconds"),
        (endless(b"", of_peer(_PING) * 10), "it floods: pings and pongs"),
        (endless(b"", of_peer(_PONG) * 10, seconds=1), "it floods: pings and pongs"),
    ],
)
async def test_frames_that_come_to_nothing_are_not_borne_for_ever(
    autojump_clock: MockClock, serve: Serve, reason: str
) -> None:
    async with streamed(serve, settings=QUICK) as one:
        with trio.fail_after(1_000):
            assert str(await one.until_lost()) == reason


async def test_messages_in_parts_and_a_ping_a_second_are_borne_for_ever(autojump_clock: MockClock) -> None:
    notice = of_peer(_TEXT, b'["NOTICE",', fin=False) + of_peer(_PING) + of_peer(_MORE, b'"hello"]')

    async def serve(stream: trio.abc.Stream) -> None:
        await shake(stream)
        while True:
            await stream.send_all(notice[:5])
            await trio.sleep(2)
            await stream.send_all(notice[5:])

    async with streamed(serve, settings=QUICK) as one:
        with trio.move_on_after(1_000) as listening:
            await one.until_lost()
        assert listening.cancelled_caught
        assert next(iter(one.remarks)) == "hello"


frames = st.builds(
    frame,
    st.just(_TEXT),
    st.sampled_from([0, 1, 125, 126, 65_535, 65_536]).map(bytes),
    masked=st.booleans(),
)


@given(st.lists(frames, max_size=5), st.lists(st.integers(0, 70_000), max_size=5), st.booleans())
def test_however_bytes_are_cut_frames_are_followed(whole: list[bytes], cuts: list[int], is_open: bool) -> None:
    """Then what begins after them, and nothing before, has to end in time."""
    watch = frame_watch.FrameWatch(QUICK)
    sent = b"HTTP/1.1 101 Yes\r\n\r\n" + b"".join(whole) + (BEGINNING if is_open else b"")
    places = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
    for start, end in pairwise(places):
        assert watch.take(sent[start:end], 0, 0) is None
    assert (watch.take(b"\x89", 5, 5) is not None) == is_open
