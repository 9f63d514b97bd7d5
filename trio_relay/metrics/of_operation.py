"""Metrics of how a relay is run: whether it is as well as it should be, and the settings that bound what others count.

An alarm compares: connections with the most there may be, the age of a backup with the time between two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from trio_relay.metrics.families import gauge, gauges


class OperationCollector(Collector):
    """Gives these metrics.

    Args:
        degraded: tells what is worse than it should be while all is stored, or None.
        settings: gives numbers by the names of settings, as they hold now.
    """

    def __init__(self, degraded: Callable[[], str | None], settings: Callable[[], Mapping[str, float]]) -> None:
        self._degraded = degraded
        self._settings = settings

    def describe(self) -> Iterable[Metric]:
        return []  # nothing is asked for yet

    def collect(self) -> Iterator[Metric]:
        text = "1 while all is stored, and something is worse than it should be: /health tells what"
        yield gauge("degraded", text, self._degraded() is not None)
        yield gauges(
            "setting", "What holds now, of the settings that bound what is told here", "setting", self._settings()
        )
