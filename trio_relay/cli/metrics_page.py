"""A relay's page of metrics, read: over HTTP, and into what the console shows, too (`vitals.Look`)."""

from __future__ import annotations

from collections.abc import Iterable
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from trio_relay.cli.control_line import UnixConnection
from trio_relay.net.listeners import reached, split_preamble
from trio_relay.net.vitals import Look, grouped, together
from trio_relay.pipeline.statistics import Distribution

_UNIX: Final = "unix:"
_PATH: Final = "/metrics"
_SECONDS: Final = 5.0
"""For a page to come in; one takes milliseconds, but waits for its turn, and for all workers."""


class NoPage(Exception):
    """There is no page of a relay's metrics; the message says why."""


def page_url(listen: str) -> str:
    """The URL of the metrics that are listened for at this address (`metrics.listen`).

    Raises:
        NoPage: they are not, or nobody knows at which port.
    """
    if not listen:
        raise NoPage("the metrics are off (metrics.listen)")
    _, address = split_preamble(listen)
    if address.startswith(_UNIX):
        return address
    if not int(address.rpartition(":")[2]):
        raise NoPage("the system chooses the port of the metrics (metrics.listen): name it by --url")
    return f"http://{reached(address)}{_PATH}"


def read_page(url: str) -> str:
    """The text of a page.

    Args:
        url: http, https, or `unix:` and the path of a socket.

    Raises:
        NoPage: nobody answers there, or something else does.
    """
    try:
        connection, target = _connection(url)
        try:
            connection.request("GET", target)
            response = connection.getresponse()
            page = response.read()
        finally:
            connection.close()
        if response.status != 200:  # as everybody knows it
            raise NoPage(f"{url}: answered {response.status}")
        return page.decode()
    except (OSError, HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise NoPage(f"{url}: {reason}") from error
    except UnicodeError as error:
        raise NoPage(f"{url}: no page of metrics") from error


def _connection(url: str) -> tuple[HTTPConnection, str]:
    if url.startswith(_UNIX):
        return UnixConnection(Path(url.removeprefix(_UNIX)), _SECONDS), _PATH
    try:
        parts = urlsplit(url)
        kind = {"http": HTTPConnection, "https": HTTPSConnection}[parts.scheme]
        return kind(parts.hostname or "", parts.port, timeout=_SECONDS), parts.path or _PATH
    except (KeyError, ValueError):
        raise NoPage(f"{url!r} is no http or https URL, nor unix: and a path") from None


def look_of(at: float, page: str) -> Look:
    """What a page tells.

    Args:
        at: when it came, seconds since 1970.
        page: as Prometheus reads it.

    Raises:
        NoPage: it is none of a relay's.
    """
    samples: dict[str, list[Sample]] = {}
    try:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                samples.setdefault(sample.name.removeprefix("trio_relay_"), []).append(sample)
    except ValueError:
        samples = {}
    if "connections" not in samples:
        raise NoPage("what answers is no relay of this kind")

    def total(name: str, **labels: str) -> float:
        return sum(one.value for one in samples.get(name, ()) if labels.items() <= one.labels.items())

    def of_processes(worker: str, process: str) -> float:
        return total(worker if worker in samples else process)

    totals = {
        **grouped((one.labels["outcome"], one.value) for one in samples.get("events_total", ())),
        "events": total("events_received_total"),
        "requests": total("queries_total") + total("counts_total"),
        "deliveries": total("deliveries_total"),
        "commits": total("write_batch_events_count"),
        "accepted": total("connections_accepted_total"),
        "cpu": of_processes("worker_cpu_seconds_total", "process_cpu_seconds_total"),
    }
    levels = {
        "connections": total("connections"),
        "subscriptions": total("subscriptions"),
        "store_bytes": total("store_bytes"),
        "resident_bytes": of_processes("worker_resident_bytes", "process_resident_bytes"),
        "outgoing_bytes": total("held_bytes", direction="out"),
        **{f"depth_{one.labels['channel']}": one.value for one in samples.get("channel_depth", ())},
    }
    waited, at_once = (
        _distribution(samples.get(f"{name}_bucket", ()), total(f"{name}_sum"))
        for name in ("query_seconds", "query_at_once_seconds")
    )
    return Look(at, totals, levels, together(waited, at_once) if at_once.bounds else waited)


def _distribution(buckets: Iterable[Sample], total: float) -> Distribution:
    """A histogram, whose buckets count all up to their bounds."""
    so_far = sorted((float(one.labels["le"]), int(one.value)) for one in buckets)
    counts = tuple(now - before for (_, now), (_, before) in zip(so_far, [(0.0, 0), *so_far], strict=False))
    return Distribution(tuple(bound for bound, _ in so_far[:-1]), counts, total)
