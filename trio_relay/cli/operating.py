"""Commands that look into the store, whatever is in it: `query`, `count` and `stats`.

They read the store themselves, also while the relay runs, and past the gate: who may read the file may read all of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Final

import click
import msgspec
import trio
from rich.console import Console
from rich.table import Table

from trio_relay.cli.leaving import CONFIG_ERROR, CRASHED, exit_codes, leave
from trio_relay.cli.loading import config_option, loaded_lasting
from trio_relay.config import Config
from trio_relay.exporting import open_for_reading
from trio_relay.nostr.errors import Rejected
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.written_filters import filters_in, read_filters
from trio_relay.store.base import StoreError
from trio_relay.store.insight import Holdings
from trio_relay.store.inspection import Space

MOST_EVENTS: Final = 2**53
"""More than there are: the limit of a filter that has none."""
_FIRST_KINDS: Final = 10
filters_argument: Final = click.argument("filters", nargs=-1, required=True, metavar="FILTER...")


@click.command("query", short_help="Write the stored events that match a filter, one a line.")
@config_option
@click.option("--limit", type=click.IntRange(min=0), help="Write so many events at most.")
@click.option("--archive", is_flag=True, help="Write what has gone and is kept since store.archive is on.")
@filters_argument
@click.pass_obj
def query_command(
    group_path: Path | None, config_path: Path | None, limit: int | None, archive: bool, filters: tuple[str, ...]
) -> None:
    """Write the stored events that match any FILTER, one JSON object a line, newest first.

    FILTER is NIP-01's JSON, such as '{"kinds":[1],"authors":["npub1…"]}', or a list of such; - reads them from the
    standard input. Everything that matches is written, private kinds too; what has expired is left out. A search
    orders as a client's does. The relay may run meanwhile.

    With --archive it is what has been replaced, deleted or has expired, what went last first: of each the event, the
    reason, when it went (at), and the id of the newer version or of the request to delete it (by).
    """
    config = loaded_lasting(config_path or group_path)
    asked = filters_of(filters, config)
    with exit_codes(writes=True), store_errors():
        trio.run(_query_archive if archive else _query, config, asked, limit, sys.stdout.buffer)


@click.command("count", short_help="Count the stored events that match a filter.")
@config_option
@filters_argument
@click.pass_obj
def count_command(group_path: Path | None, config_path: Path | None, filters: tuple[str, ...]) -> None:
    """Count the stored events that match any FILTER, each once, whatever their limits.

    FILTER is written as for `query`. The relay may run meanwhile.
    """
    config = loaded_lasting(config_path or group_path)
    asked = filters_of(filters, config)
    with exit_codes(), store_errors():
        click.echo(trio.run(_count, config, asked))


@click.command("stats", short_help="Show what the store holds, in numbers.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="As one JSON object instead of tables.")
@click.pass_obj
def stats_command(group_path: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Show what the store holds, in numbers: events by kind, by author and by day, and the room that it takes.

    What has expired counts until it is swept. The relay may run meanwhile.
    """
    config = loaded_lasting(config_path or group_path)
    with exit_codes(), store_errors():
        held, space = trio.run(_stats, config)
    if as_json:
        click.echo(msgspec.json.encode(msgspec.to_builtins(held) | {"space": asdict(space)}))
    else:
        console = Console()
        console.print(_summary(held, space))
        for part in (_of_kinds(held), _of_authors(held), _of_days(held)):
            console.print()
            console.print(part)


def filters_of(texts: Sequence[str], config: Config) -> list[Filter]:
    """The filters that somebody has written; ends the command where one is none."""
    try:
        return read_filters(sources_of(texts), config.store.search_prefix)
    except Rejected as refusal:
        leave(CONFIG_ERROR, refusal.reason)


def sources_of(texts: Sequence[str]) -> list[Any]:
    """The same as decoded JSON, as it was written.

    Raises:
        Rejected: one is no JSON, or something else than filters.
    """
    return [one for text in texts for one in filters_in(sys.stdin.read() if text == "-" else text)]


@contextmanager
def store_errors() -> Iterator[None]:
    """End the command with the store's own words where it fails."""
    try:
        yield
    except StoreError as error:
        leave(CRASHED, str(error))


async def _query(config: Config, filters: Sequence[Filter], limit: int | None, out: BinaryIO) -> None:
    left = MOST_EVENTS if limit is None else limit
    asked = [filter_.with_limit(default=left, most=left) for filter_ in filters]
    async with open_for_reading(config) as store, aclosing(store.query(asked)) as pages:
        async for page in pages:
            out.write(b"".join(event + b"\n" for event in page[:left]))
            if (left := left - len(page)) <= 0:
                break
    out.flush()


async def _query_archive(config: Config, filters: Sequence[Filter], limit: int | None, out: BinaryIO) -> None:
    left = MOST_EVENTS if limit is None else limit
    written: set[str] = set()  # ids, where filters overlap
    async with open_for_reading(config) as store:
        for filter_ in filters:
            async with aclosing(store.archived(filter_)) as pages:
                async for page in pages:
                    fresh = [one for one in page if one.id not in written][:left]
                    written.update(one.id for one in fresh)
                    left -= len(fresh)
                    out.write(b"".join(one.encode() + b"\n" for one in fresh))
    out.flush()


async def _count(config: Config, filters: Sequence[Filter]) -> int:
    async with open_for_reading(config) as store:
        return await store.count(filters)


async def _stats(config: Config) -> tuple[Holdings, Space]:
    async with open_for_reading(config) as store:
        return await store.tally(), await store.space()


def _summary(held: Holdings, space: Space) -> Table:
    table = _table("", "")
    for name, value in (
        ("events", held.events),
        ("of them, expiring", held.expiring.events),
        ("of them, in the index of words", space.worded),
        ("tombstones", space.tombstones),
        ("values of the relay's own", space.metadata),
        ("their bytes", space.metadata_bytes),
        ("bytes on disk", space.disk_bytes),
        ("of them, of the write-ahead log", space.log_bytes),
        ("of them, free: compact gives them back", space.free_bytes),
        ("documents of removed events", space.removed_documents),
    ):
        if value is not None:
            table.add_row(name, f"{value:,}")
    return table


def _of_kinds(held: Holdings) -> Table:
    table = _table("kind", "events")
    for one in held.kinds[:_FIRST_KINDS]:
        table.add_row(str(one.kind), f"{one.events:,}")
    return table


def _of_authors(held: Holdings) -> Table:
    table = _table("author", "events")
    for one in held.authors[:_FIRST_KINDS]:
        table.add_row(one.pubkey, f"{one.events:,}")
    return table


def _of_days(held: Holdings) -> Table:
    table = _table("day (UTC)", "events")
    for one in held.days[:_FIRST_KINDS]:
        table.add_row(one.day, f"{one.events:,}")
    return table


def _table(*titles: str) -> Table:
    name, number = titles
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="", show_header=bool(name))
    table.add_column(name, no_wrap=True)
    table.add_column(number, justify="right", no_wrap=True)
    return table
