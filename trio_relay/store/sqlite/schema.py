"""The tables, their version, and how a connection is set up."""

from __future__ import annotations

from typing import Final

import apsw

from trio_relay.store.base import StoreRefused

VERSION: Final = 1
_APPLICATION_ID: Final = 0x7472656C  # "trel"

# `created_at DESC, id` ends every index, so that each answers in NIP-01's order from the index alone and rows are
# fetched last. Ids, keys and addresses are 32 bytes each; a tag's key is described in `records.tag_key`.
_TABLES: Final = """
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    pubkey BLOB NOT NULL,
    kind INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    address BLOB,
    json TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX event_id ON event (id);
CREATE UNIQUE INDEX event_address ON event (address) WHERE address IS NOT NULL;
CREATE INDEX event_time ON event (created_at DESC, id);
CREATE INDEX event_kind ON event (kind, created_at DESC, id);
CREATE INDEX event_author ON event (pubkey, created_at DESC, id);
CREATE INDEX event_author_kind ON event (pubkey, kind, created_at DESC, id);

CREATE TABLE tag (
    key BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    PRIMARY KEY (key, created_at DESC, id)
) STRICT, WITHOUT ROWID;

-- A target is an id or the hash of an address, each 32 bytes of SHA-256; `until` matters for addresses only.
CREATE TABLE tombstone (
    target BLOB NOT NULL,
    pubkey BLOB NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (target, pubkey)
) STRICT, WITHOUT ROWID;

CREATE TABLE probe (filling BLOB NOT NULL) STRICT;
"""


def prepare(connection: apsw.Connection, path: str) -> None:
    """Make the tables in a new file, or see that those of an old one can be used.

    Raises:
        StoreRefused: the file is of a newer make, or no store of a relay.
    """
    # Not the size tells a new file: setting the log mode writes a first page, and the process may end right after it.
    if connection.pragma("application_id") == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").get == 0:
        connection.pragma("journal_mode", "wal")
        with connection:
            connection.execute(_TABLES).fetchall()
            connection.pragma("application_id", _APPLICATION_ID)
            connection.pragma("user_version", VERSION)
    else:
        check(connection, path)


def check(connection: apsw.Connection, path: str) -> None:
    """See that the tables of this file can be used.

    Raises:
        StoreRefused: the file is of a newer make, or no store of a relay.
    """
    if connection.pragma("application_id") != _APPLICATION_ID:
        raise StoreRefused(f"{path} is a database, but not one of trio-relay")
    version = int(connection.pragma("user_version"))
    if version > VERSION:
        raise StoreRefused(
            f"{path} has schema version {version}, this trio-relay knows versions up to {VERSION}:"
            " start the newer trio-relay that wrote it"
        )


def tune(connection: apsw.Connection, *, cache_bytes: int) -> None:
    """What every connection needs: no checkpoint inside a commit, waiting instead of failing, a cache in bytes."""
    connection.set_busy_timeout(5_000)
    connection.pragma("wal_autocheckpoint", 0)
    connection.pragma("cache_size", -(cache_bytes // 1024))
    connection.pragma("mmap_size", 2**30)
    connection.pragma("temp_store", "memory")
