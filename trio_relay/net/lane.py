"""What long turns of clients may take of each pass of the loop, and the line of those that wait for the next one.

A turn of two milliseconds is little, but two hundred clients that all use theirs make everybody else wait for 0.4 s in
each pass. So who has had long turns of late has one only while this pass has time for them; the others wait in a line,
in which those come before who have used less of late. Whoever asks for little is served in each pass.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable
from heapq import heappop, heappush
from typing import Final

import trio

from trio_relay.pipeline.uses import Use, Uses
from trio_relay.policy.accounts import NO_ACCOUNT, Account
from trio_relay.turns import SECONDS as TURN_SECONDS

_PASS_SECONDS: Final = 0.002
"""Of each pass, for long turns; one that takes longer is made up for by the next passes. Where they come so seldom that
a pass does not use this up, the next ones have what is left of it: to wake up for each would cost more than it does."""
_SHORT_SECONDS: Final = 0.0005
"""A turn of an application with an event or a request or two is shorter; such are not counted."""
_LITTLE_BYTES: Final = 2_048
"""What one read brought; an event and a request or two are less. Of who has had long turns, too, so little is worked on
in each pass: else a client that was late once would have more to say at each of its turns, and stay late."""
_HALF_LIFE: Final = 2.0
_HEAVY_SECONDS: Final = 0.003
_BEHIND: Final = 10.0
"""Seconds that somebody stands behind others for each second that it has used more of late."""


class _Waiting:
    """Who waits for a turn: since when, what it has used, and its task."""

    __slots__ = ("came", "is_gone", "task", "use")

    def __init__(self, came: float, use: Use, task: trio.lowlevel.Task) -> None:
        self.came = came
        self.use = use
        self.task = task
        self.is_gone = False
        """True if it was cancelled while it waited."""


class Lane:
    """Who has had long turns of late, and what is left of this pass for them.

    Args:
        cpu: tells the CPU time of the loop's thread, in seconds: on a busy machine time passes while nothing is done.
    """

    def __init__(self, cpu: Callable[[], float] | None = None) -> None:
        self.cpu = cpu or time.thread_time
        self._uses = Uses(_HALF_LIFE, _HEAVY_SECONDS)
        self._line: list[tuple[float, int, _Waiting]] = []
        """A heap: by when it is the turn of each, and the order of coming; see `_place`."""
        self._came = 0
        self._waiting = 0
        """Those in the line that are not gone."""
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
            if (first := self._take_first()) is None:
                return
            trio.lowlevel.reschedule(first.task)

    def _take_first(self) -> _Waiting | None:
        """Take who is next out of the line; another of its connections may have used more since it came."""
        while self._line:
            place, number, first = heappop(self._line)
            if first.is_gone:
                continue
            if (later := self._place(first.came, first.use)) > place + _SHORT_SECONDS:
                heappush(self._line, (later, number, first))
                continue
            self._waiting -= 1
            return first
        return None

    def _place(self, came: float, use: Use) -> float:
        """Where somebody stands in the line: behind all who came as much later as it has used more than they have."""
        return came + _BEHIND * self._uses.seconds(use, trio.current_time())

    async def enter(self, holder: Hashable) -> None:
        """Wait until a pass has time for the holder's turn."""
        now = trio.current_time()
        self._uses.age(now)
        (use,) = self._uses.of([holder])
        place = self._place(now, use)
        if self._left > 0 and (not self._waiting or place < self._line[0][0]):
            return
        use.held += 1
        waiting = _Waiting(now, use, trio.lowlevel.current_task())
        self._came += 1
        heappush(self._line, (place, self._came, waiting))
        self._waiting += 1

        def give_up(_: object) -> trio.lowlevel.Abort:
            waiting.is_gone = True
            self._waiting -= 1
            return trio.lowlevel.Abort.SUCCEEDED

        try:
            await trio.lowlevel.wait_task_rescheduled(give_up)
        finally:
            use.held -= 1

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

    __slots__ = ("_account", "_began", "_cpu", "_holder", "_is_costly", "_is_heavy", "_is_little", "_lane")

    def __init__(self, lane: Lane | None, holder: Hashable, account: Account = NO_ACCOUNT) -> None:
        self._lane = lane
        self._holder = holder
        self._account = account
        self._is_heavy = lane is not None and lane.is_heavy(holder)
        self._is_costly = False
        """Little that it said has taken a long turn, and it is heavy still: by its bytes nobody can tell."""
        self._is_little = False
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
        self._is_little = False
        self._note_begin(now)
        return now

    def begin_nowait(self, now: float, size: int) -> bool:
        """Begin to work at once, and give True; or False where it may not, which few clients see: see `begin`.

        Args:
            now: the time by Trio's clock.
            size: bytes that there are to work on.
        """
        is_little = size <= _LITTLE_BYTES
        if self._is_heavy and (self._is_costly or not is_little):
            return False
        self._is_little = is_little
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
        self._is_costly = self._is_heavy and (self._is_costly or (self._is_little and seconds > 2 * _SHORT_SECONDS))
