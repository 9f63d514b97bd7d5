"""What workers tell of themselves, and how the numbers of all of them become those of one relay.

A sum over processes must not fall when one of them ends: whoever watches a counter would take that for a new beginning,
and all that is left for a sudden rise. So what an ended worker had counted stays in the sum, as far as it had told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import reduce
from typing import Any, Final, TypeVar

import msgspec

from trio_relay.metrics import ProcessFigures, WorkerFigures, WorkersFigures
from trio_relay.net.statistics import NetStatistics, RefusalStatistics
from trio_relay.nostr.schnorr import BackendName
from trio_relay.pipeline.histogram import SECONDS, SIZES, Histogram
from trio_relay.pipeline.statistics import (
    NO_ROUNDS,
    BroadcasterStatistics,
    ChannelStatistics,
    Distribution,
    JudgingStatistics,
    MirrorStatistics,
    QueriesStatistics,
    RelayStatistics,
    RetentionStatistics,
    SyncStatistics,
    TurnsStatistics,
    VerifierStatistics,
    WriterStatistics,
)
from trio_relay.plugins.processes import ProgramStatistics
from trio_relay.process import open_files, own_use
from trio_relay.store.base import CacheStatistics, StoreStatistics

T = TypeVar("T")

_OF_NOW: Final[dict[type, frozenset[str]]] = {
    NetStatistics: frozenset({"connections", "held_bytes", "barred", "certificate_start", "certificate_expiry"}),
    RelayStatistics: frozenset({"verifiers"}),
    WriterStatistics: frozenset({"failure"}),
    ChannelStatistics: frozenset({"depth", "capacity"}),
    BroadcasterStatistics: frozenset({"subscriptions", "filter_values", "index_keys"}),
    QueriesStatistics: frozenset({"running"}),
    TurnsStatistics: frozenset({"running", "waiting"}),
    SyncStatistics: frozenset({"sessions", "kept", "held"}),
    ProgramStatistics: frozenset({"running", "in_flight"}),
    MirrorStatistics: frozenset({"state", "since", "fault", "waiting", "away_since"}),
    StoreStatistics: frozenset({"disk_bytes", "wal_bytes", "trouble", "degraded", "free_bytes"}),
    CacheStatistics: frozenset({"events", "bytes"}),
}
"""What a process has, and not what it has done: that goes with it."""
_MOST: Final[dict[type, frozenset[str]]] = {
    ChannelStatistics: frozenset({"peak"}),
    StoreStatistics: frozenset({"disk_bytes", "wal_bytes", "free_bytes"}),
    NetStatistics: frozenset({"barred", "certificate_start", "certificate_expiry"}),
}
"""What is not added up: the most that waited in a channel of one process, the files that all of them see, and the one
table of addresses that are barred."""


@dataclass(frozen=True, slots=True)
class ServingStatistics:
    """What a worker tells: how its relay and its server are, what it uses, the last number that it has heard of the
    keeper's feed, and how many files it has open.
    """

    relay: RelayStatistics
    net: NetStatistics
    cpu_seconds: float
    resident_bytes: int
    position: int
    open_files: int = 0


@dataclass(frozen=True, slots=True)
class KeeperStatistics:
    """What the keeper knows by itself: the backend of signatures, the store, what it has forgotten, its commits,
    whether one failed, and how late its own loop is.

    `batches` and `seconds` are events a commit and the duration of each, of all workers together; where they are None,
    the page has what the workers saw of it.
    """

    signatures: BackendName
    store: StoreStatistics
    retention: RetentionStatistics = NO_ROUNDS
    batches: Distribution | None = None
    seconds: Distribution | None = None
    failure: str | None = None
    loop_lag: Distribution | None = None


_decoder: Final = msgspec.msgpack.Decoder(ServingStatistics)
encode: Final[Callable[[ServingStatistics], bytes]] = msgspec.msgpack.Encoder().encode
"""For the way from a worker to the keeper; some two kilobytes."""


def decode(message: bytes | memoryview) -> ServingStatistics:
    """What `encode` has made.

    Raises:
        msgspec.DecodeError: it is something else.
    """
    return _decoder.decode(message)


def added(parts: Iterable[T]) -> T:
    """The statistics of all parts as those of one process: counts and what they have are added, histograms bound by
    bound; names are those of the first.

    Args:
        parts: at least one; all of the same type of this package's records.

    Raises:
        ValueError: histograms have different bounds.
    """
    return reduce(_added, parts)


def remains(part: T) -> T:
    """What still counts of a process that has ended: what it has done, and nothing of what it had."""
    return _remains(part)  # type: ignore[no-any-return]


def nothing(keeper: KeeperStatistics) -> tuple[RelayStatistics, NetStatistics]:
    """Of a relay that has done nothing yet."""
    seconds, sizes = Histogram(SECONDS).statistics(), Histogram(SIZES).statistics()
    relay = RelayStatistics(
        signatures=keeper.signatures,
        verifiers=0,
        received={},
        refused={},
        unreadable=0,
        channels={},
        verifier=VerifierStatistics(sizes, seconds, {}),
        writer=WriterStatistics(sizes, seconds, seconds, {}, None),
        broadcaster=BroadcasterStatistics(0, 0, 0, 0, 0, seconds),
        queries=QueriesStatistics(0, 0, {}, seconds, {}, seconds),
        turns=TurnsStatistics(0, 0, seconds, 0),
        syncing=SyncStatistics(0, 0, 0, 0),
        judging=JudgingStatistics({}, seconds, seconds, {}, {}),
        store=StoreStatistics(keeper.store.backend),
        mirrors={},
    )
    return relay, NetStatistics(0, 0, 0, {}, RefusalStatistics({}, {}, {}), {}, {}, {}, 0, loop_lag=keeper.loop_lag)


class Totals:
    """What all workers have told so far, ended ones too.

    Args:
        workers: their numbers.
        clock: seconds, for their age.
    """

    def __init__(self, workers: Iterable[int], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._starts = dict.fromkeys(workers, 0)
        self._born: dict[int, float] = {}
        self._told: dict[int, ServingStatistics] = {}
        self._past: tuple[RelayStatistics, NetStatistics] | None = None

    def started(self, worker: int) -> None:
        """A worker has begun, the first of this number or one in another's place."""
        self.ended(worker)
        self._born[worker] = self._clock()
        self._starts[worker] += 1

    def told(self, worker: int, statistics: ServingStatistics) -> None:
        """A worker has told how it is; this holds until it tells again. What comes after its end counts no more."""
        if worker in self._born:
            self._told[worker] = statistics

    def ended(self, worker: int) -> None:
        """A worker has ended, if there was one."""
        self._born.pop(worker, None)
        told = self._told.pop(worker, None)
        if told is not None:
            gone = (remains(told.relay), remains(told.net))
            self._past = gone if self._past is None else _both([self._past, gone])

    def whole(self, keeper: KeeperStatistics) -> tuple[RelayStatistics, NetStatistics]:
        """The numbers of the relay."""
        told = [(each.relay, each.net) for each in self._told.values()]
        past = [] if self._past is None else [self._past]
        relay, net = _both([nothing(keeper), *past, *told])
        writer = replace(
            relay.writer,
            batches=keeper.batches or relay.writer.batches,
            seconds=keeper.seconds or relay.writer.seconds,
            failure=keeper.failure or relay.writer.failure,
        )
        caches = [cache for cache in (keeper.store.cache, relay.store.cache) if cache is not None]
        store = replace(
            keeper.store,
            cache=added(caches) if caches else None,
            failed_requests=_added(keeper.store.failed_requests, relay.store.failed_requests),
        )
        return replace(relay, writer=writer, retention=keeper.retention, store=store), net

    def figures(self, position: int, crashes: int) -> WorkersFigures:
        """The numbers of each process, and of the keeper, which is this one.

        Args:
            position: the last number that the keeper's feed has given.
            crashes: how many workers have crashed.
        """
        now = self._clock()
        keeper = ProcessFigures("keeper", *own_use(), now - self._began, open_files())
        workers = tuple(self._figures(number, position, now) for number in self._starts)
        return WorkersFigures(keeper, workers, len(self._born), crashes)

    def _figures(self, number: int, position: int, now: float) -> WorkerFigures:
        told, restarts = self._told.get(number), max(0, self._starts[number] - 1)
        age = now - self._born[number] if number in self._born else 0.0
        if told is None:
            return WorkerFigures(ProcessFigures(str(number), 0.0, 0, age), restarts=restarts)
        return WorkerFigures(
            ProcessFigures(str(number), told.cpu_seconds, told.resident_bytes, age, told.open_files),
            connections=told.net.connections,
            subscriptions=told.relay.broadcaster.subscriptions,
            events=sum(told.relay.received.values()),
            queries=sum(told.relay.queries.outcomes.values()),
            deliveries=told.relay.broadcaster.deliveries,
            behind=max(0, position - told.position),
            restarts=restarts,
        )


def _both(parts: list[tuple[RelayStatistics, NetStatistics]]) -> tuple[RelayStatistics, NetStatistics]:
    return added(relay for relay, _ in parts), added(net for _, net in parts)


def _added(one: Any, other: Any) -> Any:
    """Two values of the same place in records of the same type."""
    match one:
        case None:
            return other
        case _ if other is None or isinstance(one, str):
            return one
        case dict():
            return one | {key: _added(one.get(key), value) for key, value in other.items()}
        case Distribution():
            if one.bounds != other.bounds:
                raise ValueError(f"histograms of different bounds: {one.bounds}, {other.bounds}")
            counts = tuple(a + b for a, b in zip(one.counts, other.counts, strict=True))
            return Distribution(one.bounds, counts, one.total + other.total)
        case _ if is_dataclass(one):
            kind: Any = type(one)
            most = _MOST.get(kind, ())
            pairs = ((each.name, getattr(one, each.name), getattr(other, each.name)) for each in fields(one))
            return kind(*[_greater(a, b) if name in most else _added(a, b) for name, a, b in pairs])
        case _:
            return one + other


def _greater(one: Any, other: Any) -> Any:
    return max((each for each in (one, other) if each is not None), default=None)


def _remains(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _remains(each) for key, each in value.items()}
    if isinstance(value, Distribution) or not is_dataclass(value):
        return value
    kind: Any = type(value)
    of_now = _OF_NOW.get(kind, ())
    pairs = ((each.name, getattr(value, each.name)) for each in fields(value))
    return kind(*[_none_of(each) if name in of_now else _remains(each) for name, each in pairs])


def _none_of(value: Any) -> Any:
    """What stands in the place of a value that is gone."""
    match value:
        case int() | float():
            return 0
        case dict():
            return {}
        case _:
            return None
