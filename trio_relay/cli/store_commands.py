"""Commands that look into the store, or bring it to this version: `migrate` and `trends`."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import click
import msgspec
import trio
from rich.console import Console

from trio_relay.cli.leaving import CRASHED, exit_codes, leave
from trio_relay.cli.loading import config_option, loaded_lasting
from trio_relay.config import Config
from trio_relay.nostr.access import Reader
from trio_relay.nostr.event import MAX_TIME
from trio_relay.nostr.trends import Trends
from trio_relay.store import opensearch
from trio_relay.store.base import StoreError
from trio_relay.store.sqlite import migrate as migrate_sqlite
from trio_relay.store.sqlite import open_sqlite_for_reading
from trio_relay.trends import describe, read_trends, tables


@click.command("migrate", short_help="Make what the store needs, or bring it to this version.")
@config_option
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.pass_obj
def migrate_command(group_path: Path | None, config_path: Path | None, dry_run: bool) -> None:
    """Make what the store needs, or bring it to this version, and say what was done.

    It can be run again at any time. On OpenSearch it makes the index template, the index and its alias, and copies an
    older index into a new one while relays go on. A SQLite file is made and upgraded by every start; here without one.
    """
    config = loaded_lasting(config_path or group_path)
    with exit_codes():
        trio.run(partial(_migrate, config, dry_run=dry_run))


@click.command("trends", short_help="Show which notes, tags and authors most keys referred to.")
@config_option
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
    config = loaded_lasting(config_path or group_path)
    end = int(time.time()) if until is None else until
    since = max(0, end - int(hours * 3_600))
    with exit_codes():
        try:
            found, described = trio.run(_trends, config, since, end, limit)
        except StoreError as error:
            leave(CRASHED, str(error))
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
        await opensearch.migrate(config.opensearch, click.echo, dry_run=dry_run, has_archive=config.store.archive)
    else:
        await migrate_sqlite(config.store, click.echo, dry_run=dry_run)
