"""The command `trio-relay`: reads arguments and configuration, runs the relay, and ends with an exit code."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, NoReturn, TypeAlias

import click
import msgspec
import structlog
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

from trio_relay import app, logs
from trio_relay.config import Config, ConfigError, list_files, load
from trio_relay.list_files import ListFiles
from trio_relay.net.listeners import AddressRefused
from trio_relay.nostr.event import MAX_TIME
from trio_relay.nostr.trends import Trends
from trio_relay.pipeline.relay import open_relay
from trio_relay.store.base import Scannable, StoreError, StoreRefused
from trio_relay.store.opensearch import migrate as migrate_opensearch
from trio_relay.store.opensearch import open_opensearch
from trio_relay.store.sqlite import migrate as migrate_sqlite
from trio_relay.store.sqlite import open_sqlite_for_reading
from trio_relay.transfer import ImportSummary, export_lines, import_lines
from trio_relay.trends import describe, read_trends, tables
from trio_relay.version import __version__

log = structlog.get_logger("trio_relay.cli")

CRASHED: Final = 1
CONFIG_ERROR: Final = 2
STORE_REFUSED: Final = 3
ADDRESS_REFUSED: Final = 4
STOPPED_NOW: Final = 130

Advance: TypeAlias = Callable[[int], None]

_config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration, a TOML file. Without it every setting has its default.",
)


@click.group(invoke_without_command=True)
@_config_option
@click.version_option(__version__, prog_name="trio-relay")
@click.pass_context
def main(context: click.Context, config_path: Path | None) -> None:
    """A Nostr relay. Without a command it serves until Ctrl-C.

    Exit codes: 0 stopped as asked; 1 a part of the relay failed; 2 the configuration or the arguments are wrong; 3 the
    store cannot be opened; 4 an address cannot be listened on; 130 stopped at once by a second signal.
    """
    context.obj = config_path
    if context.invoked_subcommand is None:
        _serve(config_path)


@main.command("serve")
@_config_option
@click.pass_obj
def serve_command(group_path: Path | None, config_path: Path | None) -> None:
    """Run the relay, as without a command."""
    _serve(config_path or group_path)


@main.command("check-config")
@_config_option
@click.pass_obj
def check_config(group_path: Path | None, config_path: Path | None) -> None:
    """Read and check the configuration, and do nothing else."""
    path = config_path or group_path
    _load(path)
    click.echo(f"{path or 'the default configuration'} is good")


@main.command("import")
@_config_option
@click.option("--backup", is_flag=True, help="FILE is an export of this relay: take protected events too (NIP-70).")
@click.argument("file", type=click.File("rb"), default="-")
@click.pass_obj
def import_command(group_path: Path | None, config_path: Path | None, backup: bool, file: BinaryIO) -> None:
    """Store events from FILE, one JSON object a line, or from standard input.

    They go through the same checks as a client's, but for authentication. The relay must not run on the same store
    meanwhile. Exit code 1 if the store failed for any of them.
    """
    config = _load_lasting(config_path or group_path)
    summary = ImportSummary()
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with _progress("importing", columns, _size(file)) as advance, _exit_codes():
        trio.run(_import, config, file, summary, advance, backup)
    named = ", ".join(f"{summary.counts[name]} {name}" for name in _OUTCOMES)
    click.echo(f"{summary.total} events: {named}")
    for reason, number in summary.reasons.most_common():
        click.echo(f"  {number} refused: {reason}")
    if summary.store_failed:
        _leave(CRASHED, "the store failed; the same import can be run again")


@main.command("export")
@_config_option
@click.argument("file", type=click.File("wb", lazy=False), default="-")
@click.pass_obj
def export_command(group_path: Path | None, config_path: Path | None, file: BinaryIO) -> None:
    """Write all stored events to FILE, one JSON object a line, or to standard output.

    In the order in which they came, so that an import of it gives the same store. The relay may run meanwhile.
    """
    config = _load_lasting(config_path or group_path)
    columns = (BarColumn(), TextColumn("{task.completed} events"), TimeElapsedColumn())
    with _progress("exporting", columns) as advance, _exit_codes():
        try:
            total = trio.run(_export, config, file, advance)
            file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            _leave(CRASHED, f"cannot write: {error.strerror}")
    click.echo(f"{total} events", err=True)


@main.command("migrate")
@_config_option
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.pass_obj
def migrate_command(group_path: Path | None, config_path: Path | None, dry_run: bool) -> None:
    """Make what the store needs, or bring it to this version, and say what was done.

    It can be run again at any time. On OpenSearch it makes the index template, the index and its alias, and copies an
    older index into a new one while relays go on. A SQLite file is made and upgraded by every start; here without one.
    """
    config = _load_lasting(config_path or group_path)
    with _exit_codes():
        trio.run(partial(_migrate, config, dry_run=dry_run))


@main.command("trends")
@_config_option
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True),
    default=24.0,
    show_default=True,
    help="Length of the window.",
)
@click.option("--until", type=click.IntRange(0, MAX_TIME), help="Its end, in seconds since 1970; by default now.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=10, show_default=True, help="How many of each.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object instead of tables.")
@click.pass_obj
def trends_command(
    group_path: Path | None, config_path: Path | None, hours: float, until: int | None, limit: int, as_json: bool
) -> None:
    """Show which notes, tags and authors most keys referred to in a window of time.

    Each key counts once for each. The relay may run meanwhile.
    """
    config = _load_lasting(config_path or group_path)
    end = int(time.time()) if until is None else until
    since = max(0, end - int(hours * 3_600))
    with _exit_codes():
        try:
            found, described = trio.run(_trends, config, since, end, limit)
        except StoreError as error:
            _leave(CRASHED, str(error))
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        for part in tables(found, described):
            Console().print(part)


_OUTCOMES: Final = ("stored", "known", "superseded", "ephemeral", "refused")


async def _import(config: Config, file: BinaryIO, summary: ImportSummary, advance: Advance, is_backup: bool) -> None:
    # An import waits until everything is stored, however long that takes.
    unhurried = msgspec.structs.replace(config.pipeline, drain_seconds=math.inf)
    async with (
        app.open_store(config) as store,
        open_relay(store, unhurried, rules=app.rules_of(config)) as relay,
    ):
        await import_lines(relay, file, summary, advance, is_backup=is_backup)


async def _export(config: Config, file: BinaryIO, advance: Advance) -> int:
    opened: AbstractAsyncContextManager[Scannable] = (
        open_sqlite_for_reading(config.store)
        if config.store.backend == "sqlite"
        else open_opensearch(config.opensearch)
    )
    async with opened as store:
        return await export_lines(store, file, advance)


async def _trends(config: Config, since: int, until: int, limit: int) -> tuple[Trends, dict[str, str]]:
    if config.store.backend == "opensearch":
        async with open_opensearch(config.opensearch) as index:
            found = await index.trends(since, until, limit)
            return found, await describe(index, found)
    async with open_sqlite_for_reading(config.store) as file:
        found = await read_trends(file, since, until, limit)
        return found, await describe(file, found)


async def _migrate(config: Config, *, dry_run: bool) -> None:
    if config.store.backend == "opensearch":
        await migrate_opensearch(config.opensearch, click.echo, dry_run=dry_run)
    else:
        await migrate_sqlite(config.store, click.echo, dry_run=dry_run)


def _serve(path: Path | None) -> None:
    config = _load(path)
    with _exit_codes():
        trio.run(app.main, config, partial(click.echo, nl=True), _list_files(path, config))
    click.echo("stopped")


def _load(path: Path | None) -> Config:
    try:
        config = load(path, os.environ)
    except ConfigError as error:
        _leave(CONFIG_ERROR, str(error))
    logs.configure(config.log)
    return config


def _list_files(path: Path | None, config: Config) -> ListFiles | None:
    files = list_files(path, os.environ)
    return ListFiles(files, lambda: load(path, os.environ).policy, config.policy.files_seconds) if files else None


def _load_lasting(path: Path | None) -> Config:
    config = _load(path)
    if config.store.backend == "memory":
        _leave(CONFIG_ERROR, "store.backend: a store in memory has nothing to export and keeps no import")
    return config


@contextmanager
def _exit_codes() -> Iterator[None]:
    """Turn the end of a run into a line for the operator and an exit code; a traceback only for our own faults."""
    try:
        yield
    except BaseException as error:
        match _sole(error):
            case SystemExit() as leaving:
                raise leaving from None
            case KeyboardInterrupt():
                _leave(STOPPED_NOW, "interrupted")
            case BrokenPipeError():
                sys.exit(CRASHED)  # the reader of our output has gone, so nobody would see a message
            case StoreRefused() as refused:
                _leave(STORE_REFUSED, str(refused))
            case AddressRefused() as refused:
                _leave(ADDRESS_REFUSED, str(refused))
            case app.StoppedNow():
                _leave(STOPPED_NOW, "stopped at once")
            case ImportError() as missing:
                _leave(CONFIG_ERROR, f"pipeline.signatures: {missing}")
            case _:
                log.critical("a part of the relay failed", exc_info=error)
                _leave(CRASHED, "a part of the relay failed, so it has stopped")


def _sole(error: BaseException) -> BaseException:
    """Return the only exception in nested groups, or the group that has several."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _leave(code: int, reason: str) -> NoReturn:
    click.echo(f"trio-relay: {reason}", err=True)
    sys.exit(code)


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
        status = os.fstat(file.fileno())
    except OSError:
        return None
    return status.st_size or None
