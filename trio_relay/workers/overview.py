"""What operators see of a relay of several workers: what all of them have told, and what each tells when asked."""

from __future__ import annotations

from collections.abc import Callable

from trio_relay.pipeline.statistics import RelayStatistics


class WorkersSight:
    """A `Sight` of all workers, for the process that looks after them.

    Args:
        statistics: of the whole relay, as workers have told it last.
    """

    def __init__(self, statistics: Callable[[], RelayStatistics]) -> None:
        self._statistics = statistics

    def statistics(self) -> RelayStatistics:
        return self._statistics()
