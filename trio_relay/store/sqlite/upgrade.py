"""Upgrades older files when a store is opened, and completes the index of words. Blocks.

Older tables are read and written again in one transaction. While search is off, events are stored without their words:
the file remembers up to which event number it has words, so that only the rest has to be read when search is switched
on, or after the upgrade of a file without an index.
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
    """Upgrade the tables of a store to this version, if they are older. Blocks: a minute for a million events.

    Everything that has changed since version 1 follows from the events themselves, so only their JSON is read. Version
    3 added the index of words, which starts empty here: `prepare_words` completes it. Version 4 added sketches of tags,
    and the table of expiring events.

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
    # The log holds all of it now; a checkpoint now means that the first events need not wait for one. If it fails, as
    # while an older version still reads, nothing is lost: a later checkpoint does it.
    with suppress(apsw.Error):
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


def _write_anew(connection: apsw.Connection) -> None:
    """Write the tables again from those of version 1."""
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
    """Add what version 4 keeps of the events that were stored before."""
    connection.execute(schema.SKETCH_COLUMN).fetchall()
    last = reported = 0
    while numbered := read_page(connection, _CONCERNED, last, EVENTS_AT_A_TIME):
        # In the order of the keys, so that rows of the same page are written together.
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
    """Return True if the words of all events are in the index."""
    return connection.execute("SELECT until FROM worded").get is None


def prepare_words(connection: apsw.Connection, path: str, *, search: bool) -> None:
    """Complete the index of words, or note that new events will be missing in it; has to come before any write.

    It takes about a minute for a million events, and continues where it was if the process ends in between.

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
        # So that the first events need not wait for a checkpoint; if it fails, a later one does it.
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
