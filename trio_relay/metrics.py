"""Metrics: the relay's statistics as Prometheus text, collected only when they are asked for.

Where several workers are one relay, the page has their sums under the same names, and beside them what an operator
compares between processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from trio_relay.memory_budget import SHARES
from trio_relay.net.statistics import NetStatistics
from trio_relay.pipeline.statistics import Distribution, RelayStatistics
from trio_relay.plugins.processes import ProgramStatistics
from trio_relay.process import own_use
from trio_relay.version import CODE, __version__

Snapshot: TypeAlias = Callable[[], tuple[RelayStatistics, NetStatistics]]
Use: TypeAlias = Callable[[], tuple[float, int]]


class MetricsOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the metrics are served."""

    listen: Annotated[
        str,
        Meta(
            description="Address of the metrics listener, written as in net.listen; empty: none.",
            extra={"unit": "host:port or unix:/path"},
        ),
    ] = "127.0.0.1:7778"
    max_connections: Annotated[
        int,
        Meta(
            ge=1,
            description=(
                "Most connections to the metrics listener; for one more, the one that was waited for longest is closed."
            ),
            extra={"unit": "connections"},
        ),
    ] = 16


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """What one process uses: its name, seconds of CPU, bytes of memory, and since how many seconds it runs."""

    name: str
    cpu_seconds: float
    resident_bytes: int
    age_seconds: float


@dataclass(frozen=True, slots=True)
class WorkerFigures:
    """A worker beside others: what it has open now, what it has done, how far it is behind the keeper's feed, and
    how often it was started in another's place.
    """

    process: ProcessFigures
    connections: int = 0
    subscriptions: int = 0
    events: int = 0
    queries: int = 0
    deliveries: int = 0
    behind: int = 0
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class WorkersFigures:
    """All processes of one relay: the keeper, each worker, how many of these run now, and how many have crashed."""

    keeper: ProcessFigures
    workers: tuple[WorkerFigures, ...]
    running: int
    crashes: int


class MetricsPage:
    """Renders the page `/metrics`, and lists the metrics on it.

    Args:
        snapshot: returns the statistics as they are now, those of all workers as one.
        processes: returns the numbers of each process; None: the relay is one.
        use: returns what this process uses, see `own_use`.
    """

    def __init__(
        self, snapshot: Snapshot, processes: Callable[[], WorkersFigures] | None = None, use: Use = own_use
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_RelayCollector(snapshot, processes, use))

    def render(self) -> tuple[bytes, str]:
        """Return the page's text and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def families(self) -> list[Metric]:
        """List every metric of the page, for its documentation."""
        return list(self._registry.collect())


class _RelayCollector(Collector):
    def __init__(self, snapshot: Snapshot, processes: Callable[[], WorkersFigures] | None, use: Use) -> None:
        self._snapshot = snapshot
        self._processes = processes
        self._use = use

    def describe(self) -> Iterable[Metric]:
        return []  # so that registering asks for no statistics yet

    def collect(self) -> Iterator[Metric]:
        yield from _all(*self._snapshot())
        yield from _process(*self._use())
        if self._processes is not None:
            yield from _workers(self._processes())


def _all(relay: RelayStatistics, net: NetStatistics) -> Iterator[Metric]:
    about = {"version": __version__, "code": CODE, "store": relay.store.backend, "signatures": relay.signatures}
    yield InfoMetricFamily("trio_relay", "What runs here", about)
    yield from _net(net)
    yield from _pipeline(relay)
    yield from _judging(relay)
    yield from _store(relay)
    text = "Memory that is kept or held, by the setting that bounds it, as memory.total_bytes counts it"
    yield _gauges("memory_bytes", text, "setting", _memory(relay, net))


def _memory(relay: RelayStatistics, net: NetStatistics) -> dict[str, int]:
    """Bytes by setting; pages of the file are no part of it, since SQLite tells of them by connection alone."""
    numbers = {
        "store.event_cache_bytes": relay.store.cache.bytes if relay.store.cache else 0,
        "net.inbound_bytes": net.held_bytes.get("in", 0),
        "net.outbound_bytes": net.held_bytes.get("out", 0),
        "net.max_connections": net.connections,
        "sync.max_events_of_all": relay.syncing.held + relay.syncing.kept,
        "limits.max_filter_values_of_all": relay.broadcaster.filter_values,
    }
    return {name: number * SHARES[name].each for name, number in numbers.items()}


def _net(net: NetStatistics) -> Iterator[Metric]:
    yield _gauge("connections", "WebSocket connections open now", net.connections)
    yield _counter("connections_accepted", "WebSocket connections so far", net.accepted)
    yield _counter("connections_refused", "WebSocket connections refused for their number", net.refused)
    yield _labelled("connections_closed", "How connections ended, by reason", "reason", net.close_reasons)
    yield _gauges(
        "held_bytes",
        "Bytes that clients make the relay hold, by direction; what many wait for is counted for each",
        "direction",
        net.held_bytes,
    )
    yield _labelled(
        "accepts_failed",
        "Times that there was no room for a connection, by the system's error",
        "error",
        net.accepts_failed,
    )
    yield _labelled(
        "requests_refused",
        "HTTP requests and handshakes that were refused, by status",
        "status",
        net.refusals.requests,
    )
    yield _labelled(
        "tls_handshakes_failed",
        "Handshakes of TLS that failed, by the reason",
        "reason",
        net.tls_failures or {},
    )
    yield _gauge(
        "tls_certificate_expiry_seconds",
        "When the TLS certificate ends, in seconds since 1970; none where no TLS is spoken",
        net.certificate_expiry,
    )
    yield _labelled_twice(
        "refusals", "Messages that were refused, by verb and reason", ("verb", "reason"), net.refusals.messages
    )
    yield _labelled_twice(
        "events_refused",
        "Events that were refused, by kind and reason",
        ("kind", "reason"),
        net.refusals.events,
    )
    yield _labelled("rate_limited", "What was too much in a time, by limit", "limit", net.rate_limited)
    yield _gauge("barred_addresses", "Addresses that are barred now for the rules they broke", net.barred)


def _pipeline(relay: RelayStatistics) -> Iterator[Metric]:
    yield _gauge("verifiers", "Threads that verify signatures", relay.verifiers)
    yield _labelled(
        "events",
        "What became of events, by outcome",
        "outcome",
        _sum(
            relay.verifier.outcomes,
            relay.writer.outcomes,
            {f"refused_{k}": v for k, v in relay.refused.items()},
        ),
    )
    yield _labelled("events_received", "Well-formed events that came in, by kind", "kind", relay.received)
    yield _counter("messages_refused", "Messages that could not be carried out, bad requests too", relay.unreadable)
    depth = GaugeMetricFamily("trio_relay_channel_depth", "Batches that wait now, by channel", labels=["channel"])
    peak = GaugeMetricFamily("trio_relay_channel_peak", "Batches that waited at most, by channel", labels=["channel"])
    for name, channel in relay.channels.items():
        depth.add_metric([name], channel.depth)
        peak.add_metric([name], channel.peak)
    yield depth
    yield peak
    yield _histogram("verify_batch_events", "Signatures a native call", relay.verifier.batches)
    yield _histogram("verify_seconds", "Duration of a native call", relay.verifier.seconds)
    yield _histogram("write_batch_events", "Events a commit", relay.writer.batches)
    yield _histogram("write_seconds", "Duration of a commit", relay.writer.seconds)
    yield _histogram("store_latency_seconds", "From the wire to the commit", relay.writer.arrived_to_stored)
    yield _histogram(
        "delivery_latency_seconds", "From the wire to all outboxes", relay.broadcaster.arrived_to_delivered
    )
    yield _gauge("subscriptions", "Subscriptions open now", relay.broadcaster.subscriptions)
    yield _gauge(
        "filter_values", "What all open filters count, see max_filter_values_of_all", relay.broadcaster.filter_values
    )
    yield _gauge(
        "index_keys", "Different ids, keys, kinds and tag values that lead to a filter", relay.broadcaster.index_keys
    )
    yield _counter("events_broadcast", "Events matched with subscriptions", relay.broadcaster.events)
    yield _counter("deliveries", "Live events put into outboxes", relay.broadcaster.deliveries)
    yield _gauge("queries_running", "Stored queries and counts that run now", relay.queries.running)
    yield _gauge("query_steps_running", "Pages and counts that the store works on now", relay.turns.running)
    yield _gauge("query_steps_waiting", "Pages and counts that wait for their turn now", relay.turns.waiting)
    yield _histogram("query_wait_seconds", "Waiting for a turn, of pages and counts that waited", relay.turns.waited)
    yield _counter("query_steps_yielded", "Pages and counts begun anew to let others in", relay.turns.yielded)
    yield _counter("queries_at_once", "Stored queries answered without a wait", relay.queries.at_once)
    yield _histogram(
        "query_at_once_seconds", "Answers of stored queries that were given at once", relay.queries.at_once_seconds
    )
    yield _labelled("queries", "How stored queries ended, by outcome", "outcome", relay.queries.outcomes)
    yield _labelled("counts", "How COUNT requests ended, by outcome", "outcome", relay.queries.counts)
    yield _gauge("syncs", "Syncs (NIP-77) that are open now", relay.syncing.sessions)
    yield _counter("sync_sets_read", "Sets of events read from the store for syncs", relay.syncing.sets_read)
    yield _gauge("sync_events", "Events in the sets of open syncs", relay.syncing.held)
    yield _gauge("sync_kept_events", "Events in the set of all that is public, while it is kept", relay.syncing.kept)
    yield _histogram(
        "query_seconds",
        "From the beginning of a query to EOSE, of those that were not answered at once",
        relay.queries.seconds,
    )


def _judging(relay: RelayStatistics) -> Iterator[Metric]:
    judging = relay.judging
    yield _labelled(
        "verdicts", "Verdicts of plugins and hooks, by what was judged and how", "verdict", judging.verdicts
    )
    yield _histogram("event_verdict_seconds", "From asking about an event to the verdict", judging.event_seconds)
    yield _histogram("request_verdict_seconds", "From asking about a request to the verdict", judging.request_seconds)

    def of_each(value: Callable[[ProgramStatistics], int]) -> dict[str, float]:
        return {name: value(program) for name, program in judging.programs.items()}

    for name, text, numbers in (
        ("processes", "Processes of a plugin that run now", of_each(lambda one: one.running)),
        ("in_flight", "Questions that a plugin has before it now", of_each(lambda one: one.in_flight)),
    ):
        yield _gauges(f"plugin_{name}", text, "plugin", numbers)
    for name, text, numbers in (
        ("questions", "Questions for a plugin", of_each(lambda one: one.questions)),
        ("timeouts", "Questions that a plugin did not answer in time", of_each(lambda one: one.timed_out)),
        ("unasked", "Questions not asked, since the plugin answers none", of_each(lambda one: one.unasked)),
        ("restarts", "Times that a process of a plugin was started again", of_each(lambda one: one.restarts)),
    ):
        yield _labelled(f"plugin_{name}", text, "plugin", numbers)
    faults = {(name, fault): number for name, one in judging.programs.items() for fault, number in one.faults.items()}
    yield _labelled_twice("hook_answers", "Answers of hooks, and how they failed", ("hook", "outcome"), judging.hooks)
    yield _labelled_twice("plugin_faults", "Lines that are no answers", ("plugin", "fault"), faults)


def _store(relay: RelayStatistics) -> Iterator[Metric]:
    healthy = relay.writer.failure is None and relay.store.trouble is None
    yield _gauge("healthy", "1 if events can be stored", healthy)
    yield _gauge("store_bytes", "Size of the store on disk", relay.store.disk_bytes)
    yield _gauge("store_wal_bytes", "Size of the store's log", relay.store.wal_bytes)
    if (cache := relay.store.cache) is not None:
        yield _gauge("store_cached_events", "Stored events that are kept in memory", cache.events)
        yield _gauge("store_cache_bytes", "Memory that the cache of events uses", cache.bytes)
        yield _counter("store_cache_hits", "Events of answers that came from the cache", cache.hits)
        yield _counter("store_cache_misses", "Events of answers that had to be looked up", cache.misses)
    yield from _sharing(relay)


def _sharing(relay: RelayStatistics) -> Iterator[Metric]:
    if (sharing := relay.store.sharing) is None:
        return
    yield _labelled("shared_events", "Events that other relays have stored, by the way they came", "way", sharing.heard)
    yield _gauge("shared_seconds_behind", "Since the last look for what others have stored", sharing.seconds_behind)
    if (notes := sharing.notes) is not None:
        yield _gauge("bus_connected", "1 while the bus tells what other relays store", notes.is_connected)
        yield _counter("bus_notes_sent", "Notes that other relays can hear", notes.sent)
        yield _counter("bus_notes_heard", "Notes of other relays", notes.heard)
        yield _counter("bus_notes_dropped", "Notes that found no room while the bus was away", notes.dropped)
        yield _counter("bus_gaps", "Times that something was read from the store, not from the bus", notes.gaps)


def _process(cpu_seconds: float, resident_bytes: int) -> Iterator[Metric]:
    yield _counter("process_cpu_seconds", "CPU that the process of this page has used", cpu_seconds)
    yield _gauge("process_resident_bytes", "Memory of the process of this page", resident_bytes)


def _workers(figures: WorkersFigures) -> Iterator[Metric]:
    def of_worker(value: Callable[[WorkerFigures], float]) -> dict[str, float]:
        return {one.process.name: value(one) for one in figures.workers}

    def of_process(value: Callable[[ProcessFigures], float]) -> dict[str, float]:
        return {one.name: value(one) for one in (figures.keeper, *(one.process for one in figures.workers))}

    yield _gauge("workers", "Workers that run now", figures.running)
    yield _counter("workers_crashed", "Workers that have ended without being asked to", figures.crashes)
    for name, text, numbers in (
        ("connections", "WebSocket connections of a worker", of_worker(lambda one: one.connections)),
        ("subscriptions", "Subscriptions open at a worker", of_worker(lambda one: one.subscriptions)),
        ("feed_behind", "Numbers of the keeper's feed that a worker had not heard", of_worker(lambda one: one.behind)),
        ("resident_bytes", "Memory of a worker or the keeper", of_process(lambda one: one.resident_bytes)),
        ("age_seconds", "Time since its start; 0: it does not run", of_process(lambda one: one.age_seconds)),
    ):
        yield _gauges(f"worker_{name}", text, "worker", numbers)
    for name, text, numbers in (
        ("events", "Well-formed events that came to a worker", of_worker(lambda one: one.events)),
        ("queries", "Stored queries of a worker that have ended", of_worker(lambda one: one.queries)),
        ("deliveries", "Live events that a worker put into outboxes", of_worker(lambda one: one.deliveries)),
        ("restarts", "Times that a worker was started in another's place", of_worker(lambda one: one.restarts)),
        ("cpu_seconds", "CPU that a worker or the keeper has used", of_process(lambda one: one.cpu_seconds)),
    ):
        yield _labelled(f"worker_{name}", text, "worker", numbers)


def _gauge(name: str, text: str, value: float | None) -> Metric:
    return GaugeMetricFamily(f"trio_relay_{name}", text, value)  # without a sample, if there is no value


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"trio_relay_{name}", text, value)


def _labelled(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(f"trio_relay_{name}", text, labels=[label])
    for value, number in sorted(values.items()):
        family.add_metric([value], number)
    return family


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"trio_relay_{name}", text, labels=[label])
    for value, number in sorted(values.items()):
        family.add_metric([value], number)
    return family


def _labelled_twice(name: str, text: str, labels: tuple[str, str], values: dict[tuple[str, str], int]) -> Metric:
    family = CounterMetricFamily(f"trio_relay_{name}", text, labels=labels)
    for pair, number in sorted(values.items()):
        family.add_metric(pair, number)
    return family


def _histogram(name: str, text: str, seen: Distribution) -> Metric:
    buckets: list[tuple[str, float]] = []
    so_far = 0
    for bound, number in zip([*map(str, seen.bounds), "+Inf"], seen.counts, strict=True):
        so_far += number
        buckets.append((bound, so_far))
    return HistogramMetricFamily(f"trio_relay_{name}", text, buckets=buckets, sum_value=seen.total)


def _sum(*counts: dict[str, int]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in counts:
        for name, number in part.items():
            total[name] = total.get(name, 0) + number
    return total
