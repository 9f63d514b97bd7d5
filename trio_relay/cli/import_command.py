"""The command `import`: events and operators' decisions, from files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import click
import trio

from trio_relay.cli.completion import complete_file
from trio_relay.cli.import_progress import ImportProgress
from trio_relay.cli.leaving import CRASHED, exit_codes, leave
from trio_relay.cli.loading import config_option, loaded_lasting
from trio_relay.cli.state_options import check_options, state_option, with_key_option
from trio_relay.config import Config
from trio_relay.exporting import read_state
from trio_relay.importing import bring_in
from trio_relay.resuming import SUFFIX, Bookmark, fingerprint
from trio_relay.sources import BrokenFile, EventSource, LineBounds, NoSource, open_source
from trio_relay.transfer import ImportSummary

_STDIN: Final = "-"


@click.command("import", short_help="Store the events of a file, or of another relay's database.")
@config_option
@click.option(
    "--backup",
    is_flag=True,
    help="FILE is an export of this relay: ask only whether its events are whole, not whether they may come in.",
)
@click.option("--resume", is_flag=True, help="Go on where an import of FILE was broken off, if one was.")
@click.option("--each", is_flag=True, help="Name each refused line on standard error, with the reason.")
@click.option("--lenient", is_flag=True, help="Exit code 0 although lines were refused.")
@click.option("--quiet", is_flag=True, help="Do not tell on standard error how far it is.")
@state_option(
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Restore from this file what operators had decided, before any event: all of it or nothing.",
)
@with_key_option(help="Take the relay's own key from STATE, too.")
@click.option("--replace", is_flag=True, help="STATE takes the place of what the store has of that sort.")
@click.argument("source", metavar="[FILE|URL]", required=False, shell_complete=complete_file)
@click.pass_obj
def import_command(
    group_path: Path | None,
    config_path: Path | None,
    backup: bool,
    resume: bool,
    each: bool,
    lenient: bool,
    quiet: bool,
    state_path: Path | None,
    with_key: bool,
    replace: bool,
    source: str | None,
) -> None:
    """Store events from FILE, one JSON object a line, or from standard input.

    FILE may be compressed by gzip or zstd; its lines may be EVENT messages, or strfry's, also of --fried. It may also
    be the database of nostr-rs-relay, or what pg_dump wrote of nostream's; URL is that of nostream's database,
    postgresql://…, or of the original relay's index, https://…/nostr-events. Without --backup events go through the
    same checks as a client's, but for authentication. With --state alone no events are read; - is standard input. The
    relay must not run on the same store meanwhile.

    How far it is, how fast it goes and how long it will take is told on standard error, every ten seconds where that is
    no terminal. What was broken off, even by kill -9 or a loss of power, goes on with --resume: FILE.resume, beside
    FILE until all of it is in, says where.

    At the end it is said how many lines were refused, the ten most frequent reasons with the first line of each, and
    how many others; --each names every line.
    """
    check_options(source is not None, state_path, backup=backup, with_key=with_key, replace=replace)
    if resume and source in (None, _STDIN):
        raise click.UsageError("--resume needs FILE: what standard input has given cannot be read again")
    if source is None and state_path is None:
        source = _STDIN
    config = loaded_lasting(config_path or group_path)
    summary = ImportSummary(partial(click.echo, err=True) if each else None)
    with exit_codes(interrupted=partial(_interrupted, summary, source)):
        state = None if state_path is None else read_state(state_path, with_key=with_key)
        bring = partial(bring_in, config, state, summary=summary, is_backup=backup, replaces=replace)
        if source is None:
            trio.run(partial(bring, None))
        else:
            bounds = LineBounds.of(config.limits, is_backup=backup)
            progress = ImportProgress(summary, is_quiet=quiet)
            told = _bring_events(bring, source, bounds, progress, config, resumes=resume)
    if state is not None:
        click.echo(f"{state_path}: {state}")
    if source is not None:
        _tell(summary, *told, lenient=lenient)


def _bring_events(
    bring: Callable[..., Awaitable[None]],
    argument: str,
    bounds: LineBounds,
    progress: ImportProgress,
    config: Config,
    *,
    resumes: bool,
) -> tuple[Counter[str], bool]:
    """Bring in what the argument names; returns what was left out of it, by why, and whether it can be resumed."""
    with _opened(argument, bounds, progress) as source:
        bookmark = _bookmark(argument, config) if source.is_repeatable else None
        if resumes and bookmark is None:
            raise click.UsageError(f"--resume needs a FILE of lines, not {source.kind}")
        trio.run(progress.beside, partial(bring, source.lines, bookmark=bookmark, resumes=resumes))
        return source.left_out, bookmark is not None


@contextmanager
def _opened(argument: str, bounds: LineBounds, progress: ImportProgress) -> Iterator[EventSource]:
    """Open what the argument names; leaves where it cannot be read."""
    with ExitStack() as sources:
        try:
            source = sources.enter_context(open_source(argument, progress.advance, bounds))
        except NoSource as error:
            raise click.UsageError(str(error)) from error
        except BrokenFile as error:
            leave(CRASHED, str(error))
        progress.expect(source.total_bytes)
        yield source


def _bookmark(name: str, config: Config) -> Bookmark:
    """What remembers how far the import of a file is."""
    if config.store.backend == "sqlite":
        store = str(Path(config.store.path).absolute())
    else:
        store = f"{config.opensearch.prefix} at {config.opensearch.urls[0]}"
    with Path(name).open("rb") as file:
        return Bookmark(Path(name), fingerprint(file), store)


def _interrupted(summary: ImportSummary, source: str | None) -> str:
    """Say what became of the lines so far; returns the line for the operator."""
    if source is None:
        return "interrupted"
    for line in summary.lines():
        click.echo(line)
    can_resume = source != _STDIN and Path(f"{source}{SUFFIX}").exists()
    again = "--resume goes on behind that" if can_resume else "the same import can be run again"
    return f"interrupted; what came before is imported, and {again}"


def _tell(summary: ImportSummary, left_out: Counter[str], can_resume: bool, *, lenient: bool) -> None:
    """Say what became of the lines; leaves with exit code 1 if not all is in the store that should be."""
    for line in summary.lines():
        click.echo(line)
    for reason, number in left_out.most_common():
        click.echo(f"  {number} left out: {reason}")
    if summary.broken is not None:
        leave(CRASHED, f"{summary.broken}; what came before is imported")
    if summary.store_failed:
        again = "--resume takes up again what it did not take" if can_resume else "the same import can be run again"
        leave(CRASHED, f"the store failed; {again}")
    if summary.has_refusals and not lenient:
        leave(CRASHED, "not all lines were taken (--lenient: that is no failure)")
