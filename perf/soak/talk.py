"""One WebSocket of an honest client: messages in and out, pings answered, and one word for all its ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import trio

from perf.stalls.attempt import server_frame
from perf.wire import frame, handshake

PATIENCE: Final = 60.0
"""Seconds without an answer after which an honest client gives a connection up."""
_READ_BYTES: Final = 262_144
_TEXT: Final = 1
_CLOSE: Final = 8
_PING: Final = 9
_PONG: Final = 0x8A
_json: Final = msgspec.json.Encoder().encode


class Gone(Exception):
    """The connection has ended, or there is none to be had; the message says how."""


class Talk:
    """A connection whose handshake is done."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._rest = b""
        self._at = 0
        self.answers: dict[str, set[str]] = {}
        """What came for each question so far, by its sub id: nothing may come twice."""

    async def say(self, *messages: object) -> None:
        """Send messages, in one go.

        Raises:
            Gone: the connection has ended.
        """
        await self.send(b"".join(frame(_json(message)) for message in messages))

    async def send(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            Gone: the connection has ended.
        """
        try:
            with trio.fail_after(PATIENCE):
                await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.TooSlowError) as error:
            raise Gone("nothing can be sent") from error

    async def hear(self) -> list[Any]:
        """The next message.

        Raises:
            Gone: the connection has ended.
        """
        while True:
            while (found := server_frame(self._rest, self._at)) is None:
                self._rest, self._at = self._rest[self._at :] + await self._receive(), 0
            first, payload, self._at = found
            if first & 0x0F == _TEXT:
                message: list[Any] = msgspec.json.decode(payload)
                return message
            if first & 0x0F == _CLOSE:
                raise Gone(f"closed: {payload[2:].decode(errors='replace')}")
            if first & 0x0F == _PING:
                await self.send(frame(payload, _PONG))

    async def _receive(self) -> bytes:
        try:
            with trio.fail_after(PATIENCE):
                data = bytes(await self._stream.receive_some(_READ_BYTES))
        except (trio.BrokenResourceError, trio.TooSlowError) as error:
            raise Gone("nothing comes") from error
        if not data:
            raise Gone("the relay has hung up")
        return data

    async def shake_hands(self, address: str) -> None:
        """Become a WebSocket.

        Raises:
            Gone: it is refused.
        """
        await self.send(handshake(address=address))
        head = b""
        while b"\r\n\r\n" not in head:
            head += await self._receive()
        head, _, self._rest = head.partition(b"\r\n\r\n")
        if b" 101 " not in head:
            raise Gone(f"no WebSocket: {head[:60]!r}")


@asynccontextmanager
async def talking(port: int, address: str) -> AsyncIterator[Talk]:
    """A new connection of a client whose address is this one, as a proxy on this machine tells it; dropped at the end.

    Raises:
        Gone: there is none to be had.
    """
    try:
        with trio.fail_after(PATIENCE):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
    except (OSError, trio.TooSlowError) as error:
        raise Gone("nobody listens") from error
    try:
        talk = Talk(stream)
        await talk.shake_hands(address)
        yield talk
    finally:
        await trio.aclose_forcefully(stream)
