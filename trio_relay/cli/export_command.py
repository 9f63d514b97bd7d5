"""The command `export`: events and operators' decisions, into files."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import click
import trio

from trio_relay.cli.leaving import exit_codes
from trio_relay.cli.loading import check_writable, config_option, loaded_lasting
from trio_relay.cli.progress_line import counted
from trio_relay.cli.state_options import check_options, state_option, with_key_option
from trio_relay.exporting import write_events, write_state
from trio_relay.private_files import written_whole


@click.command("export", short_help="Write all stored events to a file, one a line.")
@config_option
@state_option(
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file what operators have decided: lists, bans, members, roles, the relay's name.",
)
@with_key_option(help="Write the relay's own secret key to STATE, too.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), required=False)
@click.pass_obj
def export_command(
    group_path: Path | None, config_path: Path | None, state_path: Path | None, with_key: bool, file: Path | None
) -> None:
    """Write all stored events to FILE, one JSON object a line, or to standard output.

    In the order in which they came, so that an import of it gives the same store; compressed by gzip or zstd if
    the name of FILE ends in .gz or .zst. With --state alone no events are written; - is standard output. The relay may
    run meanwhile. A FILE that is there stays as it is until the new one is whole.
    """
    check_options(file is not None, state_path, with_key=with_key)
    config = loaded_lasting(config_path or group_path)
    check_writable(config, file, state_path)
    total, state = None, None
    with counted("exporting") as advance, exit_codes(writes=True):
        if file is not None or state_path is None:
            path = None if file == Path("-") else file
            with nullcontext(sys.stdout.buffer) if path is None else written_whole(path) as out:
                suffix = "" if path is None else path.suffix
                total = trio.run(partial(write_events, config, out, advance, suffix))
        if state_path is not None:
            state = trio.run(partial(write_state, config, state_path, with_key=with_key))
    if total is not None:
        click.echo(f"{total:,} events", err=True)
    if state is not None:
        click.echo(f"{state_path}: {state}", err=True)
