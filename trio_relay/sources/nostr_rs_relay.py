"""The SQLite file of nostr-rs-relay, read as it is: each row has an event's JSON, in the order in which they came.

Every version of its schema, 1 to 18, has a table `event` with the columns `id` and `content`; `hidden` came with 2.
A row is hidden when its author has deleted the event or, before 15, replaced it; no client sees it any more, so it is
left out. What has expired is given: whoever takes it in knows the time.

The file is never written to, and no file is made beside it, since the relay itself could not open files of another
user; but for the `-shm` of a log that has lost its own, without which SQLite cannot read that. A relay that is running
may go on: rows are read a few at a time, so that its log can be folded back in between.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from trio_relay.sources.lines import DEFAULT_BOUNDS, Line, LineBounds, line_of
from trio_relay.sources.packed import BrokenFile

MAGIC: Final = b"SQLite format 3\x00"
"""The first bytes of every SQLite file."""
HIDDEN: Final = "deleted or replaced there"

_ROWS: Final = 500
"""Rows that are read in one transaction, which keeps the relay's log from being folded back."""


def read_database(
    path: Path,
    left_out: Counter[str],
    progress: Callable[[int], None] = lambda _bytes: None,
    bounds: LineBounds = DEFAULT_BOUNDS,
) -> Generator[Line, None, None]:
    """Read the events of a file, in the memory of one.

    Args:
        path: the file that nostr-rs-relay calls `nostr.db`, with its `-wal` and `-shm` beside it if it has some.
        left_out: counts the rows that are not given, by why.
        progress: called with the part of the file's bytes that was read, as far as the rows' numbers tell.
        bounds: of a row that is longer or holds more, only the fault is given.

    Returns:
        A line for each row that is not hidden; its number is the row's, so it grows, and a row keeps it.

    Raises:
        BrokenFile: from a step, if this is no such file, or it cannot be read to its end.
    """
    number = 0
    path = Path(os.path.realpath(path))  # its log lies beside the file, not beside a link to it
    try:
        is_left, as_found = not _has_log(path), _traces(path)
        with closing(_opened(path, is_left)) as database:
            hidden = _hidden_column(database)
            (last,) = database.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()
            bytes_a_row = path.stat().st_size / max(last, 1)
            is_more = True
            while is_more:
                start, is_more = number, False
                rows = database.execute(_PAGE.format(hidden), (number, _ROWS))
                for number, content, is_hidden in rows:
                    is_more = True
                    if is_hidden:
                        left_out[HIDDEN] += 1
                    else:
                        yield line_of(number, content, bounds)
                progress(int(number * bytes_a_row) - int(start * bytes_a_row))
                if is_left and _traces(path) != as_found:
                    raise BrokenFile(f"after row {number}: a relay has opened the file meanwhile; begin again")
    except (sqlite3.Error, OSError) as error:
        raise BrokenFile(f"after row {number}: {error}" if number else f"cannot read the database: {error}") from error


_PAGE: Final = "SELECT id, coalesce(content, ''), {} FROM event WHERE id > ? ORDER BY id LIMIT ?"


def _has_log(path: Path) -> bool:
    """True while a process has the file open, or after one that did was killed."""
    log = Path(f"{path}-wal")
    return log.exists() and log.stat().st_size > 0


def _traces(path: Path) -> tuple[int, int, bool]:
    """What does not stay as it was when somebody writes to a file."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size, _has_log(path)


def _opened(path: Path, is_left: bool) -> sqlite3.Connection:
    """Open a file; one that nobody else has open without locks, for which files would be made beside it."""
    mode = "immutable=1" if is_left else "mode=ro"
    # The steps of one iterator run in whichever thread has time, one after the other.
    database = sqlite3.connect(f"file:{quote(os.fsencode(path))}?{mode}", uri=True, check_same_thread=False)
    database.text_factory = bytes
    return database


def _hidden_column(database: sqlite3.Connection) -> str:
    """Return what says whether a row is hidden.

    Raises:
        BrokenFile: if these are not the tables of nostr-rs-relay.
    """
    columns = {name.decode() for (name,) in database.execute("SELECT name FROM pragma_table_info('event')")}
    if not {"id", "event_hash", "content"} <= columns:
        raise BrokenFile("the file is an SQLite database, but not one of nostr-rs-relay; export its events as lines")
    return "hidden" if "hidden" in columns else "NULL"
