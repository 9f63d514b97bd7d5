"""What long turns of clients may take of each pass of the loop, and the line of those that wait for the next one.

A turn of two milliseconds is little, but two hundred clients that all use theirs make everybody else wait for 0.4 s in
each pass. So who has had long turns of late has one only while this pass has time for them; the others wait in a line,
in turn by whom they count as. Whoever asks for little is served in each pass.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable
from typing import Final

import trio

from trio_relay.pipeline.fair_channel import FairChannel
from trio_relay.pipeline.uses import Uses
from trio_relay.policy.accounts import NO_ACCOUNT, Account
from trio_relay.turns import SECONDS as TURN_SECONDS

_PASS_SECONDS: Final = 0.004
"""Of each pass, for long turns; one that takes longer is made up for by the next passes. Where they come so seldom that
a pass does not use this up, the next ones have what is left of it: to wake up for each would cost more than it does."""
_SHORT_SECONDS: Final = 0.0005
"""A turn of an application with an event or a request or two is shorter; such are not counted."""
_HALF_LIFE: Final = 2.0
_HEAVY_SECONDS: Final = 0.003


class Lane:
    """Who has had long turns of late, and what is left of this pass for them.

    Args:
        cpu: tells the CPU time of the loop's thread, in seconds: on a busy machine time passes while nothing is done.
    """

    def __init__(self, cpu: Callable[[], float] | None = None) -> None:
        self.cpu = cpu or time.thread_time
        self._uses = Uses(_HALF_LIFE, _HEAVY_SECONDS)
        self._line: FairChannel[None] = FairChannel(0)
        self._waiting = 0
        self._left = _PASS_SECONDS
        self._used = trio.Event()

    @property
    def is_in_use(self) -> bool:
        """True while long turns use up what passes have for them: then they are measured exactly."""
        return self._used.is_set()

    async def run(self) -> None:
        """Give each pass its time; for ever."""
        while True:
            await self._used.wait()
            while self._waiting or self._left < _PASS_SECONDS:
                await trio.lowlevel.checkpoint()
                self._left = min(_PASS_SECONDS, self._left + _PASS_SECONDS)
                self._let_in()
            self._used = trio.Event()

    def _let_in(self) -> None:
        for _ in range(math.ceil(self._left / TURN_SECONDS)):
            try:
                self._line.receive_nowait()
            except trio.WouldBlock:
                return

    async def enter(self, holder: Hashable) -> None:
        """Wait until this pass has time for the holder's turn."""
        if self._left > 0 and not self._waiting:
            return
        self._waiting += 1
        try:
            await self._line.send(None, holder)
        finally:
            self._waiting -= 1

    def charge(self, holder: Hashable, seconds: float) -> None:
        """The holder has had a turn of this length."""
        now = trio.current_time()
        self._uses.age(now)
        self._uses.charge(self._uses.of([holder]), seconds, now)
        self._left -= seconds
        if self._left <= 0:
            self._used.set()

    def is_heavy(self, holder: Hashable) -> bool:
        """True if the holder has had long turns of late."""
        now = trio.current_time()
        self._uses.age(now)
        return self._uses.is_heavy(self._uses.of([holder])[0].score, now)


class Pace:
    """How one client goes on: at once, or as the lane has time for it.

    Args:
        lane: of all clients; None: there is none.
        holder: whom it counts as.
        account: is charged for each turn, and for what is answered in it.
    """

    __slots__ = ("_account", "_began", "_cpu", "_holder", "_is_heavy", "_lane")

    def __init__(self, lane: Lane | None, holder: Hashable, account: Account = NO_ACCOUNT) -> None:
        self._lane = lane
        self._holder = holder
        self._account = account
        self._is_heavy = lane is not None and lane.is_heavy(holder)
        self._began = math.inf
        self._cpu: float | None = None

    async def begin(self, now: float) -> float:
        """Begin to work, when it may; cancelled, it has not begun.

        Args:
            now: the time by Trio's clock.

        Returns:
            The time after the wait, which most clients don't have.
        """
        if self._is_heavy and self._lane is not None:
            await self._lane.enter(self._holder)
            now = trio.current_time()
        self._note_begin(now)
        return now

    def begin_nowait(self, now: float) -> bool:
        """Begin to work at once, and give True; or False where it may not, which few clients see: see `begin`."""
        if self._is_heavy:
            return False
        self._note_begin(now)
        return True

    def _note_begin(self, now: float) -> None:
        self._began = now
        self._cpu = self._lane.cpu() if self._lane is not None and self._lane.is_in_use else None

    def pause(self, now: float) -> None:
        """Work no more until the next `begin`; also after one that was given up, or never came."""
        seconds = now - self._began
        self._began = math.inf
        if seconds > _SHORT_SECONDS and self._cpu is not None and self._lane is not None:
            seconds = self._lane.cpu() - self._cpu
        if seconds > 0.0:
            self._account.charge(seconds, now)
        if self._lane is None or (seconds <= _SHORT_SECONDS and not self._is_heavy):
            return
        if seconds > _SHORT_SECONDS:
            self._lane.charge(self._holder, seconds)
        self._is_heavy = self._lane.is_heavy(self._holder)
