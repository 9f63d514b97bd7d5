"""Who has something to send, and the one task that has it sent: a message wakes no task of its receiver.

An outbox that was empty registers here when it gets something. What came by the task's next turn, for one client or
for thousands, leaves then, one system call each. Where many deliveries come together, the broadcaster gathers them
for longer, so that several events leave in one call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import trio

Flush: TypeAlias = Callable[[], None]
"""Sends what waits for one client as far as the network takes it; sync, never waits, never fails."""

_TURN_SECONDS: Final = 0.002
"""After so long the loop is given to others."""


class Post:
    """Collects flushes; `run` carries them out."""

    def __init__(self) -> None:
        self._waiting: list[Flush] = []
        self._gathered: list[Flush] | None = None
        self._arrived: trio.Event | None = None

    def add(self, flush: Flush) -> None:
        """Have this called soon, once; sync."""
        if self._gathered is not None:
            self._gathered.append(flush)
            return
        self._waiting.append(flush)
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None

    def gather(self, into: list[Flush] | None) -> None:
        """Put what comes from now on into this list, for who calls it to `carry_out`; None: for the task again.

        Nobody may wait in between.
        """
        self._gathered = into

    async def run(self) -> None:
        """Send what waits, until cancelled."""
        while True:
            if not self._waiting:
                self._arrived = trio.Event()
                await self._arrived.wait()
            waiting, self._waiting = self._waiting, []
            await carry_out(waiting)


async def carry_out(flushes: list[Flush]) -> None:
    """Call them all, with turns for others; whoever brings so much waits until it is on its way."""
    turn = trio.current_time()
    for flush in flushes:
        flush()
        if trio.current_time() - turn > _TURN_SECONDS:
            await trio.lowlevel.cancel_shielded_checkpoint()
            turn = trio.current_time()
