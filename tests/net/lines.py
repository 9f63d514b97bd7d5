"""An outbox over a network that tests hold in their hands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio
from trio.testing import wait_all_tasks_blocked

from trio_relay.net import budgets, flush
from trio_relay.net.close_reasons import CloseReason
from trio_relay.net.keepalive import Keepalive
from trio_relay.net.outbox import Outbox
from trio_relay.net.transport import Transport
from trio_relay.pipeline.recipient import Flush, FlushCollector

MESSAGE_COST = 64
"""What a message weighs beyond its bytes."""


def message_of(cost: int, fill: bytes = b"x") -> bytes:
    """A message that weighs this much."""
    return fill * (cost - MESSAGE_COST)


class Line(Transport):
    """A network that notes what it was given, takes so many bytes at once, and the rest when it is told to."""

    def __init__(self, at_once: int = 2**40) -> None:
        self.at_once = at_once
        self.pieces: list[bytes] = []
        self.fault: Exception | None = None
        self._takes_more = trio.Event()

    def send_nowait(self, data: bytes) -> int:
        if self.fault is not None:
            raise self.fault
        if taken := data[: self.at_once]:
            self.pieces.append(taken)
        return len(taken)

    async def send(self, data: bytes | memoryview) -> None:
        await self._takes_more.wait()
        if self.fault is not None:
            raise self.fault
        self.pieces.append(bytes(data))

    async def take_all(self) -> None:
        """Take what waits for the network, a piece."""
        await wait_all_tasks_blocked()
        self._takes_more.set()
        self._takes_more = trio.Event()
        await wait_all_tasks_blocked()

    @property
    def received(self) -> bytes:
        """All bytes that it has taken."""
        return b"".join(self.pieces)


class Client:
    """An outbox, what it stands between, and why it was hung up on."""

    def __init__(
        self, most_bytes: int, line: Line, *, deflates: bool = False, budget: budgets.Budget = budgets.BOUNDLESS
    ) -> None:
        self.line = line
        self.flushes: list[Flush] = []
        """What was asked for; nobody carries it out."""
        collector = FlushCollector()
        collector.current = self.flushes
        self.hung_up: list[CloseReason] = []
        self.outbox = Outbox(
            line,
            Keepalive(0),
            flush.Flushes(collector),
            most_bytes,
            self.hung_up.append,
            deflates=deflates,
            budget=budget,
        )

    def send(self, *messages: bytes) -> None:
        """Put in messages as they are to leave."""
        for message in messages:
            self.outbox.send_framed_nowait(message)


@asynccontextmanager
async def open_client(
    most_bytes: int = 1000,
    at_once: int = 2**40,
    *,
    deflates: bool = False,
    budget: budgets.Budget = budgets.BOUNDLESS,
) -> AsyncIterator[Client]:
    """A client whose network takes so many bytes at once."""
    client = Client(most_bytes, Line(at_once), deflates=deflates, budget=budget)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            client.outbox.tasks = nursery
            yield client
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def started(waits: Callable[[], object]) -> AsyncIterator[trio.Event]:
    """Run a waiting call in the background; the event tells that it is over."""
    over = trio.Event()

    async def run() -> None:
        await waits()  # type: ignore[misc]  # any coroutine function
        over.set()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await wait_all_tasks_blocked()
            yield over
