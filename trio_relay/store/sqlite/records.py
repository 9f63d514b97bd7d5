"""Events as the packed records that SQLite takes in whole batches.

`executemany` gives up the GIL at each row and waits up to a switch interval to get it back. A batch is bound as one
array of bytes instead (`apsw.carray`), from which one INSERT … SELECT cuts its columns without the GIL: 36 µs an event
with all indexes and tags, beside 45 for the same batch as JSON (`perf/batches.py`).
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from trio_relay.nostr.event import Event, address_of, encode, is_hex64, single_letter_tags

_NO_ADDRESS: Final = bytes(32)

# Columns of fixed width, so that SQL can cut them: substr counts from 1.
INSERT_EVENTS: Final = """
INSERT INTO event (id, pubkey, address, seq, kind, created_at, json)
SELECT substr(value, 1, 32), substr(value, 33, 32), nullif(substr(value, 65, 32), zeroblob(32)),
       CAST(substr(value, 97, 16) AS INTEGER), CAST(substr(value, 113, 5) AS INTEGER),
       CAST(substr(value, 118, 10) AS INTEGER), CAST(substr(value, 128) AS TEXT)
FROM carray(?1)
"""


def event_record(event: Event, seq: int) -> bytes:
    """One row of `event`: id, pubkey and address of 32 bytes; seq, kind, created_at in 16, 5, 10 digits; the JSON."""
    address = address_of(event)
    return b"%b%b%016d%05d%010d%b" % (
        bytes.fromhex(event.id + event.pubkey),
        _NO_ADDRESS if address is None else address_key(address),
        seq,
        event.kind,
        event.created_at,
        encode(event),
    )


INSERT_TAGS: Final = """
INSERT INTO tag (id, seq, kind, created_at, key)
SELECT substr(value, 1, 32), CAST(substr(value, 33, 16) AS INTEGER), CAST(substr(value, 49, 5) AS INTEGER),
       CAST(substr(value, 54, 10) AS INTEGER), substr(value, 64)
FROM carray(?1)
"""


def tag_records(event: Event, seq: int) -> list[bytes]:
    """The rows of `tag` for one event: id, seq, kind and created_at as above, then the key; one for each key."""
    head = b"%b%016d%05d%010d" % (bytes.fromhex(event.id), seq, event.kind, event.created_at)
    return [head + key for key in tag_keys(event)]


DELETE_TAGS: Final = """
DELETE FROM tag WHERE (key, created_at, id) IN (
    SELECT substr(value, 43), CAST(substr(value, 33, 10) AS INTEGER), substr(value, 1, 32) FROM carray(?1)
)
"""


def untag_records(event: Event) -> list[bytes]:
    """What DELETE_TAGS needs to find an event's rows: id, created_at in 10 digits, key."""
    head = b"%b%010d" % (bytes.fromhex(event.id), event.created_at)
    return [head + key for key in tag_keys(event)]


INSERT_TOMBSTONES: Final = """
INSERT INTO tombstone (target, pubkey, until)
SELECT substr(value, 1, 32), substr(value, 33, 32), CAST(substr(value, 65) AS INTEGER) FROM carray(?1) WHERE true
ON CONFLICT (target, pubkey) DO UPDATE SET until = max(until, excluded.until)
"""


def id_tombstone(event_id: str, pubkey: str) -> bytes:
    """The row that says: this author has asked to delete this id."""
    return bytes.fromhex(event_id + pubkey) + b"0"


def address_tombstone(address: str, until: int) -> bytes:
    """The row that says: the author of this address has asked to delete its versions up to `until`."""
    return address_key(address) + bytes.fromhex(address.split(":")[1]) + b"%d" % until


def address_key(address: str) -> bytes:
    """32 bytes for an address of any length, so that no index holds a long `d`."""
    return sha256(address.encode()).digest()


def tag_keys(event: Event) -> set[bytes]:
    """The keys under which an event can be found by `#x` filters; a set, since two long values may share one."""
    return {tag_key(letter, value) for letter, value in single_letter_tags(event)}


def tag_key(letter: str, value: str) -> bytes:
    """A short, unambiguous key for one letter and value; its first byte tells which of three forms it has.

    Ids and keys, nearly all of the values, become 32 bytes instead of 64; what is longer than 64 bytes is hashed, so
    that a tag of a megabyte costs an index no more than others.
    """
    code = letter.encode()
    if is_hex64(value):
        return bytes((code[0] | 0x80,)) + bytes.fromhex(value)
    raw = value.encode()
    return code + raw if len(raw) <= 64 else b"\0" + code + sha256(raw).digest()
