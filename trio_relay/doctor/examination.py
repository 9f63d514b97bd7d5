"""All groups of looks, side by side, each with the same deadline, so that the whole takes less than ten seconds."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Final, NamedTuple, TypeAlias

import trio

from trio_relay.config import ConfigRead
from trio_relay.doctor import (
    bus_server,
    certificate,
    clock,
    cluster,
    disk,
    in_front,
    kept_backups,
    machine,
    naming,
    own_files,
    rights,
    round_trip,
    running,
    software,
    store_state,
)
from trio_relay.doctor.findings import Ailment, Chart, Severity, ailments_in
from trio_relay.doctor.patient import Patient, meet

TOO_LONG: Final = Ailment(
    "too-long",
    Severity.WARNING,
    "A group of looks did not come to its end in time; what it has found until then is told.",
    "Look again when the machine has less to do. A disk or a server of names that hangs shows so, too.",
)
FAILED: Final = Ailment(
    "look-failed",
    Severity.WARNING,
    "A group of looks has failed by a fault of its own, or of rights that it lacks.",
    "Run doctor as the relay's user, or as root; if it still fails, report it as a fault of this program.",
)
NO_RIGHTS: Final = Ailment(
    "no-rights",
    Severity.WARNING,
    "Whoever runs doctor may not read the store, and cannot know whether a relay runs on it: half of it is left out.",
    "Run it as the relay's own user, sudo -u USER trio-relay doctor, or as root.",
)
CONFIG_WRONG: Final = Ailment(
    "config-wrong",
    Severity.FAULT,
    "The configuration cannot be read, or is wrong: the relay does not start, and nothing else could be looked at."
    " So it is where a list of [policy] or a key of a mirror stands in a file that is not there.",
    "Correct what is named; trio-relay check-config looks again.",
)

SECONDS: Final = 7.5
"""For all groups; with a second before them, and the start of Python, that is below ten."""

Look: TypeAlias = Callable[[Patient, Chart], Awaitable[None]]


class Group(NamedTuple):
    """Looks that belong together, and the modules that know what they can find.

    Attributes:
        look: at all of them.
        modules: whose ailments they are.
        is_of_store: they are nothing without rights to read the store.
    """

    look: Look
    modules: tuple[ModuleType, ...]
    is_of_store: bool = True


GROUPS: Final[Mapping[str, Group]] = MappingProxyType(
    {
        "relay": Group(running.look_at_running, (running,)),
        "files": Group(own_files.look_at_files, (own_files, rights)),
        "disk": Group(disk.look_at_disk, (disk,)),
        "store": Group(store_state.look_at_store, (store_state,)),
        "backups": Group(kept_backups.look_at_backups, (kept_backups,)),
        "limits": Group(machine.look_at_limits, (machine,), is_of_store=False),
        "software": Group(software.look_at_software, (software,), is_of_store=False),
        "clock": Group(clock.look_at_clock, (clock,), is_of_store=False),
        "certificate": Group(certificate.look_at_certificate, (certificate,), is_of_store=False),
        "name": Group(naming.look_at_name, (naming,), is_of_store=False),
        "round trip": Group(in_front.look_by_clients, (round_trip, in_front)),
        "cluster": Group(cluster.look_at_cluster, (cluster,), is_of_store=False),
        "bus": Group(bus_server.look_at_bus, (bus_server,), is_of_store=False),
    }
)
"""What is looked at, in the order in which it is told."""


def ailments() -> Iterator[tuple[str, list[Ailment]]]:
    """Yield all that can be found, by group."""
    for name, group in GROUPS.items():
        yield name, [ailment for module in group.modules for ailment in ailments_in(module)]
    yield "doctor", [CONFIG_WRONG, NO_RIGHTS, TOO_LONG, FAILED]


async def examine(whole: ConfigRead, path: Path | None, now: Callable[[], float] = time.time) -> list[Chart]:
    """Look at everything; the charts come in the order of `GROUPS`.

    Args:
        whole: the configuration, as it was read.
        path: of its file; None: there is none.
        now: seconds since 1970.
    """
    patient = await meet(whole, path, now())
    charts = {name: Chart(name) for name in GROUPS}
    if not patient.may_look:
        next(iter(charts.values())).add([NO_RIGHTS.found(f"{patient.store_path} cannot be read.")])
    async with trio.open_nursery() as looking:
        for name, group in GROUPS.items():
            if patient.may_look or not group.is_of_store:
                looking.start_soon(_look, group, patient, charts[name])
    return list(charts.values())


async def _look(group: Group, patient: Patient, chart: Chart) -> None:
    with trio.move_on_after(SECONDS) as patience:
        try:
            await group.look(patient, chart)
        except Exception as error:
            fault = _first_of(error)
            chart.add([FAILED.found(f"{chart.group}: {type(fault).__name__}: {fault}.")])
    if patience.cancelled_caught:
        chart.add([TOO_LONG.found(f"{chart.group}: more than {SECONDS:g} seconds.")])


def _first_of(error: BaseException) -> BaseException:
    """What went wrong; where several looks were made side by side, in the first of them that failed."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
