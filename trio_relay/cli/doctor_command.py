"""The command `doctor`: what is wrong with a relay and everything around it, and what to do."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import msgspec
import trio

from trio_relay import logs
from trio_relay.cli.leaving import CONFIG_ERROR, CRASHED, exit_codes
from trio_relay.cli.loading import config_option
from trio_relay.config import load_whole
from trio_relay.config_checks import ConfigError
from trio_relay.doctor.findings import Chart
from trio_relay.doctor.telling import as_object, is_well, lines
from trio_relay.logs import LogOptions


@click.command("doctor")
@config_option
@click.option("--json", "as_json", is_flag=True, help="As one JSON object instead of text.")
@click.pass_obj
def doctor_command(group_path: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Look for what is wrong with the relay, and say what to do.

    Looked at are its files, disk, store and backups, limits of the machine, clock, certificate, the name in relay.url,
    a client's round trip by each way to the relay, and the cluster. That takes less than ten seconds, and changes
    nothing; the relay may run or not. What each finding means is in docs/doctor.md.
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
    # It loads clients of HTTP and of WebSockets, for which a relay that starts has no use.
    from trio_relay.doctor.examination import CONFIG_WRONG, examine

    try:
        whole = load_whole(path, os.environ)
    except ConfigError as error:
        chart = Chart("files")
        chart.add([CONFIG_WRONG.found(f"{error}.")])
        return [chart], CONFIG_ERROR
    with exit_codes():
        charts = trio.run(examine, whole, path)
    return charts, 0 if is_well(charts) else CRASHED
