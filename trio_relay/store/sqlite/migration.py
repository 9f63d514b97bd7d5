"""`trio-relay migrate` for SQLite: makes the file or upgrades it, and says what is done."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw

from trio_relay.store.base import StoreRefused
from trio_relay.store.sqlite import schema
from trio_relay.store.sqlite.lifetime import open_sqlite
from trio_relay.store.sqlite.options import SqliteOptions
from trio_relay.store.sqlite.transaction import described


async def migrate(options: SqliteOptions, say: Callable[[str], None], *, dry_run: bool = False) -> None:
    """Make the file or upgrade it to this version, and say what was done, or would be.

    Raises:
        StoreRefused: another process holds the file, it is of a newer version, or it cannot be opened.
    """
    would = "would " if dry_run else ""
    version = _version(options.path)
    if version is None:
        say(f"{would}make {options.path} (schema {schema.VERSION})")
    elif version == schema.VERSION:
        say(f"{options.path} has schema {version}: nothing to do")
    else:
        say(f"{would}bring {options.path} from schema {version} to {schema.VERSION}")
    if not dry_run:
        async with open_sqlite(options) as store:
            await store.worded.wait()
            say(f"{store.description} is ready")


def _version(path: str) -> int | None:
    """Return the schema version of a usable file; None if there is no file yet."""
    if not Path(path).is_file():
        return None
    try:
        with closing(apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            if connection.pragma("application_id") != 0:  # else it is empty, or no store of a relay
                schema.check(connection, path)
            return int(connection.pragma("user_version"))
    except apsw.Error as error:
        raise StoreRefused(f"{path}: {described(error)}") from error
