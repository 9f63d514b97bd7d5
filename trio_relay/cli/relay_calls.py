"""Commands that have the running relay act, by its control line: `call` any method of NIP-86, `delete`, and `compact`.

The latter two open the store themselves where no relay runs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import trio

from trio_relay import configured
from trio_relay.cli.completion import complete_method
from trio_relay.cli.control_line import NoLine, call_relay
from trio_relay.cli.leaving import CONFIG_ERROR, CRASHED, STORE_REFUSED, exit_codes, leave
from trio_relay.cli.loading import config_option, loaded, loaded_lasting
from trio_relay.cli.operating import sources_of, store_errors
from trio_relay.config import Config
from trio_relay.exporting import open_for_reading
from trio_relay.net.admin.calls import CallRefused
from trio_relay.nostr.errors import Rejected
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.written_filters import is_everything, read_filters
from trio_relay.store.base import StoreInUse
from trio_relay.store.inspection import Compacted
from trio_relay.store.sqlite import rewrite

_MEGABYTE: Final = 1_000_000
_NO_TOMBSTONE: Final = "They leave no tombstone: whoever publishes them again has them stored again."


@click.command("call", short_help="Call a method of NIP-86 on the running relay.")
@config_option
@click.argument("method", shell_complete=complete_method)
@click.argument("params", required=False, default="[]")
@click.pass_obj
def call_command(group_path: Path | None, config_path: Path | None, method: str, params: str) -> None:
    """Call a METHOD of NIP-86 on the running relay, and write what it answers as JSON.

    PARAMS is a JSON list. No key and no signature are needed: the relay listens for its own user at a socket beside
    its store (control.listen), and the call is recorded as that of the operator. `supportedmethods` lists all methods.
    """
    config = loaded(config_path or group_path)
    try:
        decoded = msgspec.json.decode(params, type=list[Any])
    except (msgspec.DecodeError, msgspec.ValidationError):
        leave(CONFIG_ERROR, "PARAMS must be a JSON list, such as '[\"a word\"]'")
    with exit_codes():
        click.echo(msgspec.json.encode(called(config, method, decoded)))


def called(config: Config, method: str, params: Sequence[object]) -> Any:
    """What the running relay answers; ends the command where there is none, or it refuses."""
    try:
        return call_relay(config, method, params)
    except (NoLine, CallRefused) as error:
        leave(CRASHED, str(error))


@click.command("delete", short_help="Remove all stored events that match a filter.")
@config_option
@click.option("--filter", "filters", multiple=True, required=True, metavar="FILTER", help="What is to go; several.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@click.option("--all", "is_all", is_flag=True, help="Take a FILTER that matches everything.")
@click.pass_obj
def delete_command(
    group_path: Path | None, config_path: Path | None, filters: tuple[str, ...], dry_run: bool, yes: bool, is_all: bool
) -> None:
    """Remove all stored events that match any FILTER, whoever has published them.

    FILTER is written as for `query`, without a limit. How many events of which kind would go is said first. They leave
    no tombstone, as what a ban removes: whoever publishes them again has them stored again, unless a list or a rule
    keeps them out. While the relay runs it removes them itself, by its control line, so that caches, open
    subscriptions and workers follow; else the store is opened.
    """
    config = loaded_lasting(config_path or group_path)
    sources = _decoded(filters)
    asked = _to_remove(sources, config, is_all=is_all)
    with exit_codes(), store_errors():
        kinds = _foreseen(config, sources, asked, is_all)
        _tell(kinds)
        if dry_run or not kinds:
            return
        if not yes:
            _confirm()
        click.echo(f"{_removed(config, sources, asked, is_all):,} events removed")


def _decoded(texts: Sequence[str]) -> list[Any]:
    try:
        return sources_of(texts)
    except Rejected as refusal:
        leave(CONFIG_ERROR, refusal.reason)


def _to_remove(sources: list[Any], config: Config, *, is_all: bool) -> list[Filter]:
    try:
        filters = read_filters(sources, config.store.search_prefix)
    except Rejected as refusal:
        leave(CONFIG_ERROR, refusal.reason)
    if any(filter_.limit is not None for filter_ in filters):
        leave(CONFIG_ERROR, "a removal has no limit: which of the events it would take is not said")
    if not is_all and any(map(is_everything, filters)):
        leave(CONFIG_ERROR, "a filter matches everything; --all says that this is meant")
    return filters


def _foreseen(config: Config, sources: list[Any], filters: Sequence[Filter], is_all: bool) -> dict[int, int]:
    """Events that would go, by kind."""
    try:
        told = _remove_there(config, sources, is_dry_run=True, is_all=is_all)
        return {int(kind): number for kind, number in told["kinds"].items()}
    except NoLine:
        return trio.run(_kinds_here, config, filters)


def _removed(config: Config, sources: list[Any], filters: Sequence[Filter], is_all: bool) -> int:
    """Remove them; returns how many went."""
    try:
        return int(_remove_there(config, sources, is_dry_run=False, is_all=is_all)["events"])
    except NoLine as no_line:
        try:
            return trio.run(_remove_here, config, filters)
        except StoreInUse as in_use:
            leave(STORE_REFUSED, f"{in_use}, and {no_line}")


def _remove_there(config: Config, sources: list[Any], *, is_dry_run: bool, is_all: bool) -> Any:
    """Have the running relay do it.

    Raises:
        NoLine: there is none.
    """
    try:
        return call_relay(config, "removeevents", [sources, is_dry_run, is_all])
    except CallRefused as refused:
        leave(CRASHED, str(refused))


async def _kinds_here(config: Config, filters: Sequence[Filter]) -> dict[int, int]:
    async with open_for_reading(config) as store:
        return await store.kinds_of(filters)


async def _remove_here(config: Config, filters: Sequence[Filter]) -> int:
    async with configured.open_store(config) as store:
        return await store.remove(filters)


def _tell(kinds: dict[int, int]) -> None:
    click.echo(f"{sum(kinds.values()):,} events match")
    for kind, number in kinds.items():
        click.echo(f"  kind {kind}: {number:,}")


def _confirm() -> None:
    """Ask whoever sits at the terminal; ends the command if nobody does, or they do not want it."""
    if not sys.stdin.isatty():
        leave(CONFIG_ERROR, "nobody can be asked here; --yes removes them")
    click.echo(_NO_TOMBSTONE)
    if not click.confirm("Remove them?"):
        leave(CRASHED, "nothing is removed")


@click.command("compact", short_help="Make the store smaller: give back what removed events took.")
@config_option
@click.pass_obj
def compact_command(group_path: Path | None, config_path: Path | None) -> None:
    """Make the store smaller: give back the room of what was removed.

    While the relay runs, it does so itself, in portions beside its clients, by its control line. Else a SQLite file is
    written anew, which makes it smallest, and takes as much room on the disk meanwhile as the new file; how long that
    takes is said first. A file that an older version has made is written anew once before a relay can give room back.
    OpenSearch is told to drop the documents of removed events.
    """
    config = loaded_lasting(config_path or group_path)
    with exit_codes(), store_errors():
        done = _compacted(config)
    click.echo(f"{done.before / _MEGABYTE:,.1f} MB before, {done.after / _MEGABYTE:,.1f} MB after")


def _compacted(config: Config) -> Compacted:
    try:
        return Compacted(**call_relay(config, "compactstore", []))
    except CallRefused as refused:
        leave(CRASHED, str(refused))
    except NoLine as no_line:
        try:
            if config.store.backend == "sqlite":
                return trio.run(partial(rewrite, config.store, click.echo))
            return trio.run(_compact_here, config)
        except StoreInUse as in_use:
            leave(STORE_REFUSED, f"{in_use}, and {no_line}")


async def _compact_here(config: Config) -> Compacted:
    async with configured.open_store(config) as store:
        return await store.compact()
