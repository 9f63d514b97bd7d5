"""A connection's bytes, in and out, with a way out that does not wait.

Trio's own stream tries first and waits then, and gives up its turn either way. A relay nearly always knows which of
the two it wants: it reads when there is something, and sends what the kernel takes at once. Over a socket that is half
the cost of a small exchange. Any other stream, such as tests use, works too; it takes nothing at once.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Final

import trio

from trio_relay.net.addresses import UNIX, UNKNOWN

_READ_BYTES: Final = 65_536
_MAPPED: Final = "::ffff:"
"""How an IPv4 address begins on a socket of IPv6 (RFC 4291, section 2.5.5.2)."""


class Transport:
    """Over any stream; the caller closes that."""

    __slots__ = ("stream",)

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream

    async def receive(self, most: int) -> bytes:
        """The next bytes, b"" at the end of the stream, however it came."""
        try:
            return bytes(await self.stream.receive_some(most))
        except trio.BrokenResourceError:
            return b""

    def send_nowait(self, data: bytes) -> int:
        """Send as many of the bytes as can leave at once, and tell how many.

        Raises:
            OSError: the connection is broken.
        """
        return 0

    async def send(self, data: bytes | memoryview) -> None:
        """Send all of it.

        Raises:
            trio.BrokenResourceError: the connection is broken.
        """
        await self.stream.send_all(data)

    async def end(self) -> None:
        """Say that nothing more comes, and wait until the other end says so, too; for ever, if it doesn't.

        Closing at once, with input unread, makes the kernel reset the connection and the client lose its last messages;
        of a WebSocket the server closes first (RFC 6455, section 7.1.1).
        """
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.send_eof()
            while await self.receive(_READ_BYTES):
                pass

    async def send_eof(self) -> None:
        """Say that nothing more comes, where the stream can.

        Raises:
            trio.BrokenResourceError: the connection is broken.
        """
        if isinstance(self.stream, trio.abc.HalfCloseableStream):
            await self.stream.send_eof()


class SocketTransport(Transport):
    """Over a socket, by its descriptor; not to be used after the stream has been closed."""

    __slots__ = ("_fd",)

    def __init__(self, stream: trio.SocketStream) -> None:
        super().__init__(stream)
        self._fd = stream.socket.fileno()  # which Trio has made non-blocking

    async def receive(self, most: int) -> bytes:
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            try:
                return os.read(self._fd, most)
            except BlockingIOError:  # the kernel may change its mind, about a bad checksum say
                continue
            except OSError:
                return b""

    def send_nowait(self, data: bytes) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0


def transport(stream: trio.abc.Stream) -> Transport:
    """The fastest that this stream allows."""
    return SocketTransport(stream) if isinstance(stream, trio.SocketStream) else Transport(stream)


def peer_address(stream: trio.abc.Stream) -> str:
    """The address at the other end, without its port; of IPv4 also where the socket is of IPv6 and takes both."""
    with suppress(OSError, ValueError):  # the latter where addresses have no ports
        if isinstance(stream, trio.SocketStream):
            if stream.socket.family == socket.AF_UNIX:
                # Of the two ends only ours has a name, and a pair that was never listened for has none.
                return UNIX if stream.socket.getsockname() else UNKNOWN
            host, _port = stream.socket.getpeername()[:2]
            return str(host).removeprefix(_MAPPED)
    return UNKNOWN
