"""The processes that serve, and the one that keeps them running."""

from trio_relay.workers.spawning import Child, command, environment, spawn, start_process
from trio_relay.workers.supervisor import (
    Process,
    Supervisor,
    SupervisorStatistics,
    WorkersFailed,
    WorkerStatistics,
)

__all__ = [
    "Child",
    "Process",
    "Supervisor",
    "SupervisorStatistics",
    "WorkerStatistics",
    "WorkersFailed",
    "command",
    "environment",
    "spawn",
    "start_process",
]
