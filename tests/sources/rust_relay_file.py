"""A file as nostr-rs-relay 0.9 leaves it, schema 18: as much of it as its events are kept by."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from trio_relay import Event

APPLICATION_ID = 1_654_008_667
COLUMNS = {
    "id": "INTEGER PRIMARY KEY",
    "event_hash": "BLOB NOT NULL",
    "first_seen": "INTEGER NOT NULL",
    "created_at": "INTEGER NOT NULL",
    "expires_at": "INTEGER",
    "author": "BLOB NOT NULL",
    "delegated_by": "BLOB",
    "kind": "INTEGER NOT NULL",
    "hidden": "INTEGER",
    "content": "TEXT NOT NULL",
}
SINCE = {"hidden": 2, "delegated_by": 7, "expires_at": 17}
"""The version of the schema with which a column came."""


@contextmanager
def made_file(path: Path, version: int = 18) -> Iterator[sqlite3.Connection]:
    """Make a file of this version, and give what writes to it, as the running relay would hold it."""
    database = sqlite3.connect(path, isolation_level=None)
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items() if SINCE.get(name, 1) <= version)
    database.executescript(
        f"PRAGMA journal_mode = WAL; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version};"
        f"CREATE TABLE event ({columns});"
        "CREATE UNIQUE INDEX event_hash_index ON event(event_hash);"
        "CREATE INDEX created_at_index ON event(created_at);"
    )
    try:
        yield database
    finally:
        database.close()


def add(database: sqlite3.Connection, events: Iterable[Event], *, hidden: bool | None = False) -> None:
    """Add a row for each event, as the relay does when it takes one in."""
    for event in events:
        row = (bytes.fromhex(event.id), event.created_at, event.created_at, bytes.fromhex(event.pubkey), event.kind)
        database.execute(
            "INSERT INTO event (event_hash, first_seen, created_at, author, kind, content) VALUES (?, ?, ?, ?, ?, ?)",
            (*row, msgspec.json.encode(event).decode()),
        )
        if hidden:
            database.execute("UPDATE event SET hidden = TRUE WHERE id = last_insert_rowid()")
