"""Upgrades older files when a store is opened. Blocks.

Older tables are read and written again in one transaction. Words are not made here but beside the running relay
(`words`): that takes the longest, and a relay can do without for a while.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import apsw
import structlog

from trio_relay.nostr.access import PRIVATE_KINDS
from trio_relay.nostr.tokenizer import RULES
from trio_relay.store.sqlite import schema
from trio_relay.store.sqlite.batch_writer import insert_events
from trio_relay.store.sqlite.rows import (
    DELETE_TAGS,
    INSERT_EXPIRIES,
    INSERT_TAGS,
    SET_SKETCHES,
    SKETCHED_LETTERS,
    expiry_records,
    read_page,
    records_of,
    run,
    sketch_records,
    tag_records,
    unsealed_records,
)
from trio_relay.store.sqlite.transaction import transaction

log = structlog.get_logger("trio_relay.store")

EVENTS_AT_A_TIME: Final = 1_000
EVENTS_BETWEEN_NEWS: Final = 100_000


def upgrade(connection: apsw.Connection, path: str) -> None:
    """Upgrade the tables of a store to this version, if they are older. Blocks: a minute for a million events.

    Everything that has changed since version 1 follows from the events themselves, so only their JSON is read. Version
    3 added the index of words, which starts empty here. Version 4 added sketches of tags, and the table of expiring
    events. Version 5 has other words, and notes by which rules they were made and which numbers were given.
    Version 6 has other keys for the tags of private kinds. Version 7 added the archive, which starts empty.

    Raises:
        apsw.Error: the database could not be read or written; it is as it was.
    """
    version = int(connection.pragma("user_version"))
    if version == schema.VERSION:
        return
    log.info("bringing the store to a newer version", path=path, version=version, newer=schema.VERSION)
    with transaction(connection):
        if version < 4:
            connection.execute(schema.LATER_TABLES).fetchall()
        if version == 1:
            _write_anew(connection)
        elif version < 4:
            _complete(connection)
        if version < 5:
            connection.execute(schema.WORD_TABLES if version < 3 else "DROP TABLE worded").fetchall()
            connection.execute(schema.WORDED_TABLE + schema.NUMBERING_TABLE).fetchall()
            connection.execute("INSERT INTO worded VALUES (0, ?)", (RULES,)).fetchall()
        if 1 < version < 6:
            _seal(connection)
        connection.execute(schema.ARCHIVE_TABLES).fetchall()
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


def _seal(connection: apsw.Connection) -> None:
    """Give the tags of private kinds the keys that they have since version 6."""
    last = 0
    while numbered := read_page(connection, _PRIVATE, last, EVENTS_AT_A_TIME):
        run(connection, DELETE_TAGS, records_of(unsealed_records, numbered))
        run(connection, INSERT_TAGS, sorted(records_of(tag_records, numbered)))
        last = numbered[-1][0]


_INDEXES: Final = "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'older' AND sql IS NOT NULL"
_OLDER: Final = "SELECT seq, json FROM older WHERE seq > ? ORDER BY seq LIMIT ?"
_CONCERNED: Final = f"""
SELECT seq, json FROM event
WHERE seq > ? AND (kind IN ({", ".join(map(str, SKETCHED_LETTERS))}) OR json LIKE '%"expiration"%')
ORDER BY seq LIMIT ?
"""  # noqa: S608  # all of it is our own text
_PRIVATE: Final = f"""
SELECT seq, json FROM event
WHERE seq > ? AND kind IN ({", ".join(map(str, sorted(PRIVATE_KINDS)))}) ORDER BY seq LIMIT ?
"""  # noqa: S608  # all of it is our own text
