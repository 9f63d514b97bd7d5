"""What can be seen of a running relay, and done to it, beside its lists: of one process, or of all workers together."""

from __future__ import annotations

from typing import Protocol

from trio_relay.pipeline.relay import Relay
from trio_relay.pipeline.statistics import RelayStatistics


class Sight(Protocol):
    """What methods ask of a relay as it runs."""

    def statistics(self) -> RelayStatistics:
        """How all stages are."""
        ...


class OwnSight:
    """Of a relay that is this process alone.

    Args:
        relay: which one.
    """

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def statistics(self) -> RelayStatistics:
        return self._relay.statistics()
