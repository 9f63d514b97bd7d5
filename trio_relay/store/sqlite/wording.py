"""The index of words of a file: kept while the relay has search, and completed when it has it again. Blocks.

Without search, events come without their words. The file remembers up to which number of an event they are kept, so
that no more than the rest has to be read when search is switched on, or after the upgrade of a file without an index.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import apsw
import structlog

from trio_relay.store.sqlite.batch_writer import insert_words, last_seq
from trio_relay.store.sqlite.batched import read_page

log = structlog.get_logger("trio_relay.store")

_EVENTS_AT_A_TIME: Final = 1_000
_PAGES_BETWEEN_CHECKPOINTS: Final = 4_000


def is_worded(connection: apsw.Connection) -> bool:
    """True if the words of all events are kept."""
    return connection.execute("SELECT until FROM worded").get is None


def prepare(connection: apsw.Connection, path: str, *, search: bool) -> None:
    """Complete the index of words, or note that what comes from now on is missing in it; has to come before any write.

    A minute or so for a million events without words. It goes on where it was when the process ended in between.

    Raises:
        apsw.Error: the database could not be read or written.
    """
    until = connection.execute("SELECT until FROM worded").get
    if not search and until is None:
        _note(connection, last_seq(connection))
    elif search and until is not None:
        connection.pragma("wal_autocheckpoint", _PAGES_BETWEEN_CHECKPOINTS)
        _complete(connection, path, until)
        connection.pragma("wal_autocheckpoint", 0)
        # The first events are not to wait until the log is folded back; where that fails, a later checkpoint does it.
        with suppress(apsw.Error):
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


def _complete(connection: apsw.Connection, path: str, until: int) -> None:
    if missing := connection.execute("SELECT count(*) FROM event WHERE seq > ?", (until,)).get:
        log.info("making the index of words", path=path, events=missing)
    while numbered := read_page(connection, _NEXT, until, _EVENTS_AT_A_TIME):
        until = numbered[-1][0]
        with connection:
            insert_words(connection, numbered)
            _note(connection, until)
    _note(connection, None)


def _note(connection: apsw.Connection, until: int | None) -> None:
    connection.execute("UPDATE worded SET until = ?", (until,)).fetchall()


_NEXT: Final = "SELECT seq, json FROM event WHERE seq > ? ORDER BY seq LIMIT ?"
