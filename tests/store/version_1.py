"""A file as trio-relay wrote it with version 1 of its schema, made here from SQL alone."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Final

import apsw

from trio_relay.nostr.event import Event, address_of, encode, is_hex64, single_letter_tags

_TABLES: Final = """
PRAGMA journal_mode = wal;
BEGIN;
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
CREATE TABLE tombstone (
    target BLOB NOT NULL,
    pubkey BLOB NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (target, pubkey)
) STRICT, WITHOUT ROWID;
CREATE TABLE probe (filling BLOB NOT NULL) STRICT;
PRAGMA application_id = 1953654124;
PRAGMA user_version = 1;
COMMIT;
"""


def write(path: Path, events: Iterable[tuple[int, Event]], tombstones: Iterable[tuple[bytes, str, int]] = ()) -> None:
    """Make the file of these numbered events, which stand all, and of (target, pubkey, until)."""
    connection = apsw.Connection(str(path))
    connection.execute(_TABLES).fetchall()
    with connection:
        for seq, event in events:
            event_id, pubkey = bytes.fromhex(event.id), bytes.fromhex(event.pubkey)
            address = address_of(event)
            key = None if address is None else hashed(address)
            connection.execute(
                "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)",
                (seq, event_id, pubkey, event.kind, event.created_at, key, encode(event).decode()),
            )
            connection.executemany(
                "INSERT INTO tag VALUES (?, ?, ?, ?, ?)",
                [
                    (key, event.created_at, event_id, seq, event.kind)
                    for key in {_tag_key(letter, value) for letter, value in single_letter_tags(event)}
                ],
            )
        connection.executemany(
            "INSERT INTO tombstone VALUES (?, ?, ?)",
            [(target, bytes.fromhex(pubkey), until) for target, pubkey, until in tombstones],
        )
    connection.close()


def dump(path: Path) -> list[tuple[object, ...]]:
    """All that a file holds: its version, its schema, and every row of every table."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    rows: list[tuple[object, ...]] = [(connection.pragma("user_version"),)]
    schema = connection.execute("SELECT name, type, sql FROM sqlite_schema ORDER BY name").fetchall()
    rows += schema
    for name in [name for name, kind, _ in schema if kind == "table"]:
        rows += connection.execute(f'SELECT * FROM "{name}"').fetchall()
    connection.close()
    return rows


def hashed(text: str) -> bytes:
    """What stands for an address."""
    return sha256(text.encode()).digest()


def _tag_key(letter: str, value: str) -> bytes:
    if is_hex64(value):
        return bytes((ord(letter) | 0x80,)) + bytes.fromhex(value)
    raw = value.encode()
    return letter.encode() + raw if len(raw) <= 64 else b"\0" + letter.encode() + sha256(raw).digest()
