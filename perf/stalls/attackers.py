"""A process of hostile clients at a limit each: `python -m perf.stalls.attackers PORT EACH KIND...`.

It says "ready" once all have done so, or were refused, and what became of them once its input ends. Whoever is hung up
on comes back after a second. Half of the clients of a kind have one address, the others one each, so that what the
relay allows an address is met both ways. All addresses are of this machine.
"""

from __future__ import annotations

import struct
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import count, islice
from typing import Any, Final

import msgspec
import trio

from perf.asking import publishing
from perf.corpus import signed_events
from perf.generator import open_many_files
from perf.stalls.attempt import server_frame
from perf.stalls.cases import FILTERS, LIMITS, MESSAGE
from perf.stalls.frames import in_chunks
from perf.wire import frame, handshake

EACH: Final = 25
"""Clients of a kind."""
_MOST_SECONDS: Final = 150.0
_BACK: Final = 1.0
_DRIP: Final = 0.5
_READY: Final = 20.0
"""Seconds after which the others no longer wait for one who has not come to its limit."""
_SMALL: Final = 4_096
"""Bytes of the system's buffer of a client that does not read."""
_VALUES: Final = 50_000
"""Of a subscription that is tried first; if they are too many, half of them are, and so on."""
_FEWEST: Final = 16
_json: Final = msgspec.json.Encoder().encode
_COUNTS: Final = 200
_WINDOW: Final = 50
_SPOILT: Final = 200
"""Invalid events that are sent again and again: nobody remembers them."""


class Client:
    """One hostile client: a connection, and how it says that it is at its limit.

    Args:
        port: of the relay.
        source: its address, as a proxy on this machine tells it.
        number: among all; what it asks for is its own.
    """

    def __init__(self, port: int, source: str, number: int) -> None:
        self.number = number
        self.is_ready = trio.Event()
        self._port = port
        self._source = source
        self._socket: trio.socket.SocketType | None = None
        self._rest = b""

    async def connect(self, *, reads: bool = True) -> None:
        """Connect anew."""
        self._socket = trio.socket.socket()
        if not reads:
            self._socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, _SMALL)
        await self._socket.connect(("127.0.0.1", self._port))
        self._rest = b""

    async def upgrade(self, *, reads: bool = True) -> None:
        """Connect anew, as a WebSocket.

        Raises:
            OSError: it is refused.
        """
        await self.connect(reads=reads)
        await self.send(handshake(address=self._source))
        while b"\r\n\r\n" not in self._rest:
            await self._receive()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        if b" 101 " not in head:
            raise ConnectionRefusedError

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        assert self._socket is not None
        while data:
            data = data[await self._socket.send(data) :]

    async def say(self, *message: object) -> None:
        """Send a message."""
        await self.send(frame(_json(message)))

    async def receive(self, most: int) -> bytes:
        """What comes next.

        Raises:
            OSError: nothing will.
        """
        assert self._socket is not None
        data = await self._socket.recv(most)
        if not data:
            raise ConnectionResetError
        return data

    async def _receive(self) -> None:
        self._rest += await self.receive(65_536)

    async def hear(self) -> bytes:
        """The next message."""
        while (found := server_frame(self._rest, 0)) is None:
            await self._receive()
        _, message, end = found
        self._rest = self._rest[end:]
        return message

    async def drain(self) -> None:
        """Read, and forget."""
        while True:
            self._rest = b""
            await self._receive()

    @property
    def is_connected(self) -> bool:
        """True from `connect` until `close`."""
        return self._socket is not None

    def close(self) -> None:
        """Disconnect, without a word."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def run(self, kind: str, tally: Counter[str]) -> None:
        """Attack again and again, in a way that `ATTACKS` names; what becomes of it is counted."""
        while True:
            with suppress(OSError):
                await ATTACKS[kind](self)
            tally[f"{kind}: hung up"] += 1
            self.is_ready.set()  # it can do no more than come back
            self.close()
            await trio.sleep(_BACK)


Attack = Callable[[Client], Awaitable[None]]


async def values(client: Client) -> None:
    """A subscription to as many values as are taken, none of which another client has."""
    await client.upgrade()
    number = _VALUES
    while number >= _FEWEST:
        await client.say("REQ", "x", {"#t": [f"{client.number}-{one}" for one in range(number)]})
        while not (answer := await client.hear()).startswith((b'["EOSE"', b'["CLOSED"')):
            pass
        if answer.startswith(b'["EOSE"'):
            break
        number //= 2
    client.is_ready.set()
    await client.drain()


async def unread(client: Client) -> None:
    """Many long answers that it does not read."""
    await client.upgrade(reads=False)
    for number in range(LIMITS.max_subscriptions):
        with trio.move_on_after(1):
            filters = [{"limit": LIMITS.max_limit, "since": number * FILTERS + one} for one in range(FILTERS)]
            await client.say("REQ", f"x{number}", *filters)
            continue
        break
    client.is_ready.set()
    await trio.sleep_forever()


async def dripped(client: Client) -> None:
    """A message as long as is taken, that never ends: in one frame, or in many."""
    await client.upgrade()
    if client.number % 2:
        await client.send(struct.pack("!BBQ", 0x81, 0x80 | 127, MESSAGE) + bytes(4) + b" " * (MESSAGE - 1_000))
    else:
        await client.send(frame(b"", 0x01) + frame(b" " * 1_020, 0x00) * 1_000)
    client.is_ready.set()
    while True:
        await trio.sleep(_DRIP)
        await client.send(b" " if client.number % 2 else frame(b"", 0x89))


async def empty(client: Client) -> None:
    """Subscriptions to nothing that is stored, and to no value."""
    await client.upgrade()
    for number in range(LIMITS.max_subscriptions):
        await client.say("REQ", f"x{number}", *[{"since": 2_000_000_000 + client.number, "limit": 0}] * FILTERS)
    client.is_ready.set()
    await client.drain()


async def counts(client: Client) -> None:
    """Counts of everything, all other, as many as may wait."""
    await client.upgrade()
    for number in count():
        if number >= _COUNTS:
            client.is_ready.set()
            while not (await client.hear()).startswith((b'["COUNT"', b'["CLOSED"')):
                pass
        filters = [{"kinds": [1, 7, kind], "since": number} for kind in range(8, 8 + FILTERS)]
        await client.say("COUNT", f"x{number}", *filters)


async def syncs(client: Client) -> None:
    """As many syncs as may be open, of sets of their own, idle."""
    await client.upgrade()
    for number in range(4):
        await client.say("NEG-OPEN", f"x{number}", {"since": client.number * 4 + number}, "6100000200")
    client.is_ready.set()
    await client.drain()


async def invalid(client: Client) -> None:
    """Events with wrong signatures, one after another."""
    await client.upgrade()
    questions = publishing(_spoilt())
    for number in count():
        await client.send(questions[number % _SPOILT].data)
        if number >= _WINDOW:
            client.is_ready.set()
            while not (await client.hear()).startswith(b'["OK"'):
                pass


async def bodies(client: Client) -> None:
    """Requests whose bodies come in chunks of a byte, or never whole."""
    await client.connect()
    client.is_ready.set()
    await client.send(in_chunks(b"POST /", 60_000, b"" if client.number % 2 else b"0\r\n\r\n"))
    await client.drain()


ATTACKS: Final[dict[str, Attack]] = {
    "values": values,
    "unread": unread,
    "dripped": dripped,
    "empty": empty,
    "counts": counts,
    "syncs": syncs,
    "invalid": invalid,
    "bodies": bodies,
}


def _spoilt() -> list[Any]:
    return [
        msgspec.structs.replace(event, sig=event.sig[:-1] + ("1" if event.sig[-1] == "0" else "0"))
        for event in islice(signed_events(_SPOILT), _SPOILT)
    ]


def source_of(kind: int, number: int, each: int) -> str:
    """The address of a client: the first half of so many of a kind share one."""
    return f"198.51.100.{kind + 1}" if number < each // 2 else f"203.0.113.{kind * each + number}"


async def _attack(port: int, each: int, names: Sequence[str]) -> None:
    tally: Counter[str] = Counter()
    with trio.move_on_after(_MOST_SECONDS):
        async with trio.open_nursery() as nursery:
            clients = []
            for kind, name in enumerate(ATTACKS):
                for number in range(each if name in names else 0):
                    client = Client(port, source_of(kind, number, each), kind * each + number)
                    nursery.start_soon(client.run, name, tally)
                    clients.append(client)
            with trio.move_on_after(_READY):
                for client in clients:
                    await client.is_ready.wait()
            _tell(b"ready")
            await trio.to_thread.run_sync(sys.stdin.buffer.readline, abandon_on_cancel=True)
            nursery.cancel_scope.cancel()
    _tell(_json(tally))


def _tell(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    open_many_files()
    trio.run(_attack, int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
