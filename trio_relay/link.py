"""A line between two processes of one relay: messages in order, both ways, told or asked.

On the wire a message is its length, 4 bytes, big-endian, and an array of msgpack: what it is, its number, its payload.
Whoever reads it takes one message after the other: what came before a question was taken before it is answered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Final, TypeAlias

import msgspec
import trio

Tells: TypeAlias = Mapping[str, Callable[[bytes], Awaitable[None]]]
"""What takes the messages that the other side tells, by their names; the next message waits for it."""
Calls: TypeAlias = Mapping[str, Callable[[bytes], Awaitable[bytes]]]
"""What answers the other side's questions, by their names, each in a task of its own."""

_LENGTH_BYTES: Final = 4
_READ_BYTES: Final = 262_144
_ANSWER: Final = "answer"
_REFUSAL: Final = "refusal"


class LinkEnded(Exception):
    """The other side is gone, or this side has ended the link."""


class Refused(Exception):
    """The other side did not do what it was asked for; the message says why, in words that clients may be told."""


class _Message(msgspec.Struct, array_like=True):
    name: str
    number: int
    payload: bytes


class Link:
    """One end of a line; `run` has to run for anything to come or go.

    Args:
        stream: to the other end; closed by `run`.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._outgoing = bytearray()
        self._sending = 0
        self._has_outgoing = trio.Event()
        self._numbers = count(1)
        self._asked: dict[int, _Question] = {}
        self._is_over = False
        self._left = trio.Event()
        self.on_room: Callable[[], None] = lambda: None
        """Called when all that was told has left; sync."""
        self.on_end: Callable[[], None] = lambda: None
        """Called when the link has ended; sync."""

    @property
    def waiting(self) -> int:
        """Bytes that were told and have not left."""
        return len(self._outgoing) + self._sending

    async def room(self, most: int) -> None:
        """Wait until no more than so many bytes wait; returns at once if the link has ended."""
        while self.waiting > most and not self._is_over:
            await self._left.wait()

    def tell(self, name: str, payload: bytes) -> None:
        """Send a message; never waits. Nothing happens if the link has ended."""
        self._put(name, 0, payload)

    async def call(self, name: str, payload: bytes = b"") -> bytes:
        """Ask the other side, and return its answer.

        Raises:
            Refused: it answered so.
            LinkEnded: it cannot answer any more.
        """
        if self._is_over:
            raise LinkEnded
        number = next(self._numbers)
        question = self._asked[number] = _Question()
        self._put(name, number, payload)
        try:
            await question.answered.wait()
        finally:
            del self._asked[number]
        if question.error is not None:
            raise question.error
        return question.answer

    def _put(self, name: str, number: int, payload: bytes) -> None:
        if self._is_over:
            return
        message = _encode(_Message(name, number, payload))
        self._outgoing += len(message).to_bytes(_LENGTH_BYTES, "big")
        self._outgoing += message
        self._has_outgoing.set()

    async def run(self, tells: Tells, calls: Calls | None = None) -> None:
        """Take what the other side says until it is gone, or this is cancelled; then questions raise `LinkEnded`.

        Args:
            tells: one at a time, in order. An exception ends the link and comes out of here.
            calls: answers; `Refused` goes to who asks, any other exception ends the link and comes out of here.
        """
        try:
            async with self._stream, trio.open_nursery() as nursery:
                nursery.start_soon(self._send)
                await self._take_all(tells, calls or {}, nursery)
                nursery.cancel_scope.cancel(reason="the other side is gone")
        finally:
            self.end()

    def end(self) -> None:
        """Say and hear nothing more; sync."""
        self._is_over = True
        self._left.set()
        for question in self._asked.values():
            question.end(LinkEnded())
        self.on_end()

    async def _send(self) -> None:
        try:
            while True:
                await self._has_outgoing.wait()
                self._has_outgoing = trio.Event()
                while self._outgoing:
                    part, self._outgoing = self._outgoing, bytearray()
                    self._sending = len(part)
                    await self._stream.send_all(part)
                    self._sending = 0
                    self._pass_room()
                self.on_room()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._is_over = True  # the reader will find the end

    def _pass_room(self) -> None:
        self._left.set()
        self._left = trio.Event()

    async def _take_all(self, tells: Tells, calls: Calls, nursery: trio.Nursery) -> None:
        data = bytearray()
        while True:
            try:
                part = await self._stream.receive_some(_READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            if not part:
                return
            data += part
            start = 0
            while (end := _end_of_message(data, start)) is not None:
                message = _decode(data[start + _LENGTH_BYTES : end])
                start = end
                await self._take(message, tells, calls, nursery)
            del data[:start]

    async def _take(self, message: _Message, tells: Tells, calls: Calls, nursery: trio.Nursery) -> None:
        name, number = message.name, message.number
        if name in (_ANSWER, _REFUSAL):
            if (question := self._asked.get(number)) is not None:  # else nobody waits for it any more
                question.end(Refused(message.payload.decode()) if name == _REFUSAL else None, message.payload)
        elif number:
            nursery.start_soon(self._answer, calls[name], number, message.payload)
        else:
            await tells[name](message.payload)

    async def _answer(self, answer: Callable[[bytes], Awaitable[bytes]], number: int, payload: bytes) -> None:
        try:
            self._put(_ANSWER, number, await answer(payload))
        except Refused as refusal:
            self._put(_REFUSAL, number, str(refusal).encode())


class _Question:
    __slots__ = ("answer", "answered", "error")

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.answer = b""
        self.error: Exception | None = None

    def end(self, error: Exception | None, answer: bytes = b"") -> None:
        if not self.answered.is_set():
            self.error, self.answer = error, answer
            self.answered.set()


def _end_of_message(data: bytearray, start: int) -> int | None:
    """Where the message that begins here ends; None if not all of it is there."""
    if len(data) - start < _LENGTH_BYTES:
        return None
    end = start + _LENGTH_BYTES + int.from_bytes(data[start : start + _LENGTH_BYTES], "big")
    return end if end <= len(data) else None


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Message).decode
