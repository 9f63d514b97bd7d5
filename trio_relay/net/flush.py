"""The flushes of all clients, and the one task that carries them out: a message wakes no task of its receiver.

An outbox that was empty registers here when it gets something. What came by the task's next turn, for one client or
for thousands, leaves then, one system call each. While the writer or the broadcaster collects what it brings, the
flushes are left to it (`pipeline/recipient`).
"""

from __future__ import annotations

import trio

from trio_relay.pipeline.recipient import Flush, FlushCollector, flush_all


class Flushes:
    """Flushes that wait for the next turn.

    Args:
        collector: of the relay whose clients these are; a stage that collects gets what comes meanwhile.
    """

    __slots__ = ("_arrived", "_collector", "_waiting")

    def __init__(self, collector: FlushCollector) -> None:
        self._collector = collector
        self._waiting: list[Flush] = []
        self._arrived: trio.Event | None = None

    def add(self, flush: Flush) -> None:
        """Have this carried out soon, once; sync."""
        collected = self._collector.current
        if collected is not None:
            collected.append(flush)
            return
        self._waiting.append(flush)
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None

    async def run(self) -> None:
        """Carry out what waits, until cancelled."""
        while True:
            if not self._waiting:
                self._arrived = trio.Event()
                await self._arrived.wait()
            waiting, self._waiting = self._waiting, []
            await flush_all(waiting)
