"""The relay that runs, in its own words: its health, its mirrors, what it could not accept, and who looks after it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
import trio

from trio_relay.doctor.amounts import lasting
from trio_relay.doctor.asking import Answered, NoAnswer, call
from trio_relay.doctor.entrances import Entrance, Unreached, inner_entrances
from trio_relay.doctor.findings import Ailment, Chart, Finding, Severity
from trio_relay.doctor.patient import Patient
from trio_relay.net.endpoints import HEALTH
from trio_relay.net.listeners import split_preamble
from trio_relay.peers.dialing import parse_url

NOT_RUNNING: Final = Ailment(
    "not-running",
    Severity.NOTE,
    "No relay runs on this configuration. The store was looked at directly, and the round trip was left out.",
    "Start it, and look again.",
)
ADDRESS_TAKEN: Final = Ailment(
    "address-taken",
    Severity.FAULT,
    "No relay runs on this configuration, and another program listens where it would: it cannot start.",
    "Find the program (ss -ltnp), and end it, or choose another address by net.listen.",
)
CONTROL_SILENT: Final = Ailment(
    "control-silent",
    Severity.WARNING,
    "The store is held by a process that does not answer at the control line. It may be a command, such as an import,"
    " or a relay that hangs; delete and compact cannot have it act.",
    "See what it is (ps). If it is the relay, look into its log for `no control line`; is control.listen off?",
)
UNHEALTHY: Final = Ailment(
    "unhealthy",
    Severity.FAULT,
    "The relay itself says that it cannot store events now.",
    "Do what the reason asks for; the log has more.",
)
DEGRADED: Final = Ailment(
    "degraded",
    Severity.WARNING,
    "The relay itself says that something beside it does not work, while events are stored.",
    "Do what the reason asks for; the log has more.",
)
MIRROR_AWAY: Final = Ailment(
    "mirror-away",
    Severity.WARNING,
    "A relay that is mirrored cannot be reached: nothing passes in between meanwhile; it is caught up with later.",
    "Correct its table `[[mirror]]` if the other relay has gone for good; docs/mirrors.md.",
)
ACCEPTS_FAILED: Final = Ailment(
    "accepts-failed",
    Severity.WARNING,
    "Since its start the relay had no room for connections that came: too few files, or no memory of the kernel's.",
    "Raise the limit of open files (LimitNOFILE), or lower net.max_connections.",
)
NO_WATCHDOG: Final = Ailment(
    "no-watchdog",
    Severity.NOTE,
    "The relay is a service of systemd without a watchdog: one that hangs is not started again.",
    "Add WatchdogSec=60 and Type=notify to the unit.",
)

_SECONDS: Final = 2.0
_FAILED: Final = re.compile(r'^trio_relay_accepts_failed_total\{[^}]*error="(\w+)"[^}]*\} ([0-9.e+]+)$', re.MULTILINE)


# Verdicts.


def of_health(answered: Answered) -> Iterator[Finding]:
    """What `/health` says."""
    try:
        said = msgspec.json.decode(answered.body, type=dict[str, str])
    except (msgspec.DecodeError, msgspec.ValidationError):
        return
    if said.get("status") == "failing":
        yield UNHEALTHY.found(f"{said.get('reason')}.")
    elif said.get("status") == "degraded":
        yield DEGRADED.found(f"{said.get('reason')}.")


def of_mirrors(mirrors: Iterable[Mapping[str, Any]], now: float) -> Iterator[Finding]:
    """Which mirrors have been away for a while, as `listmirrors` has them."""
    for mirror in mirrors:
        since = mirror.get("away_since")
        if since is not None and mirror.get("state") not in ("live", "catching up"):
            reason = f": {mirror['fault']}" if mirror.get("fault") else ""
            yield MIRROR_AWAY.found(f"{mirror.get('url')} has been away for {lasting(max(0.0, now - since))}{reason}.")


def of_metrics(page: str) -> Iterator[Finding]:
    """What the page of metrics says that nobody should see there."""
    failed = {error: float(times) for error, times in _FAILED.findall(page) if float(times)}
    if failed:
        told = ", ".join(f"{error} {times:.0f} times" for error, times in failed.items())
        yield ACCEPTS_FAILED.found(f"{told}.")


def of_service(variables: Mapping[str, str]) -> Iterator[Finding]:
    """What is wrong with how a service manager looks after the relay; variables of its process."""
    if "INVOCATION_ID" in variables and "WATCHDOG_USEC" not in variables:
        yield NO_WATCHDOG.found("There is no WATCHDOG_USEC in its environment.")


# Looks.


async def look_at_running(patient: Patient, chart: Chart) -> None:
    """Ask the relay, or look for who sits in its place."""
    if not patient.is_running:
        chart.facts.append("not running")
        async with trio.open_nursery() as knocking:
            for entrance in inner_entrances(patient.config):
                knocking.start_soon(_look_for_others, entrance, chart)
        if not chart.findings:
            chart.add([NOT_RUNNING.found("Nobody holds the store, and nobody answers.")])
        return
    chart.facts.append(f"runs as {patient.pid}" if patient.pid is not None else "runs")
    if patient.control is not None and not patient.has_control:
        chart.add([CONTROL_SILENT.found(f"{patient.control} is not answered, and {patient.pid} holds the store.")])
    async with trio.open_nursery() as asking:
        asking.start_soon(_ask_health, patient, chart)
        asking.start_soon(_ask_mirrors, patient, chart)
        asking.start_soon(_ask_metrics, patient, chart)
    if patient.pid is not None and (environment := patient.of_process("environ")) is not None:
        pairs = (one.partition("=") for one in environment.split("\0"))
        variables = {name: value for name, _, value in pairs}
        chart.facts += ["a service of systemd"] if "INVOCATION_ID" in variables else []
        chart.add(of_service(variables))


async def _look_for_others(entrance: Entrance, chart: Chart) -> None:
    with trio.move_on_after(_SECONDS):
        try:
            await trio.aclose_forcefully(await entrance.dial())
        except (OSError, trio.BrokenResourceError):
            return
        chart.add([ADDRESS_TAKEN.found(f"Somebody listens at {entrance.title}.")])


async def _ask_health(patient: Patient, chart: Chart) -> None:
    for entrance in inner_entrances(patient.config):
        with trio.move_on_after(_SECONDS):
            try:
                answered = await entrance.ask(HEALTH)
            except (Unreached, NoAnswer):  # which is told of the round trip
                continue
            chart.add(of_health(answered))
            return


async def _ask_mirrors(patient: Patient, chart: Chart) -> None:
    if patient.control is None or not patient.has_control or not patient.config.mirror:
        return
    with trio.move_on_after(_SECONDS):
        try:
            chart.add(of_mirrors(await call(patient.control, "listmirrors"), patient.now))
        except NoAnswer as refused:
            chart.facts.append(f"mirrors: {refused}")


async def _ask_metrics(patient: Patient, chart: Chart) -> None:
    listen = patient.config.metrics.listen
    if not listen or listen.endswith(":0"):
        return
    where = split_preamble(listen)
    entrance = Entrance("metrics", parse_url("ws://localhost/"), where)
    with trio.move_on_after(_SECONDS):
        try:
            chart.add(of_metrics((await entrance.ask("/metrics")).body.decode(errors="replace")))
        except (Unreached, NoAnswer) as silent:
            chart.facts.append(f"metrics: {silent}")
