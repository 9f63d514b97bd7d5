"""A client without a library: it can break every rule, and answers nothing that it is not told to."""

from __future__ import annotations

import base64
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from tests.support.program import PATIENCE

TEXT: Final = 0x81
BINARY: Final = 0x82
CLOSE: Final = 0x88

_MASK: Final = bytes(4)
"""A mask of zeros is one, and leaves the payload readable."""

UPGRADE: Final = (
    "GET / HTTP/1.1\r\nHost: relay.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n\r\n"
).encode()


def frame(first: int, payload: bytes) -> bytes:
    """A frame as a client must send it, masked (RFC 6455, section 5.2)."""
    if len(payload) < 126:
        head = struct.pack("!BB", first, 0x80 | len(payload))
    elif len(payload) < 65_536:
        head = struct.pack("!BBH", first, 0x80 | 126, len(payload))
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, len(payload))
    return head + _MASK + payload


def close_code(received: bytes) -> int | None:
    """The code in the last frame of what a server sent, if that is a close frame."""
    start = received.rfind(bytes([CLOSE]))
    if start < 0 or len(received) < start + 4 or received[start + 1] != len(received) - start - 2:
        return None
    return int.from_bytes(received[start + 2 : start + 4], "big")


class Raw:
    """A TCP connection to the program."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._received = b""

    async def send(self, data: bytes) -> None:
        """Send these bytes."""
        with trio.fail_after(PATIENCE):
            await self._stream.send_all(data)

    async def until(self, end: bytes) -> bytes:
        """What has come, up to these bytes and with them."""
        with trio.fail_after(PATIENCE):
            while end not in self._received:
                chunk = await self._stream.receive_some()
                assert chunk, self._received
                self._received += chunk
        head, end, self._received = self._received.partition(end)
        return head + end

    async def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        with trio.fail_after(PATIENCE):
            async for chunk in self._stream:
                self._received += chunk
        return self._received

    async def upgrade(self) -> None:
        """Become a WebSocket; the challenge that comes at once (NIP-42) is taken."""
        await self.send(UPGRADE)
        assert (await self.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert b'["AUTH","' in await self.until(b'"]')


@asynccontextmanager
async def connected(address: tuple[str, int]) -> AsyncIterator[Raw]:
    """A new connection, nothing said on it yet."""
    async with await trio.open_tcp_stream(*address) as stream:
        yield Raw(stream)
