"""The turns of all queries of the relay: each step waits for its turn, and its deadline begins with that."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, TypeVar

import trio

from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.pipeline.fair_queue import FairQueue, QueryStep
from trio_relay.pipeline.histogram import SECONDS, Histogram
from trio_relay.pipeline.statistics import TurnsStatistics
from trio_relay.pipeline.uses import Uses
from trio_relay.policy.identity import Identity

T = TypeVar("T")

_SMALL_SECONDS: Final = 0.0005
"""An answer on the loop that takes no longer costs nobody anything."""
_LOOP_HALF_LIFE: Final = 2.0
_LOOP_HEAVY_SECONDS: Final = 0.2
_CROWDED_SECONDS: Final = 1.0
"""If longer answers have taken so much of the loop of late, a third of it, it is crowded."""
_SHARED_SECONDS: Final = 10.0
"""The loop counts as shared for so long after it has answered two in turn."""


class NoTurn(Rejected):
    """No turn came in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            Prefix.ERROR,
            f"the relay is overloaded: no turn came within {seconds:g} seconds (query_wait_seconds); ask again later",
        )


class _AskedStep(QueryStep):
    """A step, and what its task waits for."""

    __slots__ = ("came", "scope")

    def __init__(self, holders: frozenset[Hashable], *, may_yield: bool, lost: float) -> None:
        super().__init__(holders, may_yield=may_yield, lost=lost)
        self.came: trio.Event | None = None
        """Set when it goes to work, if that is not at once."""
        self.scope = trio.CancelScope()
        """Its work, which ends at its deadline, or when it has to yield."""


class QueryTurns:
    """Gives steps their turns, and bounds what the relay asks of its store at a time.

    Args:
        places: steps that are at work at a time.
        seconds: what each may take.
        wait_seconds: how long one waits for its turn at most.
        clock: seconds, for what is answered on the loop; it has to be quick.
        cores: that steps share with the loop; None: they work elsewhere.
    """

    def __init__(
        self,
        places: int,
        seconds: float,
        wait_seconds: float = 30.0,
        clock: Callable[[], float] = time.perf_counter,
        cores: int | None = None,
    ) -> None:
        self.seconds = seconds
        self._wait_seconds = wait_seconds
        self._clock = clock
        self._queue: FairQueue[_AskedStep] = FairQueue(places, cores)
        self._waited = Histogram(SECONDS)
        self._yielded = 0
        self._on_loop = Uses(_LOOP_HALF_LIFE, _LOOP_HEAVY_SECONDS)
        self._is_crowded = False
        self._last: Hashable = None
        self._shared_until = -math.inf
        """Until then the loop counts as shared: somebody else was answered on it shortly before."""

    def take_seconds(self, seconds: float, wait_seconds: float) -> None:
        """Give each turn that begins from now on so much time, and let who comes wait so long for one."""
        self.seconds = seconds
        self._wait_seconds = wait_seconds

    async def run(self, who: Identity | None, work: Callable[[], Awaitable[T]], *, may_yield: bool = False) -> T:
        """Do one step when its turn has come.

        Args:
            who: is charged for it, and so is the account; None: nobody is.
            work: the step.
            may_yield: it has no effect until it is done, so that it may be cancelled and begun anew: others who wait
                are let in where it turns out to be long.

        Raises:
            trio.TooSlowError: it took more than `seconds`.
            NoTurn: it got no turn.
        """
        holders = _holders(who)
        lost = 0.0
        while True:
            turn = _AskedStep(holders, may_yield=may_yield, lost=lost)
            if not self._queue.start_at_once(turn, trio.current_time()):
                await self._wait_for(turn)
            ends_at = turn.began + self.seconds
            turn.scope.deadline = min(ends_at, turn.yields_at)
            try:
                with turn.scope:
                    return await work()
            finally:
                ended = trio.current_time()
                self._queue.finish(turn, ended)
                self._go_on(ended)
                if who is not None:
                    who.account.charge(ended - turn.began, ended)
            if ended >= ends_at:
                raise trio.TooSlowError
            self._yielded += 1
            lost += ended - turn.began

    async def _wait_for(self, turn: _AskedStep) -> None:
        began = trio.current_time()
        self._queue.add(turn, began)
        self._go_on(began)
        if turn.is_running:
            return
        turn.came = trio.Event()
        try:
            with trio.move_on_after(self._wait_seconds):
                await turn.came.wait()
        except BaseException:
            if turn.is_running:
                self._queue.finish(turn, trio.current_time())
            else:
                self._queue.withdraw(turn)
            self._go_on(trio.current_time())
            raise
        now = trio.current_time()
        self._waited.observe(now - began)
        if not turn.is_running:
            self._queue.withdraw(turn)
            self._go_on(now)
            raise NoTurn(self._wait_seconds)

    def _go_on(self, now: float) -> None:
        """Let steps go to work for which there is a place, and have those yield that have to."""
        while (turn := self._queue.start_next(now)) is not None:
            if turn.came is not None:
                turn.came.set()
        for turn in self._queue.press(now):
            turn.scope.deadline = min(turn.began + self.seconds, turn.yields_at)

    def begin_on_loop(self, who: Identity | None) -> float | None:
        """The time at which an answer on the loop begins, for `end_on_loop`; None if it must go to a thread.

        Small answers cost nothing. Larger ones, up to two milliseconds each, are charged; while they take much of the
        loop, and more than one is served, those who have used much get their answers by turns as all that is long.
        """
        now = self._clock()
        holder = None if who is None else who.holder
        if holder != self._last:
            if self._last is not None:
                self._shared_until = now + _SHARED_SECONDS
            self._last = holder
        if self._is_crowded and now < self._shared_until and self._crowds(who):
            return None
        return now

    def end_on_loop(self, who: Identity | None, began: float) -> float:
        """An answer on the loop has been given, or given up; gives the seconds that it has taken."""
        seconds = self._clock() - began
        if seconds <= _SMALL_SECONDS:
            return seconds
        holders, now = _holders(who), trio.current_time()
        self._queue.charge(holders, seconds, now)
        uses = self._on_loop
        uses.age(now)
        uses.charge(uses.of(holders), seconds, now)
        self._is_crowded = uses.seconds(uses.total, now) > _CROWDED_SECONDS
        return seconds

    def _crowds(self, who: Identity | None) -> bool:
        uses, now = self._on_loop, trio.current_time()
        uses.age(now)
        self._is_crowded = uses.seconds(uses.total, now) > _CROWDED_SECONDS
        return self._is_crowded and any(uses.is_heavy(use.score, now) for use in uses.of(_holders(who)))

    def statistics(self) -> TurnsStatistics:
        """Who waits, and how long that was."""
        return TurnsStatistics(self._queue.running, self._queue.waiting, self._waited.statistics(), self._yielded)


def _holders(who: Identity | None) -> frozenset[Hashable]:
    """Who is charged: the address and all keys, so that neither many of one nor many of the other gain anything."""
    if who is None:
        return frozenset()
    return frozenset((who.holder, *who.keys))
