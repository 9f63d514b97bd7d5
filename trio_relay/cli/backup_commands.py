"""The commands `backup` and `restore`: the whole store into one file or snapshot, and a store of it again."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Final

import click
import msgspec
import trio

from trio_relay.backup.base import BackupMade, described
from trio_relay.backup.regular import Backups
from trio_relay.backup.vaults import vault_of
from trio_relay.cli.completion import complete_file
from trio_relay.cli.leaving import exit_codes
from trio_relay.cli.loading import config_option, loaded_lasting
from trio_relay.cli.progress_line import timed
from trio_relay.config import Config
from trio_relay.store.sqlite.lock import holder_of

_OPENSEARCH: Final = "opensearch"


def backups_of(config: Config) -> Backups:
    """What makes the backups of a relay, beside it and when somebody asks."""
    return Backups(config.backup, vault_of(config.backup, config.store.backend, config.store, config.opensearch))


@click.command("backup", short_help="Copy the whole store into one file, also while the relay runs.")
@config_option
@click.option("--with-key", is_flag=True, help="With the relay's own keys, as backup.with_key says it.")
@click.argument("name", metavar="[FILE]", required=False, shell_complete=complete_file)
@click.pass_obj
def backup_command(group_path: Path | None, config_path: Path | None, with_key: bool, name: str | None) -> None:
    """Copy the whole store of one moment into FILE, compressed and with a checksum.

    The relay may run meanwhile, and keeps at least half of its time for others. FILE has its place once it is whole;
    an older one stays until then. Beside it there has to be room for the store, too. Without FILE the backup goes where
    the relay's own go, and the oldest beyond backup.keep are removed. With OpenSearch, FILE is the name of a snapshot
    in backup.repository.
    """
    config = loaded_lasting(config_path or group_path)
    if with_key:
        config = msgspec.structs.replace(config, backup=msgspec.structs.replace(config.backup, with_key=True))
    with exit_codes():
        with timed("copying the store"):
            made = trio.run(backups_of(config).make) if name is None else trio.run(_back_up, config, name)
        click.echo(made)


async def _back_up(config: Config, name: str) -> BackupMade:
    if config.store.backend == _OPENSEARCH:
        from trio_relay.backup.repository import BackupRepository

        return await BackupRepository(config.backup, config.opensearch, _tell).make_named(name, time.time())
    from trio_relay.backup.making import back_up_file

    if name == "-":
        raise click.UsageError("a backup has its name once it is whole, which no stream can wait for: name a FILE")
    store = Path(config.store.path)
    rests = holder_of(store) is not None
    return await back_up_file(store, Path(name), time.time(), with_key=config.backup.with_key, rests=rests)


_tell = partial(click.echo, err=True)


@click.command("restore", short_help="Make a store of a backup, where the configuration has it.")
@config_option
@click.option("--check", "checks", is_flag=True, help="Only read all of FILE, and say whether it is whole.")
@click.option("--replace", is_flag=True, help="Where there is a store already, keep it under another name.")
@click.argument("name", metavar="FILE", shell_complete=complete_file)
@click.pass_obj
def restore_command(group_path: Path | None, config_path: Path | None, checks: bool, replace: bool, name: str) -> None:
    """Make a store of a backup, where the configuration has it.

    The relay must not run. A FILE that is damaged, cut off, of something else or of a newer version is refused before
    anything is touched, and so is a store that is there already; with --replace it is kept beside the new one, which
    takes its place in one step. With OpenSearch, FILE is the name of a snapshot in backup.repository.
    """
    config = loaded_lasting(config_path or group_path)
    with exit_codes(writes=True):
        if config.store.backend == _OPENSEARCH:
            from trio_relay.backup.repository import BackupRepository

            repository = BackupRepository(config.backup, config.opensearch, _tell)
            restore = repository.check if checks else partial(repository.restore, replaces=replace)
            click.echo(trio.run(restore, name))
            return
        _restore_file(Path(name), Path(config.store.path), checks=checks, replaces=replace)


def _restore_file(file: Path, store: Path, *, checks: bool, replaces: bool) -> None:
    from trio_relay.backup.restoring import check_backup, restore_file

    if checks:
        found = check_backup(file)
        click.echo(f"{file} is whole: {described(found.events, found.made, with_key=found.with_key)}")
        return
    restored = restore_file(file, store, replaces=replaces)
    found = restored.header
    click.echo(f"{store}: {described(found.events, found.made, with_key=found.with_key)}")
    if restored.before is not None:
        click.echo(f"{restored.before}: the store that was there; remove it once all is well")
