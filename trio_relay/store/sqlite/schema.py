"""Schema: the tables, their version, and how a connection is set up."""

from __future__ import annotations

from typing import Final

import apsw
import structlog

from trio_relay.nostr.tokenizer import RULES
from trio_relay.store.base import StoreRefused
from trio_relay.store.sqlite.transaction import described, transaction

log = structlog.get_logger("trio_relay.store")

VERSION: Final = 7
INCREMENTAL: Final = 2
"""Of `PRAGMA auto_vacuum`: free pages can be given back while the file is used (decision 46)."""
_APPLICATION_ID: Final = 0x7472656C  # "trel"
BUSY_MS: Final = 5_000
"""How long a connection waits for another one that holds the file."""

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
ARCHIVE_TABLES: Final = """
-- Events that have gone, in the order in which they went; `cause` is the id of the event that made each go.
CREATE TABLE archive (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    kind INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    at INTEGER NOT NULL,
    reason INTEGER NOT NULL,
    cause BLOB,
    json TEXT NOT NULL
) STRICT;
-- By whose requests to vanish each goes (`event.claimants`).
CREATE TABLE archive_owner (
    owner BLOB NOT NULL,
    number INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (owner, number)
) STRICT, WITHOUT ROWID;
"""
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

    A copy that was made by `VACUUM INTO` is not in the log's mode (WAL), so that is set at every start.

    Raises:
        StoreRefused: the file is of a newer version, no store of a relay, or cannot be written in the log's mode.
    """
    # A new file may have a page: setting the log mode writes one, and the process may end right after that.
    if connection.pragma("application_id") == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").get == 0:
        connection.pragma("auto_vacuum", INCREMENTAL)  # before anything is written
        _use_log(connection, path)
        with transaction(connection):
            connection.execute(EVENT_TABLES + LATER_TABLES + WORD_TABLES + WORDED_TABLE).fetchall()
            connection.execute(NUMBERING_TABLE + ARCHIVE_TABLES + _OTHER_TABLES).fetchall()
            connection.execute("INSERT INTO worded VALUES (NULL, ?)", (RULES,)).fetchall()
            connection.pragma("application_id", _APPLICATION_ID)
            connection.pragma("user_version", VERSION)
    else:
        check(connection, path)
        _use_log(connection, path)


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
    if (encoding := connection.pragma("encoding")) != "UTF-8":
        raise StoreRefused(f"{path} keeps text as {encoding}, not as UTF-8: SQLite cannot change that in a file")


def _use_log(connection: apsw.Connection, path: str) -> None:
    """Make sure that the file is written in the log's mode, in which readers and the writer do not wait for each other.

    Raises:
        StoreRefused: it cannot be.
    """
    if connection.readonly("main"):
        raise StoreRefused(f"{path} is read-only: the relay's user must be allowed to write it")
    before = connection.pragma("journal_mode")
    try:
        mode = connection.pragma("journal_mode", "wal")
        connection.pragma("user_version")  # the first read opens the log
    except apsw.Error as error:
        raise no_log(path, described(error)) from error
    if mode not in _LOGGED:
        raise no_log(path, f"it stays in mode {mode}")
    if before != mode and connection.pragma("application_id"):
        log.info("the store is in WAL mode again", path=path, before=before)


def no_log(path: str, reason: str) -> StoreRefused:
    """Return the refusal of a file that cannot be read and written in the log's mode, for this reason."""
    return StoreRefused(
        f"{path} cannot be used in SQLite's WAL mode: {reason}. No other program may have the file open, the relay's"
        " user must be allowed to write its folder, and the folder must not be on a file system of the network, which"
        " has no memory that processes share"
    )


_LOGGED: Final = frozenset({"wal", "memory"})
"""What is kept in memory alone has no log."""


def tune(connection: apsw.Connection, *, cache_bytes: int) -> None:
    """Set up a connection: no checkpoint inside a commit, waiting instead of failing, a cache in bytes."""
    connection.set_busy_timeout(BUSY_MS)
    connection.pragma("wal_autocheckpoint", 0)
    connection.pragma("cache_size", -(cache_bytes // 1024))
    connection.pragma("temp_store", "memory")
    # Else SQLite, built with STAT4, prepares a statement again for other bound values: half of a small query.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
