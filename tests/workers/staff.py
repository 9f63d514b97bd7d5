"""Workers without processes: what a supervisor starts, as a test has them live and die."""

from __future__ import annotations

import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

import trio

from trio_relay.workers import Supervisor

_pids = count(1_000)


class Hand:
    """A worker's process. Unless told otherwise it obeys SIGTERM.

    Attributes:
        link: its end of the socket pair, which it closes when it ends.
        born, gone: Trio's times.
        heard: the signals that it got.
        is_reaped: True once somebody has waited for its end.
    """

    def __init__(self, number: int, link: socket.socket, *, obeys: bool = True, dies: bool = True) -> None:
        self.number = number
        self.pid = next(_pids)
        self.link = link
        self.born = trio.current_time()
        self.gone: float | None = None
        self.heard: list[signal.Signals] = []
        self.is_reaped = False
        self._obeys = obeys
        self._dies = dies
        self._code = 0
        self._ended = trio.Event()

    def end(self, code: int) -> None:
        """Have it end."""
        if not self._ended.is_set():
            self._code = code
            self.gone = trio.current_time()
            self.link.close()
            self._ended.set()

    async def wait(self) -> int:
        await self._ended.wait()
        self.is_reaped = True
        return self._code

    def terminate(self) -> None:
        self.heard.append(signal.SIGTERM)
        if self._obeys:
            self.end(-signal.SIGTERM)

    def kill(self) -> None:
        self.heard.append(signal.SIGKILL)
        if self._dies:
            self.end(-signal.SIGKILL)


@dataclass
class Staff:
    """All workers that a supervisor has started so far, and what it spoke with them.

    Attributes:
        obeys, dies: of those that are started next.
        greets: whether those that are started next are ready at once.
        refusals: what the system says to the next attempts to start one; None if it starts it.
        births: called with each that has been started.
    """

    workers: int
    stop: trio.Event = field(default_factory=trio.Event)
    hands: list[Hand] = field(default_factory=list)
    spoken_with: list[int] = field(default_factory=list)
    obeys: bool = True
    dies: bool = True
    greets: bool = True
    refusals: list[OSError] = field(default_factory=list)
    births: Callable[[Hand], None] = lambda _: None

    def __post_init__(self) -> None:
        self.supervisor = Supervisor(self.workers, self.start, self.converse, ready_seconds=30, grace_seconds=10)

    async def start(self, number: int, far: socket.socket) -> Hand:
        if self.refusals:
            raise self.refusals.pop()
        hand = Hand(number, far.dup(), obeys=self.obeys, dies=self.dies)
        self.hands.append(hand)
        self.births(hand)
        return hand

    async def converse(self, number: int, stream: trio.abc.Stream) -> None:
        self.spoken_with.append(number)
        if self.greets:
            self.supervisor.ready(number)
        assert await stream.receive_some() == b""

    @property
    def at_work(self) -> list[Hand]:
        return [hand for hand in self.hands if hand.gone is None]

    def latest(self, number: int) -> Hand:
        return [hand for hand in self.hands if hand.number == number][-1]


@asynccontextmanager
async def at_work(staff: Staff) -> AsyncIterator[Staff]:
    """A supervisor that runs, all of its workers ready; at the end it is stopped, and its workers end as told."""
    async with trio.open_nursery() as nursery:
        await nursery.start(staff.supervisor.run, staff.stop)
        yield staff
        staff.stop.set()
        for hand in staff.at_work:
            hand.end(0)
    assert all(hand.is_reaped for hand in staff.hands)
