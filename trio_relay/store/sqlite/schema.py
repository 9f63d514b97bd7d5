"""Schema: the tables, their version, and how a connection is set up."""

from __future__ import annotations

from typing import Final

import apsw

from trio_relay.nostr.tokenizer import RULES
from trio_relay.store.base import StoreRefused

VERSION: Final = 5
_APPLICATION_ID: Final = 0x7472656C  # "trel"

# `created_at DESC, rank` ends every index, so that each answers in NIP-01's order from the index alone and rows are
# fetched last. `rank` is the start of the id as a number (`rows.rank_of`): a quarter of its size, the same order.
# An index that is not in the order of arrival costs a commit one page for each event, so there are few of them: events
# of an author are found by author and kind, and tags under keys of 16 bytes (`rows.tag_key`).
EVENT_TABLES: Final = """
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    rank INTEGER NOT NULL,
    pubkey BLOB NOT NULL,
    kind INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    address BLOB,
    json TEXT NOT NULL
) STRICT;
CREATE INDEX event_rank ON event (rank);
CREATE UNIQUE INDEX event_address ON event (address) WHERE address IS NOT NULL;
CREATE INDEX event_time ON event (created_at DESC, rank);
CREATE INDEX event_kind ON event (kind, created_at DESC, rank);
CREATE INDEX event_author_kind ON event (pubkey, kind, created_at DESC, rank);

CREATE TABLE tag (
    key BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind INTEGER NOT NULL, sketch INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (key, created_at DESC, rank, seq)
) STRICT, WITHOUT ROWID;
"""
# The column that version 4 added, in the form in which SQLite itself writes it into the text above.
SKETCH_COLUMN: Final = "ALTER TABLE tag ADD COLUMN sketch INTEGER NOT NULL DEFAULT 0"
LATER_TABLES: Final = """
-- Of the events that expire (NIP-40).
CREATE TABLE expiry (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX expiry_at ON expiry (at);

-- Requests to vanish that are still being carried out (`vanishing`), as their JSON.
CREATE TABLE vanishing (
    id TEXT PRIMARY KEY NOT NULL,
    json TEXT NOT NULL
) STRICT;

CREATE TABLE kept (
    name TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) STRICT;
"""
# The words of `rows.word_records`, separated by spaces, are kept as they are by the tokenizer `ascii`, to which every
# character outside of ASCII belongs to a word. Only FTS5's index is kept, not the texts.
WORD_TABLES: Final = """
CREATE VIRTUAL TABLE word USING fts5 (text, content = '', contentless_delete = 1, tokenize = 'ascii');

"""
WORDED_TABLE: Final = """
-- One row: the words of all events are kept if `until` is NULL, else those of events up to this number; and the rules
-- by which they were made (`tokenizer.RULES`).
CREATE TABLE worded (until INTEGER, rules TEXT NOT NULL) STRICT;
"""
NUMBERING_TABLE: Final = """
-- One row: the highest number that a removed event had while it was the highest of all. No number is given twice.
CREATE TABLE numbering (last INTEGER NOT NULL) STRICT;
INSERT INTO numbering
SELECT coalesce(max(id), 0) FROM word_docsize WHERE id > (SELECT coalesce(max(seq), 0) FROM event);
"""
"""Older makes may have left words of removed events: FTS5's own table has the numbers of all rows."""
_OTHER_TABLES: Final = """
-- A target is an id or the hash of an address, each 32 bytes of SHA-256, or the pubkey itself, which then has vanished
-- (`rows.vanish_tombstone`). `until` is 0 for ids.
CREATE TABLE tombstone (
    target BLOB NOT NULL,
    pubkey BLOB NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (target, pubkey)
) STRICT, WITHOUT ROWID;

CREATE TABLE probe (filling BLOB NOT NULL) STRICT;
"""


def prepare(connection: apsw.Connection, path: str) -> None:
    """Make the tables in a new file, or check that those of an old one can be used, perhaps after an upgrade.

    Raises:
        StoreRefused: the file is of a newer version, or no store of a relay.
    """
    # A new file may have a page: setting the log mode writes one, and the process may end right after that.
    if connection.pragma("application_id") == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").get == 0:
        connection.pragma("journal_mode", "wal")
        with connection:
            connection.execute(EVENT_TABLES + LATER_TABLES + WORD_TABLES + WORDED_TABLE).fetchall()
            connection.execute(NUMBERING_TABLE + _OTHER_TABLES).fetchall()
            connection.execute("INSERT INTO worded VALUES (NULL, ?)", (RULES,)).fetchall()
            connection.pragma("application_id", _APPLICATION_ID)
            connection.pragma("user_version", VERSION)
    else:
        check(connection, path)


def check(connection: apsw.Connection, path: str, *, is_read_only: bool = False) -> None:
    """Check that the tables of this file can be used.

    Raises:
        StoreRefused: the file is of a newer version, or no store of a relay.
    """
    if connection.pragma("application_id") != _APPLICATION_ID:
        raise StoreRefused(f"{path} is a database, but not one of trio-relay")
    version = int(connection.pragma("user_version"))
    if version < VERSION and is_read_only:
        raise StoreRefused(
            f"{path} has schema version {version}: start the relay on it once, which brings it to {VERSION}"
        )
    if version > VERSION:
        raise StoreRefused(
            f"{path} has schema version {version}, this trio-relay knows versions up to {VERSION}:"
            " start the newer trio-relay that wrote it"
        )


def tune(connection: apsw.Connection, *, cache_bytes: int) -> None:
    """Set up a connection: no checkpoint inside a commit, waiting instead of failing, a cache in bytes."""
    connection.set_busy_timeout(5_000)
    connection.pragma("wal_autocheckpoint", 0)
    connection.pragma("cache_size", -(cache_bytes // 1024))
    connection.pragma("temp_store", "memory")
    # Else SQLite, built with STAT4, prepares a statement again for other bound values: half of a small query.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
