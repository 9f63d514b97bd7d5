"""What the relay tells a monitoring system: its statistics as Prometheus text, collected only when asked for."""

from trio_relay.metrics.page import MetricsOptions, MetricsPage, ProcessFigures, Snapshot, WorkerFigures, WorkersFigures

__all__ = ["MetricsOptions", "MetricsPage", "ProcessFigures", "Snapshot", "WorkerFigures", "WorkersFigures"]
