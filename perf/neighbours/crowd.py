"""A process of hostile neighbours of one kind: `python -m perf.neighbours.crowd PORT CLIENTS STORED KIND`.

It says "ready" once all have connected, begins with the line that it then reads, ends with its input or after two
minutes, and tells last what it did. Every client has an address of its own, as a proxy on this machine tells it.
"""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from typing import Final

import msgspec
import trio

from perf.generator import open_many_files
from perf.neighbours.kinds import KINDS, Kind, Say
from perf.stalls.attackers import Client

_MOST_SECONDS: Final = 120.0
_BACK: Final = 1.0
"""Seconds after which a client comes back that was hung up on."""
_READY: Final = 10.0
_READ_BYTES: Final = 262_144
_ANSWERS: Final = (b'["EOS', b'["CLO', b'["COU', b'["OK"', b'["NEG', b'["NOT')
"""How answers begin; inside of JSON strings the quotes would have backslashes."""
_KEPT: Final = len(_ANSWERS[0]) - 1


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a crowd.

    Attributes:
        turns: that were said.
        answers: that came.
        received: bytes that were read.
        hung_up: connections that the relay ended or refused.
        cpu: seconds that the crowd itself used.
    """

    turns: int = 0
    answers: int = 0
    received: int = 0
    hung_up: int = 0
    cpu: float = 0.0


def address_of(number: int) -> str:
    """Of a hostile client; no two have the same, nor the same network."""
    return f"198.18.{number // 250}.{number % 250 + 1}"


def answers_in(data: bytes) -> int:
    """How many answers begin in what was read."""
    return sum(map(data.count, _ANSWERS))


class Pace:
    """When the turns of one client are due: at a fixed rate, and what was missed is not made up for.

    Args:
        interval: seconds between two turns.
        now: of the first one.
    """

    def __init__(self, interval: float, now: float) -> None:
        self._interval = interval
        self._due = now

    def next(self, now: float) -> float:
        """When the next turn is due."""
        due = max(self._due, now)
        self._due = due + self._interval
        return due


class Neighbour(Client):
    """One hostile client, which says what its kind says for as long as it is there.

    Args:
        port: of the relay.
        number: among those of its kind.
        kind: what it does.
        say: its turns.
        pace: when they are due.
    """

    def __init__(self, port: int, number: int, kind: Kind, say: Say, pace: Pace) -> None:
        super().__init__(port, address_of(number), number)
        self.turns = self.answers = self.received = self.hung_up = 0
        self._kind = kind
        self._say = say
        self._pace = pace
        self._open = 0
        self._answered = trio.Event()

    async def prepare(self) -> None:
        """Connect for the first time, if connections last."""
        if self._kind.stays:
            with suppress(OSError):
                await self.upgrade(reads=self._kind.reads)

    async def go_on(self) -> None:
        """Be hostile, for ever; coming back where the relay hangs up."""
        while True:
            try:
                await self._connected() if self._kind.stays else await self._come_and_go()
            except* OSError:
                self.hung_up += 1
                self.close()
                await trio.sleep(_BACK)

    async def _connected(self) -> None:
        if not self.is_connected:
            await self.upgrade(reads=self._kind.reads)
        self._open = 0
        async with trio.open_nursery() as nursery:
            if self._kind.reads:
                nursery.start_soon(self._read)
            while True:
                while self._kind.window and self._open >= self._kind.window:
                    self._answered = trio.Event()
                    await self._answered.wait()
                await self._say_next()

    async def _say_next(self) -> None:
        await trio.sleep_until(self._pace.next(trio.current_time()))
        self._open += 1
        self.turns += 1
        await self.send(self._say(self.number, self.turns))

    async def _come_and_go(self) -> None:
        await trio.sleep_until(self._pace.next(trio.current_time()))
        self.turns += 1
        await self.upgrade()
        await self.send(self._say(self.number, self.turns))
        self.close()

    async def _read(self) -> None:
        kept = b""
        owed = 0
        while True:
            data = kept + await self.receive(_READ_BYTES)
            self.received += len(data) - len(kept)
            kept = data[-_KEPT:]
            if found := answers_in(data):
                self.answers += found
                owed += found
                if self._kind.answers:
                    self._open = max(0, self._open - owed // self._kind.answers)
                    owed %= self._kind.answers
                self._answered.set()


async def _crowd(port: int, clients: int, stored: int, kind: Kind) -> None:
    say = kind.make(stored)
    everybody = [
        Neighbour(port, number, kind, say, Pace(clients / kind.rate, number / kind.rate)) for number in range(clients)
    ]
    with trio.move_on_after(_READY):
        async with trio.open_nursery() as nursery:
            for one in everybody:
                nursery.start_soon(one.prepare)
    _tell(b"ready")
    if not await trio.to_thread.run_sync(sys.stdin.buffer.readline):
        return
    before = _cpu()
    with trio.move_on_after(_MOST_SECONDS):
        async with trio.open_nursery() as nursery:
            for one in everybody:
                nursery.start_soon(one.go_on)
            await trio.to_thread.run_sync(sys.stdin.buffer.readline, abandon_on_cancel=True)
            nursery.cancel_scope.cancel()
    done = Done(
        turns=sum(one.turns for one in everybody),
        answers=sum(one.answers for one in everybody),
        received=sum(one.received for one in everybody),
        hung_up=sum(one.hung_up for one in everybody),
        cpu=_cpu() - before,
    )
    _tell(msgspec.json.encode(done))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _tell(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    open_many_files()
    trio.run(_crowd, int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), KINDS[sys.argv[4]])
