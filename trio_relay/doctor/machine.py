"""What the machine allows a relay: open files, memory, processes, connections that wait."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trio

from trio_relay.config_tables import Config, processes_of
from trio_relay.doctor.amounts import sized
from trio_relay.doctor.findings import Ailment, Chart, Finding, Severity
from trio_relay.doctor.patient import Patient
from trio_relay.net.listeners import BACKLOG
from trio_relay.process import files_for

FILES_FEW: Final = Ailment(
    "open-files-few",
    Severity.WARNING,
    "The process may open fewer files than net.max_connections needs: the last connections are not accepted.",
    "Raise the limit (systemd: LimitNOFILE=, else ulimit -n before the start), or lower net.max_connections.",
)
MEMORY_OF_GROUP: Final = Ailment(
    "memory-over-cgroup",
    Severity.FAULT,
    "memory.total_bytes is more than the cgroup of the service or container may have: the kernel kills it first.",
    "Lower memory.total_bytes to some three quarters of the limit, or raise that (MemoryMax=, docker --memory).",
)
MEMORY_OF_MACHINE: Final = Ailment(
    "memory-over-machine",
    Severity.WARNING,
    "memory.total_bytes is more than the machine has: under load it swaps, or the kernel kills the relay.",
    "Lower memory.total_bytes to at most three quarters of the machine's memory.",
)
BACKLOG_CUT: Final = Ailment(
    "backlog-cut",
    Severity.WARNING,
    "The kernel lets fewer connections wait to be accepted than the relay asks for; when all clients come back after"
    " a restart, some have to try several times.",
    f"sysctl -w net.core.somaxconn={4 * BACKLOG}, and the same in /etc/sysctl.d/, then restart the relay.",
)
PROCESSES_FEW: Final = Ailment(
    "processes-few",
    Severity.WARNING,
    "The user, or the cgroup, may have fewer processes and threads than the relay may need.",
    "Raise the limit (systemd: TasksMax=, LimitNPROC=; docker --pids-limit).",
)

_THREADS_EACH: Final = 64
"""Of a process at most: readers and writers of the store, verifiers, and Trio's own for files and names."""
_FILES: Final = re.compile(r"^Max open files\s+(\d+|unlimited)\s", re.MULTILINE)
_TASKS: Final = re.compile(r"^Max processes\s+(\d+|unlimited)\s", re.MULTILINE)
_GROUPS: Final = Path("/sys/fs/cgroup")
_PROC: Final = Path("/proc")


# Verdicts.


def of_files(allowed: int | None, connections: int, *, is_running: bool) -> Iterator[Finding]:
    """Whether a process may open what so many connections need.

    Args:
        allowed: files; None: any number.
        connections: of `net.max_connections`.
        is_running: it is the relay's own limit, not that of who asks.
    """
    needed = files_for(connections)
    if allowed is not None and allowed < needed:
        whose = "The relay" if is_running else "A relay that is started from here"
        yield FILES_FEW.found(f"{whose} may open {allowed} files, and needs {needed} for {connections} connections.")


def of_memory(total: int, group: int | None, machine: int | None) -> Iterator[Finding]:
    """Whether the budget fits.

    Args:
        total: bytes, of `memory.total_bytes`.
        group: bytes that the cgroup may have; None: any number.
        machine: bytes that the machine has; None: nobody knows.
    """
    if group is not None and total > group:
        yield MEMORY_OF_GROUP.found(f"memory.total_bytes is {sized(total)}, and the cgroup may have {sized(group)}.")
    elif machine is not None and total > machine:
        yield MEMORY_OF_MACHINE.found(f"memory.total_bytes is {sized(total)}, and the machine has {sized(machine)}.")


def of_backlog(allowed: int | None) -> Iterator[Finding]:
    """Whether so many connections may wait as the relay asks for; None: nobody knows how many may."""
    if allowed is not None and allowed < BACKLOG:
        yield BACKLOG_CUT.found(f"net.core.somaxconn is {allowed}, and the relay asks for {BACKLOG}.")


def of_tasks(user: int | None, group: int | None, processes: int) -> Iterator[Finding]:
    """Whether so many processes may have their threads; limits of the user and of the cgroup, None: any number."""
    allowed = min((limit for limit in (user, group) if limit is not None), default=None)
    if allowed is not None and allowed < (needed := processes * _THREADS_EACH):
        yield PROCESSES_FEW.found(f"{allowed} are allowed; the relay of {processes} processes may need {needed}.")


def limit_in(limits: str, what: re.Pattern[str]) -> int | None:
    """The soft limit that a text of `/proc/PID/limits` names; None: any number, or it does not say."""
    found = what.search(limits)
    return None if found is None or found[1] == "unlimited" else int(found[1])


def group_paths(groups: str, controller: str) -> Iterator[tuple[str, str]]:
    """The hierarchies, and the path in each, in which `/proc/PID/cgroup` puts a process (cgroups(7))."""
    for line in groups.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            yield "", path
        elif controller in controllers.split(","):
            yield controller, path


# Looks.


async def look_at_limits(patient: Patient, chart: Chart) -> None:
    """Look at what the kernel says of the relay's process, or of this one while it does not run."""
    await trio.to_thread.run_sync(_look, patient, chart, abandon_on_cancel=True)


def _look(patient: Patient, chart: Chart) -> None:
    config: Config = patient.config
    limits, groups = patient.of_process("limits") or "", patient.of_process("cgroup") or ""
    running = patient.pid is not None
    # While it does not run it is the hard limit that counts: the relay raises its soft one itself.
    files = limit_in(limits, _FILES) if running else _hard_limit()
    chart.facts.append(f"{'any number of' if files is None else files} files")
    chart.add(of_files(files, config.net.max_connections, is_running=running))
    memory = _of_group(groups, "memory", ("memory.max", "memory.limit_in_bytes"))
    machine = _memory_of_machine()
    least = min(filter(None, (memory, machine)), default=None)
    budget = f"memory.total_bytes is {sized(config.memory.total_bytes)}"
    chart.facts.append(budget if least is None else f"{budget} of {sized(least)}")
    chart.add(of_memory(config.memory.total_bytes, memory, machine))
    chart.add(of_backlog(_number(_PROC / "sys/net/core/somaxconn")))
    tasks = None if patient.user == 0 else limit_in(limits, _TASKS)
    chart.add(of_tasks(tasks, _of_group(groups, "pids", ("pids.max",)), processes_of(config)))


def _hard_limit() -> int | None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if hard == resource.RLIM_INFINITY else hard


def _of_group(groups: str, controller: str, names: tuple[str, ...]) -> int | None:
    """The least limit in force for a process in these cgroups: theirs, or that of one they are in."""
    found: list[int] = []
    for hierarchy, path in group_paths(groups, controller):
        place = (_GROUPS / hierarchy / path.strip("/")).resolve()
        for folder in (place, *place.parents):
            if folder.is_relative_to(_GROUPS):
                found += [number for name in names if (number := _number(folder / name)) is not None]
    return min(found, default=None)


def _memory_of_machine() -> int | None:
    try:
        text = (_PROC / "meminfo").read_text()
    except OSError:
        return None
    found = re.match(r"MemTotal:\s+(\d+) kB", text)
    return None if found is None else int(found[1]) * 1_024


def _number(path: Path) -> int | None:
    """The number in a file; None if it is not there, or says `max`."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
