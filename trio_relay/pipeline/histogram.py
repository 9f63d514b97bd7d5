"""Values that are counted by their size, as stages do of themselves: cheap to add to."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from trio_relay.pipeline.statistics import Distribution

SECONDS: Final[Sequence[float]] = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES: Final[Sequence[float]] = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500)


class Histogram:
    """Counts values by size; half a microsecond each."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def statistics(self) -> Distribution:
        """What has been seen so far."""
        return Distribution(self._bounds, tuple(self._counts), self._total)
