"""Metrics: the relay's statistics as Prometheus text, collected only when they are asked for.

Where several workers are one relay, the page has their sums under the same names, and beside them what an operator
compares between processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from trio_relay.memory_budget import SHARES
from trio_relay.metrics.families import counter, gauge, gauges, histogram, labelled, labelled_twice
from trio_relay.metrics.of_mirrors import of_mirrors
from trio_relay.metrics.of_processes import WorkersFigures, of_own_process, of_workers
from trio_relay.metrics.of_store import of_store
from trio_relay.net.statistics import NetStatistics
from trio_relay.pipeline.statistics import RelayStatistics
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

    def add(self, collector: Collector) -> None:
        """Show the metrics of something beside the relay, too."""
        self._registry.register(collector)

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
        yield from of_own_process(*self._use())
        if self._processes is not None:
            yield from of_workers(self._processes())


def _all(relay: RelayStatistics, net: NetStatistics) -> Iterator[Metric]:
    about = {"version": __version__, "code": CODE, "store": relay.store.backend, "signatures": relay.signatures}
    yield InfoMetricFamily("trio_relay", "What runs here", about)
    yield from _net(net)
    yield from _pipeline(relay)
    yield from _judging(relay)
    yield from of_store(relay)
    yield from of_mirrors(relay.mirrors)
    text = "Memory that is kept or held, by the setting that bounds it, as memory.total_bytes counts it"
    yield gauges("memory_bytes", text, "setting", _memory(relay, net))


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
    yield gauge("connections", "WebSocket connections open now", net.connections)
    yield counter("connections_accepted", "WebSocket connections so far", net.accepted)
    yield counter("connections_refused", "WebSocket connections refused for their number", net.refused)
    yield labelled("connections_closed", "How connections ended, by reason", "reason", net.close_reasons)
    yield gauges(
        "held_bytes",
        "Bytes that clients make the relay hold, by direction; what many wait for is counted for each",
        "direction",
        net.held_bytes,
    )
    yield labelled(
        "accepts_failed",
        "Times that there was no room for a connection, by the system's error",
        "error",
        net.accepts_failed,
    )
    yield labelled(
        "requests_refused",
        "HTTP requests and handshakes that were refused, by status",
        "status",
        net.refusals.requests,
    )
    yield labelled(
        "tls_handshakes_failed",
        "Handshakes of TLS that failed, by the reason",
        "reason",
        net.tls_failures or {},
    )
    yield gauge(
        "tls_certificate_expiry_seconds",
        "When the TLS certificate ends, in seconds since 1970; none where no TLS is spoken",
        net.certificate_expiry,
    )
    yield gauge(
        "tls_certificate_start_seconds",
        "From when on the TLS certificate holds, in seconds since 1970; none where no TLS is spoken",
        net.certificate_start,
    )
    yield labelled_twice(
        "refusals", "Messages that were refused, by verb and reason", ("verb", "reason"), net.refusals.messages
    )
    yield labelled_twice(
        "events_refused",
        "Events that were refused, by kind and reason",
        ("kind", "reason"),
        net.refusals.events,
    )
    if net.loop_lag is not None:
        yield histogram("loop_lag_seconds", "How late a task ran that had slept, four times a second", net.loop_lag)
    yield labelled("rate_limited", "What was too much in a time, by limit", "limit", net.rate_limited)
    yield gauge("barred_addresses", "Addresses that are barred now for the rules they broke", net.barred)


def _pipeline(relay: RelayStatistics) -> Iterator[Metric]:
    yield gauge("verifiers", "Threads that verify signatures", relay.verifiers)
    yield labelled(
        "events",
        "What became of events, by outcome",
        "outcome",
        _sum(
            relay.verifier.outcomes,
            relay.writer.outcomes,
            {f"refused_{k}": v for k, v in relay.refused.items()},
        ),
    )
    yield labelled("events_received", "Well-formed events that came in, by kind", "kind", relay.received)
    yield counter("messages_refused", "Messages that could not be carried out, bad requests too", relay.unreadable)
    depth = GaugeMetricFamily("trio_relay_channel_depth", "Batches that wait now, by channel", labels=["channel"])
    peak = GaugeMetricFamily("trio_relay_channel_peak", "Batches that waited at most, by channel", labels=["channel"])
    text = "Batches for which there is room, by channel; beyond them who brings more waits"
    capacity = GaugeMetricFamily("trio_relay_channel_capacity", text, labels=["channel"])
    for name, channel in relay.channels.items():
        depth.add_metric([name], channel.depth)
        peak.add_metric([name], channel.peak)
        capacity.add_metric([name], channel.capacity)
    yield depth
    yield peak
    yield capacity
    yield histogram("verify_batch_events", "Signatures a native call", relay.verifier.batches)
    yield histogram("verify_seconds", "Duration of a native call", relay.verifier.seconds)
    yield histogram("write_batch_events", "Events a commit", relay.writer.batches)
    yield histogram("write_seconds", "Duration of a commit", relay.writer.seconds)
    yield histogram("store_latency_seconds", "From the wire to the commit", relay.writer.arrived_to_stored)
    yield histogram("delivery_latency_seconds", "From the wire to all outboxes", relay.broadcaster.arrived_to_delivered)
    yield gauge("subscriptions", "Subscriptions open now", relay.broadcaster.subscriptions)
    yield gauge(
        "filter_values", "What all open filters count, see max_filter_values_of_all", relay.broadcaster.filter_values
    )
    yield gauge(
        "index_keys", "Different ids, keys, kinds and tag values that lead to a filter", relay.broadcaster.index_keys
    )
    yield counter("events_broadcast", "Events matched with subscriptions", relay.broadcaster.events)
    yield counter("deliveries", "Live events put into outboxes", relay.broadcaster.deliveries)
    yield gauge("queries_running", "Stored queries and counts that run now", relay.queries.running)
    yield gauge("query_steps_running", "Pages and counts that the store works on now", relay.turns.running)
    yield gauge("query_steps_waiting", "Pages and counts that wait for their turn now", relay.turns.waiting)
    yield histogram("query_wait_seconds", "Waiting for a turn, of pages and counts that waited", relay.turns.waited)
    yield counter("query_steps_yielded", "Pages and counts begun anew to let others in", relay.turns.yielded)
    yield counter("queries_at_once", "Stored queries answered without a wait", relay.queries.at_once)
    yield histogram(
        "query_at_once_seconds", "Answers of stored queries that were given at once", relay.queries.at_once_seconds
    )
    yield labelled("queries", "How stored queries ended, by outcome", "outcome", relay.queries.outcomes)
    yield labelled("counts", "How COUNT requests ended, by outcome", "outcome", relay.queries.counts)
    yield gauge("syncs", "Syncs (NIP-77) that are open now", relay.syncing.sessions)
    yield counter("sync_sets_read", "Sets of events read from the store for syncs", relay.syncing.sets_read)
    yield gauge("sync_events", "Events in the sets of open syncs", relay.syncing.held)
    yield gauge("sync_kept_events", "Events in the set of all that is public, while it is kept", relay.syncing.kept)
    yield histogram(
        "query_seconds",
        "From the beginning of a query to EOSE, of those that were not answered at once",
        relay.queries.seconds,
    )


def _judging(relay: RelayStatistics) -> Iterator[Metric]:
    judging = relay.judging
    yield labelled("verdicts", "Verdicts of plugins and hooks, by what was judged and how", "verdict", judging.verdicts)
    yield histogram("event_verdict_seconds", "From asking about an event to the verdict", judging.event_seconds)
    yield histogram("request_verdict_seconds", "From asking about a request to the verdict", judging.request_seconds)

    def of_each(value: Callable[[ProgramStatistics], int]) -> dict[str, float]:
        return {name: value(program) for name, program in judging.programs.items()}

    for name, text, numbers in (
        ("processes", "Processes of a plugin that run now", of_each(lambda one: one.running)),
        ("in_flight", "Questions that a plugin has before it now", of_each(lambda one: one.in_flight)),
    ):
        yield gauges(f"plugin_{name}", text, "plugin", numbers)
    for name, text, numbers in (
        ("questions", "Questions for a plugin", of_each(lambda one: one.questions)),
        ("timeouts", "Questions that a plugin did not answer in time", of_each(lambda one: one.timed_out)),
        ("unasked", "Questions not asked, since the plugin answers none", of_each(lambda one: one.unasked)),
        ("restarts", "Times that a process of a plugin was started again", of_each(lambda one: one.restarts)),
    ):
        yield labelled(f"plugin_{name}", text, "plugin", numbers)
    faults = {(name, fault): number for name, one in judging.programs.items() for fault, number in one.faults.items()}
    yield labelled_twice("hook_answers", "Answers of hooks, and how they failed", ("hook", "outcome"), judging.hooks)
    yield labelled_twice("plugin_faults", "Lines that are no answers", ("plugin", "fault"), faults)


def _sum(*counts: dict[str, int]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in counts:
        for name, number in part.items():
            total[name] = total.get(name, 0) + number
    return total
