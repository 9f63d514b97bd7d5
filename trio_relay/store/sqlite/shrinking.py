"""Makes a file smaller: gives free pages back beside the running relay, or writes all anew without one. Blocks.

Files that this version makes can give back pages (`auto_vacuum = incremental`); older ones have to be written anew
first, which makes them such files.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

import apsw

from trio_relay.private_files import give_to_owner_of, put_in_place, remove_unfinished, unfinished
from trio_relay.store.base import StoreError, StoreRefused
from trio_relay.store.inspection import Compacted
from trio_relay.store.sqlite import schema
from trio_relay.store.sqlite.lock import held
from trio_relay.store.sqlite.options import SqliteOptions
from trio_relay.store.sqlite.tally import bytes_of_copy, check_room, size_of
from trio_relay.store.sqlite.threads import run_interruptibly
from trio_relay.store.sqlite.transaction import described

STEPS: Final = 10_000
"""Of SQLite's virtual machine between two looks whether somebody wants the end: a few milliseconds."""
PAGES_AT_A_TIME: int = 256
"""A megabyte: 11 ms of the writer's thread (107 MB in 1.1 seconds)."""
_BYTES_A_SECOND: Final = 100_000_000
"""Seen: 252 MB in 2.2 seconds, on a virtual machine of two busy cores."""
_MEGABYTE: Final = 1_000_000


def can_shrink(connection: apsw.Connection) -> bool:
    """True if the file can give back pages while it is used."""
    return int(connection.pragma("auto_vacuum")) == schema.INCREMENTAL


def give_back(connection: apsw.Connection) -> bool:
    """Give back a portion of the free pages; False if there are none left.

    Raises:
        apsw.Error: none was given back.
    """
    connection.execute(f"PRAGMA incremental_vacuum({PAGES_AT_A_TIME})").fetchall()
    return int(connection.pragma("freelist_count")) > 0


async def rewrite(options: SqliteOptions, told: Callable[[str], object]) -> Compacted:
    """Write a file anew without a relay; raises what `write_anew` does, and `StoreInUse`.

    Who is cancelled leaves it as it was.

    Args:
        options: name the file.
        told: see `write_anew`.
    """
    with held(Path(options.path)) as path:
        before = size_of(path)
        ended = threading.Event()
        await run_interruptibly(partial(write_anew, path, told, ended.is_set), ended.set)
        return Compacted(before, size_of(path))


def write_anew(path: Path, told: Callable[[str], object], has_ended: Callable[[], bool]) -> None:
    """Write a file anew without free pages, in the order of its tables, and put it in the place of the old one.

    To be called by whoever holds its lock. Until the end the old one stays as it is.

    Args:
        path: of a store's file.
        told: is told in a sentence how much there is to be written.
        has_ended: asked every few milliseconds; once it says so, this ends by a StoreError.

    Raises:
        StoreRefused: it is no store, or somebody reads it.
        StoreError: there is not enough room, or it cannot be written; the old file is there.
    """
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
            schema.check(connection, str(path))
            take_alone(connection, path)
            told(_announcement(connection, path))
            connection.set_progress_handler(has_ended, STEPS)
            remove_unfinished(path)
            connection.pragma("auto_vacuum", schema.INCREMENTAL)
            with unfinished(path) as part:
                connection.execute("VACUUM INTO ?", (str(part),)).fetchall()
                give_to_owner_of(path, part)
                put_in_place(part, path)
    except (apsw.Error, OSError) as error:
        reason = described(error) if isinstance(error, apsw.Error) else error.strerror
        raise StoreError(f"{path} could not be written anew: {reason}; it is as it was") from error


def take_alone(connection: apsw.Connection, path: Path) -> None:
    """Have the log folded back and removed, and keep all others out until the connection is closed.

    A file must not be replaced while anybody has its log's memory open: that would be taken for the new file's.

    Raises:
        StoreRefused: somebody has the file open, in whatever way and by whatever name.
    """
    connection.pragma("locking_mode", "exclusive")
    try:
        if connection.pragma("journal_mode", "delete") != "delete":
            raise apsw.BusyError
        connection.execute("BEGIN EXCLUSIVE; COMMIT").fetchall()
    except (apsw.BusyError, apsw.LockedError):
        raise StoreRefused(
            f"{path} is in use by another process, such as a relay or an export: end it, or wait for it"
        ) from None


def _announcement(connection: apsw.Connection, path: Path) -> str:
    needed = bytes_of_copy(connection)
    check_room(path, needed)
    seconds = needed / _BYTES_A_SECOND
    return (
        f"writing {needed / _MEGABYTE:,.0f} of {size_of(path) / _MEGABYTE:,.0f} MB anew, which takes"
        f" {seconds:,.0f} seconds at {_BYTES_A_SECOND / _MEGABYTE:.0f} MB a second"
    )
