"""Metrics of what is kept: the store, its cache, what retention has forgotten, and what others on the same store do."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from trio_relay.metrics.families import counter, gauge, labelled
from trio_relay.pipeline.statistics import RelayStatistics, RetentionStatistics


def of_store(relay: RelayStatistics) -> Iterator[Metric]:
    """Yield what is told of what is kept."""
    healthy = relay.writer.failure is None and relay.store.trouble is None
    yield gauge("healthy", "1 if events can be stored", healthy)
    yield gauge("store_bytes", "Size of the store on disk", relay.store.disk_bytes)
    yield gauge("store_wal_bytes", "Size of the store's log", relay.store.wal_bytes)
    yield gauge("store_free_bytes", "Room that is left on the disk of the store", relay.store.free_bytes)
    if (failed := relay.store.failed_requests) is not None:
        text = "Requests that the cluster of the store did not carry out, by why"
        yield labelled("store_requests_failed", text, "reason", failed)
    if (cache := relay.store.cache) is not None:
        yield gauge("store_cached_events", "Stored events that are kept in memory", cache.events)
        yield gauge("store_cache_bytes", "Memory that the cache of events uses", cache.bytes)
        yield counter("store_cache_hits", "Events of answers that came from the cache", cache.hits)
        yield counter("store_cache_misses", "Events of answers that had to be looked up", cache.misses)
    yield from _retention(relay.retention)
    yield from _sharing(relay)


def _retention(retention: RetentionStatistics) -> Iterator[Metric]:
    text = "Events that retention has forgotten, by the rule that let them go: its place, or store"
    yield labelled("retention_forgotten", text, "rule", retention.forgotten)
    yield gauge("retention_last_seconds", "When its last round ended, in seconds since 1970", retention.last)
    yield gauge("retention_round_seconds", "How long that round took, with its rests", retention.seconds)
    yield counter("retention_failed", "Rounds that the store has cut short", retention.failures)


def _sharing(relay: RelayStatistics) -> Iterator[Metric]:
    if (sharing := relay.store.sharing) is None:
        return
    yield labelled("shared_events", "Events that other relays have stored, by the way they came", "way", sharing.heard)
    yield gauge("shared_seconds_behind", "Since the last look for what others have stored", sharing.seconds_behind)
    if (notes := sharing.notes) is not None:
        yield gauge("bus_connected", "1 while the bus tells what other relays store", notes.is_connected)
        yield counter("bus_notes_sent", "Notes that other relays can hear", notes.sent)
        yield counter("bus_notes_heard", "Notes of other relays", notes.heard)
        yield counter("bus_notes_dropped", "Notes that found no room while the bus was away", notes.dropped)
        yield counter("bus_gaps", "Times that something was read from the store, not from the bus", notes.gaps)
