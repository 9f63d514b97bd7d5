"""One case against one relay: how long that held the loop, and what it cost."""

from __future__ import annotations

import re
import socket
import statistics
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Final, NamedTuple

import msgspec

from perf.plan import Failed
from perf.stalls.cases import Frames, Messages, Requests
from perf.stalls.frames import deflated
from perf.stalls.gauge import Gauge, Look
from perf.wire import Loop, Wire, frame

Case = Messages | Frames | Requests

MOST_HOLD: Final = 0.02
"""Seconds: the bar for what one case may hold the loop."""
MOST_BYTE: Final = 2e-6
"""Seconds of CPU: the bar for a byte, inflated."""
FREE_BYTES: Final = 65_536
"""What has no more bytes is not held to that: what a query costs is no matter of its length."""
_TURNS: Final = 3
TURNS: Final = 2 * _TURNS
"""Numbers that a case has for itself."""
PLAIN: Final = "plain"
DEFLATED: Final = "deflated"
_FAR: Final = 0.5
"""A case that stays below so much of both bars is not sent again."""
_ENOUGH: Final = 2.0
"""Seconds after which no further turn begins."""
_MOST_SECONDS: Final = 12.0
_MARK: Final = frame(b'["REQ","mark",{"ids":["' + b"0" * 64 + b'"],"limit":1}]')
_MARK_ANSWERS: Final = b'["EOSE","mark"', b'["CLOSED","mark"'
_CLOSE: Final = 0x88
_DEFLATED: Final = 0x40
_TOLD: Final = 300
"""Bytes of an answer that are kept."""
_STATUS: Final = re.compile(rb"HTTP/1\.1 [0-9]{3}")
_SMALL: Final = 4_096
"""Bytes: what is shorter is not deflated too."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a case, in one form; seconds and bytes.

    Attributes:
        name: of the case.
        form: `PLAIN` or `DEFLATED`.
        wire: bytes that were sent.
        inflated: bytes that count.
        hold: CPU of the longest step of the loop: the median of the turns.
        wall: of the longest step: the least of the turns.
        gap: CPU of the process in the longest gap between two beats: the least of the turns.
        cpu: of the process, all threads, less what idleness costs: the least of the turns.
        turns: how often it was sent.
        place: the task, and the function where its longest step was seen last.
        answer: what was said to it first.
        failure: why there is no answer, if there is none.
    """

    name: str
    form: str
    wire: int
    inflated: int
    hold: float
    wall: float
    gap: float
    cpu: float
    turns: int
    place: str = ""
    answer: str = ""
    failure: str = ""

    @property
    def held(self) -> float:
        """Seconds that nobody else was served: by a step, or by a thread that kept the interpreter's lock."""
        return max(self.hold, self.gap)

    @property
    def byte(self) -> float | None:
        """Seconds of CPU a byte; None for no more than `FREE_BYTES`."""
        return self.cpu / self.inflated if self.inflated > FREE_BYTES else None

    def is_below(self, share: float = 1.0) -> bool:
        """Return True if it reaches this share of neither bar."""
        return self.held <= share * MOST_HOLD and (self.byte or 0) <= share * MOST_BYTE


class _Turn(NamedTuple):
    look: Look
    cpu: float
    answer: str
    failure: str


def attempts(gauge: Gauge, case: Case, first: int) -> Iterator[Row]:
    """Send a case plain and, if it is a long one of messages, deflated.

    Args:
        gauge: of the relay.
        case: what is sent.
        first: number of the first turn; the next case may have that which is `TURNS` higher.
    """
    yield (plain := _attempt(gauge, case, PLAIN, first))
    if isinstance(case, Messages) and plain.inflated > _SMALL:
        yield _attempt(gauge, case, DEFLATED, first + _TURNS)


def _attempt(gauge: Gauge, case: Case, form: str, first: int) -> Row:
    """Send a case in one form, a few times.

    Args:
        gauge: of the relay.
        case: what is sent.
        form: of the bytes.
        first: number of the first turn.
    """
    end = time.perf_counter() + _ENOUGH
    turns: list[_Turn] = []
    for number in range(first, first + _TURNS):
        data, inflated = _bytes(case, form, number)
        turns.append(_turn(gauge, case, form, data))
        row = _row(case, form, len(data), inflated, turns)
        if row.failure or row.is_below(_FAR) or time.perf_counter() > end:
            break
    return row


def _row(case: Case, form: str, wire: int, inflated: int, turns: Sequence[_Turn]) -> Row:
    longest = max((turn.look for turn in turns), key=lambda look: look.cpu)
    return Row(
        name=case.name,
        form=form,
        wire=wire,
        inflated=inflated,
        hold=statistics.median(turn.look.cpu for turn in turns),
        wall=min(turn.look.wall for turn in turns),
        gap=min(turn.look.gap for turn in turns),
        cpu=max(0.0, min(turn.cpu for turn in turns)),
        turns=len(turns),
        place=longest.place or longest.task,
        answer=turns[0].answer,
        failure=next((turn.failure for turn in turns if turn.failure), ""),
    )


def _bytes(case: Case, form: str, turn: int) -> tuple[bytes, int]:
    """What is written, and how many bytes count."""
    if isinstance(case, Frames):
        data = case.make()
        return data, len(data) if case.inflated is None else case.inflated
    if isinstance(case, Requests):
        data = case.make(turn)
        return data, len(data)
    messages = case.make(turn)
    plain = b"".join(map(frame, messages))
    return (plain if form == PLAIN else b"".join(map(deflated, messages))), len(plain)


def _turn(gauge: Gauge, case: Case, form: str, data: bytes) -> _Turn:
    if isinstance(case, Requests):
        return _measured(gauge, lambda: _Bare(gauge.server.port), data)
    before, answer = (case.before, case.answer) if isinstance(case, Messages) else (b"", b"")
    deflates = form == DEFLATED or isinstance(case, Frames)
    return _measured(gauge, lambda: _Talk(gauge.server.port, before, answer, deflates=deflates), data)


def _measured(gauge: Gauge, connect: Callable[[], _Talk | _Bare], data: bytes) -> _Turn:
    """From the first byte until the connection is closed and the relay idle again."""
    talk = connect()
    began, before = time.perf_counter(), gauge.look()
    talk.say(data)
    look = gauge.settle()
    talk.close()
    look = gauge.settle().after(look)
    cpu = look.used - before.used - gauge.idle * (time.perf_counter() - began)
    return _Turn(look, cpu, talk.answer, talk.failure)


class _Talk:
    """A WebSocket on which one case is sent, and behind it a question whose answer says that it was read."""

    def __init__(self, port: int, before: bytes, answer: bytes, *, deflates: bool) -> None:
        self._wire = Wire(port)
        self._wire.ask_handshake(deflate=deflates)
        self._wire.end_handshake()
        self._wire.on_data = self._take
        self._loop = Loop()
        self._wire.join(self._loop)
        self._expected = answer
        self._is_marked = self._is_answered = self._is_closed = False
        self.answer = ""
        self.failure = ""
        self._ask(frame(before) if before else b"", answer if before else b"")

    def say(self, data: bytes) -> None:
        """Send bytes, and wait for what they are answered with, or for the end of the connection."""
        self._ask(data, self._expected)

    def _ask(self, data: bytes, expected: bytes) -> None:
        self._is_marked, self._is_answered = False, not expected
        self.answer = ""
        end = time.perf_counter() + _MOST_SECONDS
        try:
            self._wire.send(data + _MARK)
            self._loop.run(lambda: self._is_done or time.perf_counter() > end)
        except (Failed, OSError):  # it has hung up
            self._is_closed = True
        if not self._is_done:
            self.failure = f"no answer after {_MOST_SECONDS:g} s"

    @property
    def _is_done(self) -> bool:
        return self._is_closed or (self._is_marked and self._is_answered)

    def _take(self, data: bytes) -> int:
        at = 0
        while (frame_ := server_frame(data, at)) is not None:
            first, message, at = frame_
            self._hear(first, message)
        return at

    def _hear(self, first: int, message: bytes) -> None:
        is_mark = message.startswith(_MARK_ANSWERS)
        self._is_closed = self._is_closed or first == _CLOSE
        self._is_marked = self._is_marked or is_mark
        self._is_answered = self._is_answered or message.startswith(self._expected)
        if not (self.answer or is_mark or message.startswith(b'["EVENT"')):
            self.answer = message[2 * (first == _CLOSE) :][:_TOLD].decode(errors="replace")

    def close(self) -> None:
        """Go away without a word."""
        self._loop.close()


def server_frame(data: bytes, at: int) -> tuple[int, bytes, int] | None:
    """The frame of a server that begins at a place: its first byte, its message inflated, and where it ends.

    None if not all of it is there yet.
    """
    start = at + 2
    if len(data) < start:
        return None
    length = data[at + 1]
    if more := _LONGER.get(length, 0):
        length, start = int.from_bytes(data[start : start + more], "big"), start + more
    if len(data) < start + length:  # or its length was cut off, and is too small now: then no byte is behind it
        return None
    message = data[start : start + length]
    if data[at] & _DEFLATED:
        message = zlib.decompressobj(-15).decompress(message + b"\x00\x00\xff\xff")
    return data[at], message, start + length


_LONGER: Final = {126: 2, 127: 8}
"""Bytes of a length that stands by itself (RFC 6455, section 5.2)."""


class _Bare:
    """A connection that is no WebSocket: it writes what the relay takes until that answers."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_MOST_SECONDS)
        self.answer = ""
        self.failure = ""

    def say(self, data: bytes) -> None:
        """Send bytes, and wait for an answer or the end."""
        try:
            self._socket.sendall(data)
            said = self._socket.recv(65_536)
        except TimeoutError:
            self.failure = f"no answer after {_MOST_SECONDS:g} s"
        except OSError:
            self.answer = "hung up"
        else:
            status = _STATUS.search(said)
            self.answer = status[0].decode() if status else "closed"

    def close(self) -> None:
        """Go away."""
        with closing(self._socket):
            pass
