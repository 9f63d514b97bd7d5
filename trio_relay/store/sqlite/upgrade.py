"""Older files, brought to this version when a store is opened, and an index of words that is completed. Blocks.

Older tables are read out and written anew in one transaction. Without search, events come without their words: the file
remembers up to which number of an event they are kept, so that no more than the rest has to be read when search is
switched on, or after the upgrade of a file without an index.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import apsw
import structlog

from trio_relay.store.sqlite import schema
from trio_relay.store.sqlite.batch_writer import insert_events, insert_words, last_seq
from trio_relay.store.sqlite.rows import (
    INSERT_EXPIRIES,
    SET_SKETCHES,
    SKETCHED_LETTERS,
    expiry_records,
    read_page,
    records_of,
    run,
    sketch_records,
)

log = structlog.get_logger("trio_relay.store")

EVENTS_AT_A_TIME: Final = 1_000
_PAGES_BETWEEN_CHECKPOINTS: Final = 4_000
EVENTS_BETWEEN_NEWS: Final = 100_000


def upgrade(connection: apsw.Connection, path: str) -> None:
    """Bring the tables of a store to this version; does nothing to one that has it. Blocks: a minute a million events.

    Only what can be told from the events themselves has changed since version 1, so their JSON is all that is read.
    Version 3 added the index of words, which starts empty here: `prepare_words` completes it. Version 4 added
    sketches of who carries which tag, and what expires when.

    Raises:
        apsw.Error: the database could not be read or written; it is as it was.
    """
    version = int(connection.pragma("user_version"))
    if version == schema.VERSION:
        return
    log.info("bringing the store to a newer version", path=path, version=version, newer=schema.VERSION)
    with connection:
        connection.execute(schema.LATER_TABLES).fetchall()
        if version == 1:
            _write_anew(connection)
        else:
            _complete(connection)
        if version < 3:
            connection.execute(schema.WORD_TABLES).fetchall()
            connection.execute("INSERT INTO worded VALUES (0)").fetchall()
        connection.pragma("user_version", schema.VERSION)
    # The log holds all of it now; the first events are not to wait until it has been folded back. Where that fails, as
    # while somebody still reads with the older make, nothing is lost: a later checkpoint does it.
    with suppress(apsw.Error):
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


def _write_anew(connection: apsw.Connection) -> None:
    """Out of the tables of version 1."""
    connection.execute("ALTER TABLE event RENAME TO older; DROP TABLE tag").fetchall()
    for (index,) in connection.execute(_INDEXES).fetchall():
        connection.execute(f'DROP INDEX "{index}"').fetchall()
    connection.execute(schema.EVENT_TABLES).fetchall()
    last = 0
    while numbered := read_page(connection, _OLDER, last, EVENTS_AT_A_TIME):
        insert_events(connection, numbered)
        last = numbered[-1][0]
    connection.execute("DROP TABLE older").fetchall()


def _complete(connection: apsw.Connection) -> None:
    """Add what version 4 knows of the events that were there before."""
    connection.execute(schema.SKETCH_COLUMN).fetchall()
    last = reported = 0
    while numbered := read_page(connection, _CONCERNED, last, EVENTS_AT_A_TIME):
        # In the order of the keys, so that rows of one page come one after another.
        run(connection, SET_SKETCHES, sorted(records_of(sketch_records, numbered)))
        run(connection, INSERT_EXPIRIES, records_of(expiry_records, numbered))
        last = numbered[-1][0]
        if last - reported >= EVENTS_BETWEEN_NEWS:
            log.info("still bringing the store to a newer version", events=last)
            reported = last


_INDEXES: Final = "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'older' AND sql IS NOT NULL"
_OLDER: Final = "SELECT seq, json FROM older WHERE seq > ? ORDER BY seq LIMIT ?"
_CONCERNED: Final = f"""
SELECT seq, json FROM event
WHERE seq > ? AND (kind IN ({", ".join(map(str, SKETCHED_LETTERS))}) OR json LIKE '%"expiration"%')
ORDER BY seq LIMIT ?
"""  # noqa: S608  # all of it is our own text


def is_worded(connection: apsw.Connection) -> bool:
    """True if the words of all events are kept."""
    return connection.execute("SELECT until FROM worded").get is None


def prepare_words(connection: apsw.Connection, path: str, *, search: bool) -> None:
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
        _index_words(connection, path, until)
        connection.pragma("wal_autocheckpoint", 0)
        # The first events are not to wait until the log is folded back; where that fails, a later checkpoint does it.
        with suppress(apsw.Error):
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


def _index_words(connection: apsw.Connection, path: str, until: int) -> None:
    if missing := connection.execute("SELECT count(*) FROM event WHERE seq > ?", (until,)).get:
        log.info("making the index of words", path=path, events=missing)
    while numbered := read_page(connection, _NEXT, until, EVENTS_AT_A_TIME):
        until = numbered[-1][0]
        with connection:
            insert_words(connection, numbered)
            _note(connection, until)
    _note(connection, None)


def _note(connection: apsw.Connection, until: int | None) -> None:
    connection.execute("UPDATE worded SET until = ?", (until,)).fetchall()


_NEXT: Final = "SELECT seq, json FROM event WHERE seq > ? ORDER BY seq LIMIT ?"
