"""The command `trio-relay`: reads arguments and configuration, runs the relay, and ends with an exit code."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
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
from trio_relay.backup import bring_in, read_state, write_events, write_state
from trio_relay.config import Config, exposed, list_files, load
from trio_relay.config_checks import ConfigError
from trio_relay.list_files import ListFiles
from trio_relay.net.listeners import AddressRefused
from trio_relay.net.tls import TlsRefused
from trio_relay.nostr.access import Reader
from trio_relay.nostr.event import MAX_TIME
from trio_relay.nostr.trends import Trends
from trio_relay.plugins.hooks import HooksRefused
from trio_relay.private_files import written_whole
from trio_relay.state_file import StateRefused
from trio_relay.store import opensearch
from trio_relay.store.base import StoreError, StoreRefused
from trio_relay.store.sqlite import migrate as migrate_sqlite
from trio_relay.store.sqlite import open_sqlite_for_reading
from trio_relay.tls_files import tls_files
from trio_relay.transfer import ImportSummary
from trio_relay.trends import describe, read_trends, tables
from trio_relay.version import CODE, __version__
from trio_relay.workers import WorkersFailed

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
@click.version_option(f"{__version__} ({CODE})", prog_name="trio-relay")
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
    with _exit_codes():
        tls_files(_load(path, with_hooks=True).net)
    click.echo(f"{path or 'the default configuration'} is good")


_state_option = partial(click.option, "--state", "state_path", metavar="STATE")
_with_key_option = partial(click.option, "--with-key", is_flag=True)


@main.command("import")
@_config_option
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

    FILE may be compressed by gzip, and its lines may be EVENT messages. Without --backup events go through the same
    checks as a client's, but for authentication. With --state alone no events are read; - is standard input. The
    relay must not run on the same store meanwhile.

    At the end it is said how many lines were refused, the ten most frequent reasons with the first line of each, and
    how many others; --each names every line. Exit code 1 if any was refused, unless --lenient; if the store failed; or
    if FILE could not be read to its end.
    """
    _check_options(file is not None, state_path, backup=backup, with_key=with_key, replace=replace)
    if file is None and state_path is None:
        file = sys.stdin.buffer
    config = _load_lasting(config_path or group_path)
    summary = ImportSummary(partial(click.echo, err=True) if each else None)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with _progress("importing", columns, None if file is None else _size(file)) as advance, _exit_codes():
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
        _leave(CRASHED, f"{summary.broken}; what came before is imported")
    if summary.store_failed:
        _leave(CRASHED, "the store failed; the same import can be run again")
    if summary.counts["refused"] and not lenient:
        _leave(CRASHED, "not all lines were taken (--lenient: that is no failure)")


@main.command("export")
@_config_option
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

    In the order in which they came, so that an import of it gives the same store; compressed by gzip if the name of
    FILE ends in .gz. With --state alone no events are written; - is standard output. The relay may run meanwhile.
    A FILE that is there stays as it is until the new one is whole.
    """
    _check_options(file is not None, state_path, with_key=with_key)
    config = _load_lasting(config_path or group_path)
    columns = (BarColumn(), TextColumn("{task.completed} events"), TimeElapsedColumn())
    total, state = None, None
    with _progress("exporting", columns) as advance, _exit_codes(writes=True):
        if file is not None or state_path is None:
            path = None if file == Path("-") else file
            with nullcontext(sys.stdout.buffer) if path is None else written_whole(path) as out:
                gzip = path is not None and path.suffix == ".gz"
                total = trio.run(partial(write_events, config, out, advance, gzip=gzip))
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

    Each key counts once for each. What is private is left out (policy.private_kinds), so that the result may be shown
    to anybody. The relay may run meanwhile.
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


async def _trends(config: Config, since: int, until: int, limit: int) -> tuple[Trends, dict[str, str]]:
    anybody = Reader(private_kinds=frozenset(config.policy.private_kinds))
    if config.store.backend == "opensearch":
        async with opensearch.open_opensearch(config.opensearch) as index:
            found = await index.trends(since, until, limit, anybody)
            return found, await describe(index, found, anybody)
    async with open_sqlite_for_reading(config.store) as file:
        found = await read_trends(file, since, until, limit, anybody)
        return found, await describe(file, found, anybody)


async def _migrate(config: Config, *, dry_run: bool) -> None:
    if config.store.backend == "opensearch":
        await opensearch.migrate(config.opensearch, click.echo, dry_run=dry_run)
    else:
        await migrate_sqlite(config.store, click.echo, dry_run=dry_run)


def _serve(path: Path | None) -> None:
    logs.open_closed_streams()
    config = _load(path, with_hooks=True)
    with _exit_codes():
        trio.run(_main_of(config), config, partial(click.echo, nl=True), _list_files(path, config))
    click.echo("stopped")


def _main_of(config: Config) -> Callable[..., Awaitable[None]]:
    """Return what serves; what several processes need is loaded only for them."""
    if config.pipeline.workers == 1:
        return app.main
    from trio_relay.workers.serving import main
    from trio_relay.workers.sharing import workers_of

    workers = workers_of(config)
    return app.main if workers == 1 else partial(main, workers=workers)


def _load(path: Path | None, *, with_hooks: bool = False) -> Config:
    try:
        config = load(path, os.environ, with_hooks=with_hooks)
        open_secrets = [] if path is None else exposed(path)
    except ConfigError as error:
        _leave(CONFIG_ERROR, str(error))
    logs.configure(config.log)
    if open_secrets:
        log.warning("everybody on this machine may read the configuration", path=str(path), secrets=open_secrets)
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
def _exit_codes(*, writes: bool = False) -> Iterator[None]:
    """Turn the end of a run into a line for the operator and an exit code; a traceback only for our own faults.

    Args:
        writes: True if the system's errors are those of the files that are written.
    """
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
            case OSError() as unwritten if writes:
                _leave(CRASHED, f"cannot write: {unwritten.strerror}")
            case StoreRefused() as refused:
                _leave(STORE_REFUSED, str(refused))
            case StateRefused() | TlsRefused() | HooksRefused() as refused:
                _leave(CONFIG_ERROR, str(refused))
            case StoreError() | WorkersFailed() as failed:
                _leave(CRASHED, str(failed))
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
        return os.fstat(file.fileno()).st_size or None
    except OSError:
        return None
