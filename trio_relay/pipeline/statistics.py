"""Numbers that stages keep of themselves: cheap to add to, and frozen records of them when asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from trio_relay.nostr.schnorr import BackendName
from trio_relay.store.base import StoreStatistics

SECONDS: Final[Sequence[float]] = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES: Final[Sequence[float]] = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500)


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a `Histogram` has seen: how many at most each bound (and above the last), and the sum of all."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        """How many values were seen."""
        return sum(self.counts)


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


@dataclass(frozen=True, slots=True)
class VerifierStatistics:
    """How verification is: batch sizes, seconds a batch, and what became of events here."""

    batches: Distribution
    seconds: Distribution
    outcomes: dict[str, int]


@dataclass(frozen=True, slots=True)
class WriterStatistics:
    """How writing is: batch sizes, seconds a commit, seconds from the wire to the commit, outcomes, and health."""

    batches: Distribution
    seconds: Distribution
    arrived_to_stored: Distribution
    outcomes: dict[str, int]
    failure: str | None


@dataclass(frozen=True, slots=True)
class BroadcasterStatistics:
    """How delivery is: open subscriptions, what all open filters count, the keys under which they stand in the index,
    events and deliveries so far, seconds from the wire to the last outbox.
    """

    subscriptions: int
    filter_values: int
    index_keys: int
    events: int
    deliveries: int
    arrived_to_delivered: Distribution


@dataclass(frozen=True, slots=True)
class TurnsStatistics:
    """How the steps of queries take turns: at work and waiting now, seconds of those that waited, yielded so far."""

    running: int
    waiting: int
    waited: Distribution
    yielded: int


@dataclass(frozen=True, slots=True)
class QueriesStatistics:
    """How queries are: running now, answered at once so far, all outcomes, seconds that those that waited took.

    Counts are among those that run now, and have outcomes of their own.
    """

    running: int
    at_once: int
    outcomes: dict[str, int]
    seconds: Distribution
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class SyncStatistics:
    """How syncs are: open now, sets read so far, events in the set that is kept, and in all sets of sessions."""

    sessions: int
    sets_read: int
    kept: int
    held: int


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """How full a channel is, in batches: now, at most so far, and its capacity."""

    depth: int
    peak: int
    capacity: float


@dataclass(frozen=True, slots=True)
class RelayStatistics:
    """How all stages are."""

    signatures: BackendName
    verifiers: int
    received: dict[str, int]
    refused: dict[str, int]
    unreadable: int
    channels: dict[str, ChannelStatistics]
    verifier: VerifierStatistics
    writer: WriterStatistics
    broadcaster: BroadcasterStatistics
    queries: QueriesStatistics
    turns: TurnsStatistics
    syncing: SyncStatistics
    store: StoreStatistics
