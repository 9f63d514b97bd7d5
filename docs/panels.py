"""What the dashboard of Grafana shows: rows of panels, each with its queries in PromQL, for `dashboard`.

`$i` stands for the choice of relays, `$r` for the time over which a rate is taken: several scrapes, however often these
come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: above it.
        queries: PromQL, each with what its lines are called; `{{label}}` stands for the value of a label.
        unit: as Grafana names it.
        text: what one should know to read it.
        is_number: True: it shows the latest numbers, not lines.
        good: of a number that is 0 or 1: the one that is well.
        is_stacked: True: lines stand on each other.
    """

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    text: str = ""
    is_number: bool = False
    good: int | None = None
    is_stacked: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one title; `is_folded` where not every relay has what they show."""

    title: str
    panels: tuple[Panel, ...]
    is_folded: bool = False


def number(title: str, query: str, unit: str = "short", text: str = "", good: int | None = None) -> Panel:
    """A panel that shows the latest number of each relay."""
    return Panel(title, ((query, "{{instance}}"),), unit, text, is_number=True, good=good)


def moment(title: str, metric: str) -> Panel:
    """A panel that shows how long ago a moment is, or how far ahead; the metric has seconds since 1970."""
    return number(title, f"1000 * {metric}{{$i}}", "dateTimeFromNow")


def lines(title: str, query: str, name: str = "{{instance}}", unit: str = "short", text: str = "") -> Panel:
    """A panel of one query."""
    return Panel(title, ((query, name),), unit, text)


def rates(title: str, metric: str, *labels: str) -> Panel:
    """A panel of how often a second a counter grows, by the values of labels."""
    query = f"sum by ({', '.join(labels)}) (rate({metric}{{$i}}[$r]))"
    return Panel(title, ((query, " ".join(f"{{{{{label}}}}}" for label in labels)),), "cps", is_stacked=True)


def latency(title: str, metric: str, text: str = "") -> Panel:
    """A panel of the median and the 99th percentile of a histogram of seconds, of all chosen relays together."""
    half, most = (
        f"histogram_quantile({share}, sum by (le) (rate({metric}_bucket{{$i}}[$r])))" for share in (0.5, 0.99)
    )
    return Panel(title, ((half, "half"), (most, "99 of 100")), "s", text)


def rate(metric: str) -> str:
    """How often a second a counter grows, of all chosen relays together."""
    return f"sum(rate({metric}{{$i}}[$r]))"


def mean(metric: str) -> str:
    """The mean of what a histogram has seen, of all chosen relays together."""
    return f"{rate(f'{metric}_sum')} / {rate(f'{metric}_count')}"


_HITS: Final = rate("trio_relay_store_cache_hits_total")

ROWS: Final = (
    Row(
        "Is it well?",
        (
            number("Answers", 'up{job="trio-relay", $i}', good=1, text="Prometheus gets its metrics."),
            number("Stores events", "trio_relay_healthy{$i}", good=1, text="Else GET /health tells why."),
            number(
                "Degraded",
                "trio_relay_degraded{$i}",
                good=0,
                text="All is stored, but GET /health tells what is wrong.",
            ),
            Panel(
                "Alerts",
                (('count(ALERTS{alertname=~"TrioRelay.*", alertstate="firing", $i}) or vector(0)', "firing"),),
                is_number=True,
                text="Of deploy/prometheus/trio-relay.rules.yml.",
            ),
            number("Connections", "trio_relay_connections{$i}"),
            number("Events", "sum by (instance) (rate(trio_relay_events_received_total{$i}[$r]))", "cps"),
            number("Requests", "sum by (instance) (rate(trio_relay_queries_total{$i}[$r]))", "cps"),
            moment("Started", "trio_relay_process_start_seconds"),
        ),
    ),
    Row(
        "Clients",
        (
            Panel(
                "Connections",
                (
                    ("trio_relay_connections{$i}", "{{instance}}"),
                    ('trio_relay_setting{setting="net.max_connections", $i}', "{{setting}} {{instance}}"),
                ),
            ),
            Panel(
                "Connections a second",
                (
                    (rate("trio_relay_connections_accepted_total"), "accepted"),
                    (rate("trio_relay_connections_refused_total"), "refused for their number"),
                ),
                "cps",
            ),
            rates("How connections end", "trio_relay_connections_closed_total", "reason"),
            lines("Subscriptions", "trio_relay_subscriptions{$i}"),
            lines(
                "Held for clients",
                "sum by (direction) (trio_relay_held_bytes{$i})",
                "{{direction}}",
                "bytes",
                "in: sent and not worked on yet; out: asked for and not read yet.",
            ),
            lines("Barred addresses", "trio_relay_barred_addresses{$i}"),
        ),
    ),
    Row(
        "Events in and out",
        (
            rates("What becomes of events", "trio_relay_events_total", "outcome"),
            rates("Events by kind", "trio_relay_events_received_total", "kind"),
            Panel(
                "Live events",
                (
                    (rate("trio_relay_events_broadcast_total"), "matched with subscriptions"),
                    (rate("trio_relay_deliveries_total"), "put into outboxes"),
                ),
                "cps",
            ),
            lines(
                "Waiting before stages",
                "sum by (channel) (trio_relay_channel_depth{$i})",
                "{{channel}}",
                text="Batches.",
            ),
            lines(
                "How full it is there",
                "max by (channel) (trio_relay_channel_depth{$i} / trio_relay_channel_capacity{$i})",
                "{{channel}}",
                "percentunit",
                "Who brings more than there is room for waits.",
            ),
            Panel(
                "Size of batches",
                (
                    (mean("trio_relay_verify_batch_events"), "verified at a time"),
                    (mean("trio_relay_write_batch_events"), "stored by a commit"),
                ),
            ),
        ),
    ),
    Row(
        "Latency",
        (
            latency("From the wire to the commit", "trio_relay_store_latency_seconds"),
            latency("From the wire to all outboxes", "trio_relay_delivery_latency_seconds"),
            latency("Requests that waited, to EOSE", "trio_relay_query_seconds"),
            latency("Requests answered at once", "trio_relay_query_at_once_seconds"),
            latency("A commit", "trio_relay_write_seconds"),
            latency("A batch of signatures", "trio_relay_verify_seconds"),
            latency(
                "The loop is late by",
                "trio_relay_loop_lag_seconds",
                "What takes long in the event loop has everybody wait.",
            ),
        ),
    ),
    Row(
        "Queries",
        (
            rates("How requests end", "trio_relay_queries_total", "outcome"),
            rates("How counts end", "trio_relay_counts_total", "outcome"),
            Panel(
                "Running",
                (
                    ("sum(trio_relay_queries_running{$i})", "requests and counts"),
                    ("sum(trio_relay_query_steps_running{$i})", "steps at work"),
                    ("sum(trio_relay_query_steps_waiting{$i})", "steps that wait for their turn"),
                ),
            ),
            Panel(
                "Answered at once",
                (
                    (
                        f"{rate('trio_relay_queries_at_once_total')} / {rate('trio_relay_queries_total')}",
                        "of all requests",
                    ),
                ),
                "percentunit",
            ),
            latency("Waiting for a turn", "trio_relay_query_wait_seconds", "Of steps that waited at all."),
            Panel(
                "Syncs (NIP-77)",
                (
                    ("sum(trio_relay_syncs{$i})", "open"),
                    (rate("trio_relay_sync_sets_read_total"), "sets read a second"),
                ),
            ),
        ),
    ),
    Row(
        "Store",
        (
            Panel(
                "On disk",
                (
                    ("trio_relay_store_bytes{$i}", "store {{instance}}"),
                    ("trio_relay_store_wal_bytes{$i}", "its log {{instance}}"),
                    ("trio_relay_store_free_bytes{$i}", "free {{instance}}"),
                ),
                "bytes",
                "SQLite. OpenSearch has dashboards of its own.",
            ),
            Panel(
                "Found in the cache",
                ((f"{_HITS} / ({_HITS} + {rate('trio_relay_store_cache_misses_total')})", "of events of answers"),),
                "percentunit",
            ),
            rates("Forgotten by retention", "trio_relay_retention_forgotten_total", "rule"),
            moment("Last round of retention", "trio_relay_retention_last_seconds"),
        ),
    ),
    Row(
        "Memory and the machine",
        (
            Panel(
                "Memory",
                (
                    (
                        "sum by (instance) (trio_relay_worker_resident_bytes{$i})"
                        " or trio_relay_process_resident_bytes{$i}",
                        "{{instance}}",
                    ),
                    ('trio_relay_setting{setting="memory.total_bytes", $i}', "{{setting}} {{instance}}"),
                ),
                "bytes",
                "All processes of a relay, and its budget.",
            ),
            lines("What the budget is for", "sum by (setting) (trio_relay_memory_bytes{$i})", "{{setting}}", "bytes"),
            lines(
                "CPU",
                "sum by (instance) (rate(trio_relay_worker_cpu_seconds_total{$i}[$r]))"
                " or rate(trio_relay_process_cpu_seconds_total{$i}[$r])",
                unit="percentunit",
                text="100 %: one core is full.",
            ),
            Panel(
                "Open files",
                (
                    (
                        "max by (instance) (trio_relay_worker_open_files{$i}) or trio_relay_process_open_files{$i}",
                        "{{instance}}",
                    ),
                    ("trio_relay_process_open_files_limit{$i}", "most of a process {{instance}}"),
                ),
                text="Of the process that has most.",
            ),
            lines(
                "Clock",
                "trio_relay_clock_seconds{$i} - timestamp(trio_relay_clock_seconds{$i})",
                unit="s",
                text="Ahead of that of Prometheus.",
            ),
            moment("Certificate ends", "trio_relay_tls_certificate_expiry_seconds"),
        ),
    ),
    Row(
        "Refused",
        (
            rates("Messages", "trio_relay_refusals_total", "verb", "reason"),
            rates("Events", "trio_relay_events_refused_total", "kind", "reason"),
            rates("Too much in a time", "trio_relay_rate_limited_total", "limit"),
            rates("HTTP and handshakes", "trio_relay_requests_refused_total", "status"),
            rates("Handshakes of TLS", "trio_relay_tls_handshakes_failed_total", "reason"),
            rates("No room for a connection", "trio_relay_accepts_failed_total", "error"),
        ),
    ),
    Row(
        "Backups",
        (
            moment("Newest", "trio_relay_backup_last_timestamp_seconds"),
            lines("Size", "trio_relay_backup_bytes{$i}", unit="bytes"),
            lines("Took", "trio_relay_backup_seconds{$i}", unit="s"),
            lines("Failed within an hour", "increase(trio_relay_backups_failed_total{$i}[1h])"),
        ),
    ),
    Row(
        "Mirrors",
        (
            lines("Connected", "trio_relay_mirror_connected{$i}", "{{mirror}} {{direction}}"),
            rates("What becomes of events", "trio_relay_mirror_events_total", "mirror", "outcome"),
            lines("Still to be given", "trio_relay_mirror_waiting{$i}", "{{mirror}}"),
            Panel(
                "Within an hour",
                (
                    ("increase(trio_relay_mirror_catch_ups_total{$i}[1h])", "compared to the end {{mirror}}"),
                    ("increase(trio_relay_mirror_retries_total{$i}[1h])", "tried again {{mirror}}"),
                ),
            ),
        ),
        is_folded=True,
    ),
    Row(
        "Workers",
        (
            lines("CPU", "rate(trio_relay_worker_cpu_seconds_total{$i}[$r])", "{{instance}} {{worker}}", "percentunit"),
            lines("Connections", "trio_relay_worker_connections{$i}", "{{instance}} {{worker}}"),
            lines("Memory", "trio_relay_worker_resident_bytes{$i}", "{{instance}} {{worker}}", "bytes"),
            lines("Events", "rate(trio_relay_worker_events_total{$i}[$r])", "{{instance}} {{worker}}", "cps"),
            lines("Behind the keeper's feed", "trio_relay_worker_feed_behind{$i}", "{{instance}} {{worker}}"),
            lines(
                "Started anew within an hour",
                "increase(trio_relay_worker_restarts_total{$i}[1h])",
                "{{instance}} {{worker}}",
            ),
        ),
        is_folded=True,
    ),
    Row(
        "OpenSearch and the bus",
        (
            rates("Requests that failed", "trio_relay_store_requests_failed_total", "reason"),
            rates("Events of other relays", "trio_relay_shared_events_total", "way"),
            lines("Last look for what others store", "trio_relay_shared_seconds_behind{$i}", unit="s"),
            lines("The bus is connected", "trio_relay_bus_connected{$i}"),
            Panel(
                "Notes on the bus",
                (
                    (rate("trio_relay_bus_notes_sent_total"), "sent"),
                    (rate("trio_relay_bus_notes_heard_total"), "heard"),
                    (rate("trio_relay_bus_notes_dropped_total"), "without room"),
                    (rate("trio_relay_bus_gaps_total"), "gaps"),
                ),
                "cps",
            ),
        ),
        is_folded=True,
    ),
    Row(
        "Plugins and hooks",
        (
            rates("Verdicts", "trio_relay_verdicts_total", "verdict"),
            latency("A verdict on an event", "trio_relay_event_verdict_seconds"),
            latency("A verdict on a request", "trio_relay_request_verdict_seconds"),
            lines("Processes", "trio_relay_plugin_processes{$i}", "{{plugin}} {{instance}}"),
            Panel(
                "What goes wrong",
                (
                    ("sum by (plugin) (rate(trio_relay_plugin_timeouts_total{$i}[$r]))", "{{plugin}} too late"),
                    ("sum by (plugin) (rate(trio_relay_plugin_restarts_total{$i}[$r]))", "{{plugin}} started again"),
                    ("sum by (plugin, fault) (rate(trio_relay_plugin_faults_total{$i}[$r]))", "{{plugin}} {{fault}}"),
                ),
                "cps",
            ),
            rates("Answers of hooks", "trio_relay_hook_answers_total", "hook", "outcome"),
        ),
        is_folded=True,
    ),
)
