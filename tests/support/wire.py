"""A client without a library: it can say what no decent client would, and sees every frame and byte that comes back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import trio
import trio.testing
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, Protocol

from tests.support.server import Door, Pair
from trio_relay.net.frames import DEFLATE_WINDOW

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

HANDSHAKE: Final[dict[str, str | None]] = {
    "Host": "memory",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
"""The sample of RFC 6455, section 1.3; its answer holds `ACCEPT`."""
ACCEPT: Final = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

_PATIENCE: Final = 120
"""Seconds, virtual where the clock is."""


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True) -> bytes:
    """One frame (RFC 6455, section 5.2); a client's are masked."""
    length = len(payload)
    head = bytes([fin << 7 | opcode])
    bit = 0x80 if masked else 0
    if length < 126:
        head += bytes([bit | length])
    elif length < 65_536:
        head += bytes([bit | 126]) + length.to_bytes(2)
    else:
        head += bytes([bit | 127]) + length.to_bytes(8)
    if not masked:
        return head + payload
    mask = b"\x01\x02\x03\x04" * (length // 4 + 1)
    hidden = int.from_bytes(payload) ^ int.from_bytes(mask[:length])
    return head + mask[:4] + hidden.to_bytes(length)


def message(*values: object) -> bytes:
    """A Nostr message as a frame."""
    return frame(TEXT, msgspec.json.encode(values))


def inflated(*frames: bytes) -> list[bytes]:
    """The messages in frames of a server, as a client reads them that inflates with no larger a window than needed."""
    client = Protocol(CLIENT, max_size=None)
    client.extensions = [PerMessageDeflate(True, True, DEFLATE_WINDOW, 15)]
    client.receive_data(b"".join(frames))
    assert client.parser_exc is None
    return [bytes(found.data) for found in client.events_received()]  # type: ignore[union-attr]  # frames only


def deflated(message: bytes) -> bytes:
    """The payload of a message as a client deflates it that takes no context over."""
    return bytes(PerMessageDeflate(True, True, 15, 15).encode(Frame(Opcode.TEXT, message)).data)


def closing(code: int, reason: str = "") -> bytes:
    """A close frame."""
    return frame(CLOSE, code.to_bytes(2) + reason.encode())


def request(
    method: str = "GET", target: str = "/", headers: Mapping[str, str] | None = None, body: bytes = b""
) -> bytes:
    """An HTTP request."""
    named = {"Host": "memory", **(headers or {})}
    if body:
        named["Content-Length"] = str(len(body))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def upgrade(target: str = "/", **changes: str | None) -> bytes:
    """A WebSocket handshake; headers, written with underscores, can be changed or left out."""
    changed = HANDSHAKE | {name.replace("_", "-"): value for name, value in changes.items()}
    return request("GET", target, {name: value for name, value in changed.items() if value is not None})


@dataclass(frozen=True)
class Reply:
    """An HTTP response; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """The client's end of a connection, byte by byte."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.pause = 0.0
        """Seconds before each read."""
        self.most_bytes: int | None = None
        """Of each read."""
        self._read = b""

    async def send(self, *data: bytes) -> None:
        """Send these bytes in one go."""
        with trio.fail_after(_PATIENCE):
            await self.stream.send_all(b"".join(data))

    async def reply(self, method: str = "GET") -> Reply:
        """The next HTTP response, to a request with this method."""
        head = await self._until(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").rstrip().split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        headers: dict[str, str] = {}
        for line in lines:
            name, value = line.split(": ", 1)
            headers[name.lower()] = value
        length = 0 if method == "HEAD" else int(headers.get("content-length", "0"))
        return Reply(int(status), headers, await self._exactly(length))

    async def ask(self, method: str = "GET", target: str = "/", **headers: str) -> Reply:
        """Send a request, and give its response."""
        await self.send(request(method, target, headers))
        return await self.reply(method)

    async def open(self, *first: bytes, offer: str | None = None) -> str | None:
        """Become a WebSocket; `first` goes out together with the handshake. Gives the extensions agreed to."""
        await self.send(upgrade(Sec_WebSocket_Extensions=offer), *first)
        reply = await self.reply()
        assert reply.status == 101
        return reply.headers.get("sec-websocket-extensions")

    async def receive_frame(self) -> tuple[int, bytes]:
        """The next frame's opcode and payload; it must be a plain one."""
        framed, payload = await self.receive_whole_frame()
        assert framed[0] & 0xF0 == 0x80, "the relay sends no fragments"
        return framed[0] & 0x0F, payload

    async def receive_whole_frame(self) -> tuple[bytes, bytes]:
        """All bytes of the next frame, and its payload."""
        head = await self._exactly(2)
        assert head[1] < 0x80, "a server's frame is not masked"
        length = head[1]
        if length >= 126:
            size = await self._exactly(2 if length == 126 else 8)
            head, length = head + size, int.from_bytes(size)
        payload = await self._exactly(length)
        return head + payload, payload

    async def receive_inflated(self) -> tuple[bool, list[Any]]:
        """The next Nostr message, and whether it came deflated."""
        framed, _ = await self.receive_whole_frame()
        [found] = inflated(framed)
        return framed[0] == 0xC1, json.loads(found)

    async def receive(self) -> list[Any]:
        """The next Nostr message."""
        opcode, payload = await self.receive_frame()
        assert opcode == TEXT, (opcode, payload)
        value: list[Any] = json.loads(payload)
        return value

    async def receive_close(self) -> tuple[int, str]:
        """The next frame's code and reason; it must be a close frame."""
        opcode, payload = await self.receive_frame()
        assert opcode == CLOSE, (opcode, payload)
        return int.from_bytes(payload[:2]), payload[2:].decode()

    async def receive_end(self) -> bytes:
        """Wait for the end of the stream; gives what came before it."""
        with trio.fail_after(_PATIENCE):
            try:
                while data := await self.stream.receive_some():
                    self._read += data
            except trio.BrokenResourceError:
                pass
        return self._read

    async def _until(self, end: bytes) -> bytes:
        while end not in self._read:
            await self._more()
        found, _, self._read = self._read.partition(end)
        return found

    async def _exactly(self, count: int) -> bytes:
        while len(self._read) < count:
            await self._more()
        taken, self._read = self._read[:count], self._read[count:]
        return taken

    async def _more(self) -> None:
        with trio.fail_after(_PATIENCE):
            if self.pause:
                await trio.sleep(self.pause)
            data = await self.stream.receive_some(self.most_bytes)
        assert data, f"the connection has ended, after {self._read!r}"
        self._read += data


@asynccontextmanager
async def open_stream(door: Door, pair: Pair = trio.testing.memory_stream_pair) -> AsyncIterator[Wire]:
    """A new connection that has said nothing yet; it is dropped at the end."""
    wire = Wire(await door.listener.connect(pair))
    try:
        yield wire
    finally:
        await trio.aclose_forcefully(wire.stream)


@asynccontextmanager
async def open_wire(
    door: Door, pair: Pair = trio.testing.memory_stream_pair, *, offer: str | None = None
) -> AsyncIterator[Wire]:
    """A connection whose WebSocket handshake is done; `offer` is of extensions."""
    async with open_stream(door, pair) as wire:
        await wire.open(offer=offer)
        yield wire


@asynccontextmanager
async def connected(address: tuple[str, int]) -> AsyncIterator[Wire]:
    """A new TCP connection to a program, nothing said on it yet."""
    async with await trio.open_tcp_stream(*address) as stream:
        yield Wire(stream)
