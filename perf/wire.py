"""A lean client: frames built beforehand, answers counted in the bytes as they come, one epoll loop for thousands.

It must cost less than what it measures, so it parses no frame and no JSON. Where a message is cut by the end of a
read, its beginning is kept for the next one.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Final

from perf.plan import Failed

_READ_BYTES: Final = 262_144
_LAST_BYTES: Final = 300
STALL_SECONDS: Final = 60.0
"""So long a server may be silent while it owes an answer."""
_MOST_SECONDS: Final = 900.0
"""A load that takes longer has failed: whoever measures wants an end."""
_HANDSHAKE: Final = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
_OFFER: Final = b"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n"
_TEXT: Final = 0x81


def handshake(*, deflate: bool = False, address: str = "") -> bytes:
    """The request for a WebSocket, with the wish to deflate messages if so; as a proxy of a client's hands it on."""
    forwarded = f"X-Forwarded-For: {address}\r\n".encode() if address else b""
    return _HANDSHAKE + forwarded + (_OFFER if deflate else b"") + b"\r\n"


def frame(message: bytes, first: int = _TEXT) -> bytes:
    """A client's frame, of text by default; its mask is zero, which masks nothing and costs the generator nothing."""
    length = len(message)
    if length < 126:
        head = struct.pack("!BB", first, 0x80 | length)
    elif length < 65_536:
        head = struct.pack("!BBH", first, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, length)
    return head + bytes(4) + message


class Wire:
    """One connection; `on_data` gets what comes, with what was kept of the read before."""

    __slots__ = ("_kept", "_loop", "_pending", "last", "on_data", "socket")

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), STALL_SECONDS, (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.on_data: Callable[[bytes], int] = len
        """Takes bytes and tells how many of them it has understood; the rest comes again."""
        self.last = b""
        """The end of what came last, for the message when nothing more comes."""
        self._pending = bytearray()
        self._kept = b""
        self._loop: Loop | None = None

    def ask_handshake(self, *, deflate: bool = False, address: str = "") -> None:
        """Send the request for a WebSocket; blocks."""
        self.socket.sendall(handshake(deflate=deflate, address=address))

    def end_handshake(self) -> None:
        """Wait for its answer; what comes right behind it, such as a challenge of NIP-42, is kept."""
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.read(4096)
        if b" 101 " not in answer:
            raise Failed(f"no WebSocket: {answer[:300]!r}")
        self._kept = answer.partition(b"\r\n\r\n")[2]

    def read(self, most: int = _READ_BYTES) -> bytes:
        """What has come.

        Raises:
            Failed: nothing will come any more.
        """
        data = self.socket.recv(most)
        if not data:
            raise Failed(f"the server has closed a connection; at last {self.last!r}")
        self.last = data[-_LAST_BYTES:]
        return data

    def join(self, loop: Loop) -> None:
        """From now on nothing blocks."""
        self.socket.setblocking(False)
        self._loop = loop
        loop.add(self)

    def send(self, data: bytes) -> None:
        """Send now what the socket takes, the rest when it takes more."""
        if not self._pending:
            try:
                sent = self.socket.send(data)
            except BlockingIOError:
                sent = 0
            data = data[sent:]
        if data:
            assert self._loop is not None
            self._pending += data
            self._loop.watch(self, writing=True)

    def flush(self) -> None:
        """The socket takes more."""
        sent = self.socket.send(self._pending)
        del self._pending[:sent]
        if not self._pending and self._loop is not None:
            self._loop.watch(self, writing=False)

    def receive(self) -> None:
        """The socket has something."""
        data = self.read()
        if self._kept:
            data = self._kept + data
        self._kept = data[self.on_data(data) :]


class Loop:
    """Waits for all wires at a time."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._wires: dict[int, Wire] = {}

    def add(self, wire: Wire) -> None:
        """Wait for this one too."""
        self._wires[wire.socket.fileno()] = wire
        self._poll.register(wire.socket, select.EPOLLIN)

    def watch(self, wire: Wire, *, writing: bool) -> None:
        """Wait for room to write, or no more."""
        self._poll.modify(wire.socket, select.EPOLLIN | (select.EPOLLOUT if writing else 0))

    def run(self, until: Callable[[], bool], pace: Callable[[], float] | None = None) -> None:
        """Go on until the condition holds.

        Args:
            until: asked after each turn.
            pace: sends what is due and tells the seconds to the next; by default nothing is ever due.

        Raises:
            Failed: nothing comes any more, or it takes too long.
        """
        heard = start = time.perf_counter()
        while not until():
            ready = self._wait(None if pace is None else pace())
            now = time.perf_counter()
            if ready:
                heard = now
            if now - heard > STALL_SECONDS or now - start > _MOST_SECONDS:
                last = next((wire.last for wire in self._wires.values() if wire.last), b"")
                raise Failed(f"not done after {now - start:.0f} s, silent for {now - heard:.0f} s; at last {last!r}")
            for number, mask in ready:
                wire = self._wires[number]
                if mask & select.EPOLLOUT:
                    wire.flush()
                if mask & ~select.EPOLLOUT:
                    wire.receive()

    def _wait(self, seconds: float | None) -> list[tuple[int, int]]:
        """Sockets that have something; at once if no time is left, and never longer than a second."""
        if seconds is None:
            return self._poll.poll(1)
        # epoll counts in whole milliseconds and would make a fixed rate come in bursts; select takes microseconds.
        select.select([self._poll], [], [], min(max(seconds, 0), 1))
        return self._poll.poll(0)

    def close(self) -> None:
        """Drop every connection."""
        for wire in self._wires.values():
            wire.socket.close()
        self._poll.close()


def connect(port: int, count: int, at_a_time: int = 50, network: str = "") -> list[Wire]:
    """So many connections, their handshakes done, some at a time.

    Args:
        port: of the server.
        count: of connections.
        at_a_time: so many.
        network: three numbers of IPv4 addresses, of which each connection has one, as a proxy tells it; empty: that of
            this machine.
    """
    wires: list[Wire] = []
    while len(wires) < count:
        some = [Wire(port) for _ in range(min(at_a_time, count - len(wires)))]
        for number, wire in enumerate(some, len(wires)):
            wire.ask_handshake(address=f"{network}.{number + 1}" if network else "")
        for wire in some:
            wire.end_handshake()
        wires += some
    return wires
