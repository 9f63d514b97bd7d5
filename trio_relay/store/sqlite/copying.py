"""A whole copy of the file, of one moment, while a relay writes into it; and what of it stays here.

`VACUUM INTO` reads one snapshot, which no commit disturbs, and writes a file that has no room left in it: neither free
pages nor remains of what was there before, so nothing that is taken out of the copy is left in its gaps. It costs
little more than SQLite's backup API, which copies pages as they are (decision 47).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from trio_relay.store.base import StoreError, StoreRefused
from trio_relay.store.sqlite import schema
from trio_relay.store.sqlite.read_pool import store_error
from trio_relay.store.sqlite.tally import bytes_of_copy, check_room
from trio_relay.store.sqlite.transaction import described, transaction

_CACHE_BYTES: Final = 4_194_304
STEPS: Final = 100_000
"""Of SQLite's virtual machine between two pauses: some ten milliseconds of copying. Each pause waits for the GIL, which
a busy relay has most of the time."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy holds: the version of its tables, how many events, and how many bytes it has."""

    schema: int
    events: int
    size: int


def copy_file(source: Path, target: Path, left_out: Collection[str], pause: Callable[[], None]) -> Copied:
    """Copy the store in a file into another one, and look whether the copy is whole; blocks.

    Args:
        source: of a relay, which may run; nothing is written there. Its log cannot begin anew before the copy is made.
        target: an empty file. If this fails, what is in it is of no use.
        left_out: names of the relay's own values that the copy does not get, in none of its bytes.
        pause: called every few milliseconds of work. It may wait, and raise what then ends all of this.

    Raises:
        StoreRefused: there is no store of a relay, or one of a newer version.
        StoreError: it could not be read or written, or the copy is damaged as the source is.
    """
    if not source.is_file():
        raise StoreRefused(f"{source} does not exist")
    try:
        _copy(source, target, pause)
        with closing(_opened(target, apsw.SQLITE_OPEN_READWRITE, pause)) as copy:
            _take_out(copy, left_out)
            return _checked(copy, target)
    except apsw.FullError as error:
        raise store_error(error) from error
    except apsw.Error as error:
        raise StoreError(f"{source} cannot be copied: {described(error)}") from error


def _copy(source: Path, target: Path, pause: Callable[[], None]) -> None:
    with closing(_opened(source, apsw.SQLITE_OPEN_READONLY, pause)) as connection:
        schema.check(connection, str(source))
        check_room(target, bytes_of_copy(connection))
        connection.execute("VACUUM INTO ?", (str(target.absolute()),)).fetchall()


def _opened(path: Path, flags: int, pause: Callable[[], None]) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=flags)
    schema.tune(connection, cache_bytes=_CACHE_BYTES)
    # The copy is put on the disk by whoever wants it there; what is removed from it is not kept in a journal either.
    connection.pragma("synchronous", "off")
    connection.pragma("secure_delete", "on")  # the target of VACUUM INTO has it from its source

    def give_way() -> bool:
        pause()
        return False

    connection.set_progress_handler(give_way, STEPS)
    return connection


def _take_out(copy: apsw.Connection, names: Collection[str]) -> None:
    copy.pragma("journal_mode", "memory")
    with transaction(copy):
        copy.executemany("DELETE FROM kept WHERE name = ?", [(name,) for name in names]).fetchall()


def _checked(copy: apsw.Connection, path: Path) -> Copied:
    """Return what a copy holds.

    Raises:
        StoreError: it is damaged.
    """
    if (found := copy.execute("PRAGMA quick_check(1)").get) != "ok":
        raise StoreError(f"the store is damaged: {found}")
    events = int(copy.execute("SELECT count(*) FROM event").get)
    return Copied(int(copy.pragma("user_version")), events, path.stat().st_size)
