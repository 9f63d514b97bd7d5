"""What the relay tells a monitoring system: its statistics as Prometheus text, collected only when asked for."""

from trio_relay.metrics.of_operation import OperationCollector
from trio_relay.metrics.of_processes import ProcessFigures, WorkerFigures, WorkersFigures
from trio_relay.metrics.page import MetricsOptions, MetricsPage, Snapshot

__all__ = [
    "MetricsOptions",
    "MetricsPage",
    "OperationCollector",
    "ProcessFigures",
    "Snapshot",
    "WorkerFigures",
    "WorkersFigures",
]
