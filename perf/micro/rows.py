"""What a micro-benchmark tells: rows, or that it cannot run here; and how it takes the time of many small steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Final, NamedTuple, TypeAlias

from perf.plan import quantiles
from trio_relay.nostr.event import Event

CPU: Final = "µs of CPU"
CLOCK: Final = "µs"
RATE: Final = "/s"
ROUNDS: Final = 5


class Row(NamedTuple):
    """One figure; its bar is a rate at least, anything else at most."""

    what: str
    value: float
    unit: str
    bar: float | None = None

    @property
    def is_reached(self) -> bool | None:
        """Whether the bar is; None without one."""
        if self.bar is None:
            return None
        return self.value >= self.bar if self.unit == RATE else self.value <= self.bar


class Skipped(Exception):
    """A benchmark cannot run on this machine; says why."""


Benchmark: TypeAlias = Callable[[Sequence[Event]], list[Row]]
"""Takes validly signed events to work with; its other arguments have defaults."""


def each(seconds: Callable[[], float], count: int, rounds: int = ROUNDS) -> float:
    """Microseconds of one operation: the median of some rounds.

    Args:
        seconds: does a round and tells what it took.
        count: operations of a round.
        rounds: how many.
    """
    return median(seconds() for _ in range(rounds)) / count * 1e6


def timed(work: Callable[[], object], clock: Callable[[], float]) -> Callable[[], float]:
    """A round for `each`: what this work takes by this clock."""

    def seconds() -> float:
        start = clock()
        work()
        return clock() - start

    return seconds


def spread(what: str, seconds: Sequence[float], bar: float | None = None) -> list[Row]:
    """Median and 99th of a hundred of some durations; the bar, microseconds, is for the latter."""
    middle, high = quantiles(seconds)
    return [Row(f"{what}, p50", middle * 1e6, CLOCK), Row(f"{what}, p99", high * 1e6, CLOCK, bar)]
