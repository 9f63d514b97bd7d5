"""The command `doctor`: what is wrong with a relay and everything around it, and what to do."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click
import msgspec
import trio

from trio_relay import logs
from trio_relay.cli.leaving import CONFIG_ERROR, CRASHED, exit_codes
from trio_relay.cli.loading import config_option
from trio_relay.config import load
from trio_relay.config_checks import ConfigError
from trio_relay.doctor.examination import CONFIG_WRONG, GROUPS, examine
from trio_relay.doctor.findings import Chart, Severity, worst_of
from trio_relay.logs import LogOptions

_WIDTH: Final = 80
_NAME: Final = max(map(len, GROUPS)) + 2
_WORST: Final = max(map(len, Severity)) + 2
_INDENT: Final = " " * 2
_ORDER: Final = (Severity.FAULT, Severity.WARNING, Severity.NOTE)


@click.command("doctor")
@config_option
@click.option("--json", "as_json", is_flag=True, help="As one JSON object instead of text.")
@click.pass_obj
def doctor_command(group_path: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Look for what is wrong with the relay and all that it needs, and say what to do.

    Looked at are its files, disk, store and backups, limits of the machine, clock, certificate, the name in relay.url,
    a client's round trip by each way to the relay, and the cluster. That takes less than ten seconds, and changes
    nothing; the relay may run or not. What each finding means is in docs/doctor.md.

    Exit codes: 0 nothing is wrong, though there may be notes; 1 there are warnings or faults; 2 the configuration is
    wrong, so that nothing else could be looked at.
    """
    path = config_path or group_path
    logs.configure(LogOptions(level="error"))
    charts, code = _examined(path)
    if as_json:
        click.echo(msgspec.json.encode(as_object(charts)))
    else:
        for line in lines(charts):
            click.echo(line)
    sys.exit(code)


def _examined(path: Path | None) -> tuple[list[Chart], int]:
    """What was found, and the exit code."""
    try:
        config = load(path, os.environ)
    except ConfigError as error:
        chart = Chart("files")
        chart.add([CONFIG_WRONG.found(f"{error}.")])
        return [chart], CONFIG_ERROR
    with exit_codes():
        charts = trio.run(examine, config, path)
    worst = worst_of(finding for chart in charts for finding in chart.findings)
    return charts, 0 if worst in (None, Severity.NOTE) else CRASHED


def as_object(charts: Sequence[Chart]) -> dict[str, object]:
    """What was found, for programs: whether all is well, and of each group the facts and the findings."""
    findings = [finding for chart in charts for finding in chart.findings]
    return {
        "healthy": worst_of(findings) in (None, Severity.NOTE),
        "groups": [
            {"group": chart.group, "facts": chart.facts, "findings": msgspec.to_builtins(chart.findings)}
            for chart in charts
        ],
    }


def lines(charts: Sequence[Chart]) -> Iterator[str]:
    """What was found, for a terminal of 80 columns: a line for each group, and below it what is wrong there."""
    for chart in charts:
        if chart.facts or chart.findings:
            yield from _of_group(chart)
    yield ""
    findings = [finding for chart in charts for finding in chart.findings]
    counts = [(sum(one.severity is severity for one in findings), severity) for severity in _ORDER]
    told = ", ".join(f"{count} {severity}{'s' if count > 1 else ''}" for count, severity in counts if count)
    is_well = worst_of(findings) in (None, Severity.NOTE)
    yield f"{'Nothing is wrong' if is_well else 'Something is wrong'}{f': {told}' if told else ''}."


def _of_group(chart: Chart) -> Iterator[str]:
    worst = chart.worst
    said = "ok" if worst is None else worst.upper() if worst is not Severity.NOTE else "note"
    head = f"{chart.group:{_NAME}}{said:{_WORST}}"
    yield from _wrapped(_plain("; ".join(chart.facts)), head, " " * len(head))
    for finding in sorted(chart.findings, key=lambda one: _ORDER.index(one.severity)):
        yield f"{_INDENT}{finding.severity}: {finding.code}"
        yield from _wrapped(_plain(finding.what), 2 * _INDENT, 2 * _INDENT)
        yield from _wrapped(f"-> {finding.advice}", 2 * _INDENT, f"{2 * _INDENT}   ")


def _wrapped(text: str, first: str, others: str) -> list[str]:
    """Lines of 80 columns at most; what has no blank in it, such as a path to copy, stays whole."""
    return textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    ) or [first.rstrip()]


def _plain(text: str) -> str:
    """A text in which nothing controls the terminal: some of it others have said."""
    return logs.printable(text)
