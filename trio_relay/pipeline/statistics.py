"""What stages tell of themselves when asked: frozen records, of numbers alone, which travel between processes.

It stays interpreted, so that msgspec sees what its tables hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from trio_relay.nostr.schnorr import BackendName
from trio_relay.plugins.processes import ProgramStatistics
from trio_relay.store.base import StoreStatistics

_AWAY_SECONDS: Final = 60
"""After so long a mirror that is away is worth a word beside the relay's health."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a `Histogram` has seen: how many at most each bound (and above the last), and the sum of all."""

    bounds: tuple[int | float, ...]
    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        """How many values were seen."""
        return sum(self.counts)


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
    """How queries are: running now, answered at once so far, all outcomes, seconds that those that waited took, and
    seconds of those that were answered at once.

    Counts are among those that run now, and have outcomes of their own.
    """

    running: int
    at_once: int
    outcomes: dict[str, int]
    seconds: Distribution
    counts: dict[str, int]
    at_once_seconds: Distribution


@dataclass(frozen=True, slots=True)
class SyncStatistics:
    """How syncs are: open now, sets read so far, events in the set that is kept, and in all sets of sessions."""

    sessions: int
    sets_read: int
    kept: int
    held: int


@dataclass(frozen=True, slots=True)
class JudgingStatistics:
    """How judging is: verdicts on events and requests so far, seconds for each, the programs, by name, and how often
    each hook has answered what, or failed how.
    """

    verdicts: dict[str, int]
    event_seconds: Distribution
    request_seconds: Distribution
    programs: dict[str, ProgramStatistics]
    hooks: dict[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class RetentionStatistics:
    """How forgetting goes: events so far, by the rule that let them go; when the last round ended, in seconds since
    1970, and how many seconds it took, None before the first; how many rounds the store has cut short.
    """

    forgotten: dict[str, int]
    last: int | None
    seconds: float | None
    failures: int = 0


NO_ROUNDS: Final = RetentionStatistics({}, None, None)
"""Where nothing is ever forgotten, or not by this process."""


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """How full a channel is, in batches: now, at most so far, and its capacity."""

    depth: int
    peak: int
    capacity: float


@dataclass(frozen=True, slots=True)
class MirrorStatistics:
    """How the link to another relay is, and what came of the events that went over it.

    Attributes:
        state: connecting, catching up, live or away; None: the process that had it has ended.
        since: seconds since 1970, when that began.
        fault: why it was lost last.
        outcomes: events by what became of them; see `peers.outcomes.LINK_OUTCOMES`.
        catch_ups: how often both were compared to the end.
        retries: how often it was tried again.
        waiting: events that are still to be given.
        away_since: seconds since 1970, when it was live last, or began; of a comparison that goes on, since when
            nothing has come of it, if that is an hour ago; None otherwise.
    """

    state: str | None
    since: int
    fault: str | None
    outcomes: dict[str, int]
    catch_ups: int
    retries: int
    waiting: int
    away_since: int | None = None

    @property
    def is_connected(self) -> bool:
        """True while there is a connection."""
        return self.state in ("catching up", "live")


def longest_away(mirrors: Mapping[tuple[str, str], MirrorStatistics], now: int) -> str | None:
    """Return which relay has been away for the longest time, in a sentence; None if none has been for a minute.

    Args:
        mirrors: by the other relay's URL and the direction.
        now: seconds since 1970.
    """
    away = {
        f"{url} {'catches up in vain' if one.is_connected else 'is away'}": now - one.away_since
        for (url, _), one in mirrors.items()
        if one.away_since is not None and now - one.away_since >= _AWAY_SECONDS
    }
    if not away:
        return None
    worst = max(away, key=away.__getitem__)
    others = f", and {len(away) - 1} more" if len(away) > 1 else ""
    return f"mirror {worst} for {away[worst]} seconds{others}"


class Neighbours(Protocol):
    """Other relays that this one follows or feeds."""

    def statistics(self) -> dict[tuple[str, str], MirrorStatistics]:
        """How each link is, by the other relay's bare URL and the direction."""
        ...

    def degraded(self) -> str | None:
        """Which of them is away, in a sentence; None if none is."""
        ...


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
    judging: JudgingStatistics
    store: StoreStatistics
    mirrors: dict[tuple[str, str], MirrorStatistics]
    retention: RetentionStatistics = NO_ROUNDS
