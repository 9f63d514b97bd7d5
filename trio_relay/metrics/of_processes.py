"""Metrics of processes: what the one that shows the page uses, and, where there are several, what an operator compares
between them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric

from trio_relay.metrics.families import counter, gauge, gauges, labelled
from trio_relay.process import STARTED, open_files, open_files_limit


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """What one process uses: its name, seconds of CPU, bytes of memory, since how many seconds it runs, open files."""

    name: str
    cpu_seconds: float
    resident_bytes: int
    age_seconds: float
    open_files: int = 0


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


def of_own_process(cpu_seconds: float, resident_bytes: int) -> Iterator[Metric]:
    """Yield what is told of the process that shows the page."""
    yield counter("process_cpu_seconds", "CPU that the process of this page has used", cpu_seconds)
    yield gauge("process_resident_bytes", "Memory of the process of this page", resident_bytes)
    yield gauge("process_open_files", "Files that the process of this page has open, sockets too", open_files())
    yield gauge("process_open_files_limit", "Files that each process may have open", open_files_limit())
    yield gauge("process_start_seconds", "When the process of this page began, in seconds since 1970", STARTED)
    yield gauge("clock_seconds", "What time it is by the relay's clock, in seconds since 1970", time.time())


def of_workers(figures: WorkersFigures) -> Iterator[Metric]:
    """Yield what is told of each process of several."""

    def of_worker(value: Callable[[WorkerFigures], float]) -> dict[str, float]:
        return {one.process.name: value(one) for one in figures.workers}

    def of_process(value: Callable[[ProcessFigures], float]) -> dict[str, float]:
        return {one.name: value(one) for one in (figures.keeper, *(one.process for one in figures.workers))}

    yield gauge("workers", "Workers that run now", figures.running)
    yield counter("workers_crashed", "Workers that have ended without being asked to", figures.crashes)
    for name, text, numbers in (
        ("connections", "WebSocket connections of a worker", of_worker(lambda one: one.connections)),
        ("subscriptions", "Subscriptions open at a worker", of_worker(lambda one: one.subscriptions)),
        ("feed_behind", "Numbers of the keeper's feed that a worker had not heard", of_worker(lambda one: one.behind)),
        ("resident_bytes", "Memory of a worker or the keeper", of_process(lambda one: one.resident_bytes)),
        ("open_files", "Files that a worker or the keeper has open", of_process(lambda one: one.open_files)),
        ("age_seconds", "Time since its start; 0: it does not run", of_process(lambda one: one.age_seconds)),
    ):
        yield gauges(f"worker_{name}", text, "worker", numbers)
    for name, text, numbers in (
        ("events", "Well-formed events that came to a worker", of_worker(lambda one: one.events)),
        ("queries", "Stored queries of a worker that have ended", of_worker(lambda one: one.queries)),
        ("deliveries", "Live events that a worker put into outboxes", of_worker(lambda one: one.deliveries)),
        ("restarts", "Times that a worker was started in another's place", of_worker(lambda one: one.restarts)),
        ("cpu_seconds", "CPU that a worker or the keeper has used", of_process(lambda one: one.cpu_seconds)),
    ):
        yield labelled(f"worker_{name}", text, "worker", numbers)
