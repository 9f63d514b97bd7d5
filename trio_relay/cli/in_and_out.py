"""The commands `import` and `export`: events and operators' decisions, from files and into them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeAlias

import click
import trio
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from trio_relay.cli.leaving import CRASHED, exit_codes, leave
from trio_relay.cli.loading import config_option, loaded_lasting
from trio_relay.exporting import read_state, write_events, write_state
from trio_relay.importing import bring_in
from trio_relay.private_files import written_whole
from trio_relay.transfer import ImportSummary

Advance: TypeAlias = Callable[[int], None]

_state_option = partial(click.option, "--state", "state_path", metavar="STATE")
_with_key_option = partial(click.option, "--with-key", is_flag=True)


@click.command("import")
@config_option
@click.option(
    "--backup",
    is_flag=True,
    help="FILE is an export of this relay: ask only whether its events are whole, not whether they may come in.",
)
@click.option("--each", is_flag=True, help="Name each refused line on standard error, with the reason.")
@click.option("--lenient", is_flag=True, help="Exit code 0 although lines were refused.")
@_state_option(
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Restore from this file what operators had decided, before any event: all of it or nothing.",
)
@_with_key_option(help="Take the relay's own key from STATE, too.")
@click.option("--replace", is_flag=True, help="STATE takes the place of what the store has of that sort.")
@click.argument("file", type=click.File("rb"), required=False)
@click.pass_obj
def import_command(
    group_path: Path | None,
    config_path: Path | None,
    backup: bool,
    each: bool,
    lenient: bool,
    state_path: Path | None,
    with_key: bool,
    replace: bool,
    file: BinaryIO | None,
) -> None:
    """Store events from FILE, one JSON object a line, or from standard input.

    FILE may be compressed by gzip or zstd; its lines may be EVENT messages, or strfry's, also of --fried. Without
    --backup events go through the same checks as a client's, but for authentication. With --state alone no events are
    read; - is standard input. The relay must not run on the same store meanwhile.

    At the end it is said how many lines were refused, the ten most frequent reasons with the first line of each, and
    how many others; --each names every line. Exit code 1 if any was refused, unless --lenient; if the store failed; or
    if FILE could not be read to its end.
    """
    _check_options(file is not None, state_path, backup=backup, with_key=with_key, replace=replace)
    if file is None and state_path is None:
        file = sys.stdin.buffer
    config = loaded_lasting(config_path or group_path)
    summary = ImportSummary(partial(click.echo, err=True) if each else None)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with _progress("importing", columns, None if file is None else _size(file)) as advance, exit_codes():
        state = None if state_path is None else read_state(state_path, with_key=with_key)
        trio.run(partial(bring_in, config, state, file, summary, advance, is_backup=backup, replaces=replace))
    if state is not None:
        click.echo(f"{state_path}: {state}")
    if file is not None:
        _tell(summary, lenient=lenient)


def _tell(summary: ImportSummary, *, lenient: bool) -> None:
    """Say what became of the lines; leaves with exit code 1 if not all is in the store that should be."""
    for line in summary.lines():
        click.echo(line)
    if summary.broken is not None:
        leave(CRASHED, f"{summary.broken}; what came before is imported")
    if summary.store_failed:
        leave(CRASHED, "the store failed; the same import can be run again")
    if summary.counts["refused"] and not lenient:
        leave(CRASHED, "not all lines were taken (--lenient: that is no failure)")


@click.command("export")
@config_option
@_state_option(
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file what operators have decided: lists, bans, members, roles, the relay's name.",
)
@_with_key_option(help="Write the relay's own secret key to STATE, too.")
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
    _check_options(file is not None, state_path, with_key=with_key)
    config = loaded_lasting(config_path or group_path)
    columns = (BarColumn(), TextColumn("{task.completed} events"), TimeElapsedColumn())
    total, state = None, None
    with _progress("exporting", columns) as advance, exit_codes(writes=True):
        if file is not None or state_path is None:
            path = None if file == Path("-") else file
            with nullcontext(sys.stdout.buffer) if path is None else written_whole(path) as out:
                suffix = "" if path is None else path.suffix
                total = trio.run(partial(write_events, config, out, advance, suffix))
        if state_path is not None:
            state = trio.run(partial(write_state, config, state_path, with_key=with_key))
    if total is not None:
        click.echo(f"{total} events", err=True)
    if state is not None:
        click.echo(f"{state_path}: {state}", err=True)


def _check_options(has_file: bool, state_path: Path | None, **needing: bool) -> None:
    """Refuse options without what they are about.

    Args:
        has_file: whether FILE was named.
        state_path: the file of a state, if there is one.
        needing: options by their names: one about events needs FILE beside a state, the others need a state.
    """
    if needing.pop("backup", False) and not has_file and state_path is not None:
        raise click.UsageError("--backup beside --state needs FILE, or - for standard input")
    for name, is_given in needing.items():
        if is_given and state_path is None:
            raise click.UsageError(f"--{name.replace('_', '-')} needs --state")


@contextmanager
def _progress(title: str, columns: Iterable[ProgressColumn], total: int | None = None) -> Iterator[Advance]:
    """Show a progress bar on standard error, if that is a terminal; gives the function that moves it."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"), *columns, console=console, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(title, total=total)
        yield partial(progress.advance, task)


def _size(file: BinaryIO) -> int | None:
    try:
        return os.fstat(file.fileno()).st_size or None
    except OSError:
        return None
