"""A discrete-event simulation: stations with a queue each, a clock that jumps from one event to the next."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from random import Random
from typing import TypeAlias

Done: TypeAlias = Callable[[], None]
Behind: TypeAlias = Callable[[int, Done], None]
"""Takes the number of jobs that a server has finished, and calls back once the server may go on."""


class Clock:
    """Virtual time, and what is due when; what is due at the same moment comes in the order in which it was asked for.

    Attributes:
        now: seconds since the beginning.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Done]] = []
        self._numbers = count()

    def after(self, seconds: float, do: Done) -> None:
        """Have something done, so many seconds from now."""
        heapq.heappush(self._due, (self.now + seconds, next(self._numbers), do))

    def run(self, seconds: float) -> None:
        """Do all that is due until then."""
        while self._due and self._due[0][0] <= seconds:
            self.now, _, do = heapq.heappop(self._due)
            do()
        self.now = seconds


class Station:
    """Servers before one queue, first come first served.

    A server takes up to `most` jobs at a time and is taken for `pause + fixed + the sum of their work` seconds; then
    all of them are done. With 1 at a time it is a queue of the textbook; with more it is a writer that commits, or
    sends a bulk of, whatever waits.

    Args:
        clock: whose time it is.
        servers: that work at the same time.
        most: jobs that one server takes at a time.
        fixed: seconds of work for each such turn, whatever it holds.
        waking: seconds of work more for a turn that finds its server asleep.
        pause: seconds in which a turn waits for others, such as a disk, before its jobs are done.
        behind: what a turn's jobs still wait for after that; the server is taken until it calls back.
    """

    def __init__(
        self,
        clock: Clock,
        servers: int = 1,
        *,
        most: int = 1,
        fixed: float = 0,
        waking: float = 0,
        pause: float = 0,
        behind: Behind | None = None,
    ) -> None:
        self._clock = clock
        self._servers = servers
        self._idle = servers
        self._most = most
        self._fixed = fixed
        self._waking = waking
        self._pause = pause
        self._behind = behind
        self._queue: deque[tuple[float, Done | None]] = deque()
        self._worked = 0.0

    def serve(self, work: float, done: Done | None = None) -> None:
        """Queue a job of so many seconds of work."""
        self._queue.append((work, done))
        if self._idle:
            self._start(self._waking)

    @property
    def load(self) -> float:
        """The share of all servers' time so far that went into work; waiting for others is none."""
        return self._worked / (self._servers * self._clock.now)

    def _start(self, waking: float = 0) -> None:
        self._idle -= 1
        queue = self._queue
        jobs = [queue.popleft() for _ in range(min(self._most, len(queue)))]
        work = waking + self._fixed + sum([job[0] for job in jobs])
        self._worked += work
        self._clock.after(self._pause + work, lambda: self._finish(jobs))

    def _finish(self, jobs: Sequence[tuple[float, Done | None]]) -> None:
        if self._behind is None:
            self._release(jobs)
        else:
            self._behind(len(jobs), lambda: self._release(jobs))

    def _release(self, jobs: Sequence[tuple[float, Done | None]]) -> None:
        self._idle += 1
        if self._queue:
            self._start()
        for _, done in jobs:
            if done is not None:
                done()


def stream(clock: Clock, random: Random, rate: float, arrive: Done) -> None:
    """Have something arrive at random moments, so many times a second on average: a Poisson process, without end."""
    if rate <= 0:
        return

    def come() -> None:
        clock.after(random.expovariate(rate), come)
        arrive()

    clock.after(random.expovariate(rate), come)


def joined(parts: int, done: Done) -> Done:
    """Make a callable that calls `done` when it has been called so many times."""
    left = parts

    def part() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done()

    return part


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed.

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError("no values: simulate longer")
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
