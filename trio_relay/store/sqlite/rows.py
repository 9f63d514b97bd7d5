"""Rows of the tables as packed bytes, bound in whole batches, and pages of stored events.

`executemany` gives up the GIL at each row and waits up to a switch interval to get it back. A batch is bound as one
array of bytes instead (`apsw.carray`), from which one INSERT … SELECT cuts its columns without the GIL: 36 µs an event
with all indexes and tags, beside 45 for the same batch as JSON (`perf/batches.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from hashlib import blake2b, sha256
from typing import Any, Final

import apsw

from trio_relay.nostr.access import PRIVATE_KINDS
from trio_relay.nostr.event import Event, address_of, decode, encode, expiry_of, single_letter_tags
from trio_relay.nostr.hyperloglog import CANONICAL, observation, offset_of
from trio_relay.nostr.kinds import is_ephemeral
from trio_relay.nostr.search import marks_of, text_of

_NO_ADDRESS: Final = bytes(32)

# Columns of fixed width, so that SQL can cut them: substr counts from 1.
INSERT_EVENTS: Final = """
INSERT INTO event (id, pubkey, address, rank, seq, kind, created_at, json)
SELECT substr(value, 1, 32), substr(value, 33, 32), nullif(substr(value, 65, 32), zeroblob(32)),
       CAST(substr(value, 97, 19) AS INTEGER), CAST(substr(value, 116, 16) AS INTEGER),
       CAST(substr(value, 132, 5) AS INTEGER), CAST(substr(value, 137, 10) AS INTEGER),
       CAST(substr(value, 147) AS TEXT)
FROM carray(?1)
"""


def event_record(event: Event, seq: int) -> bytes:
    """Pack one row of `event`.

    Id, pubkey and address of 32 bytes each; rank, seq, kind, created_at in 19, 16, 5, 10 digits; the JSON.
    """
    event_id = bytes.fromhex(event.id)
    address = address_of(event)
    return b"%b%b%b%019d%016d%05d%010d%b" % (
        event_id,
        bytes.fromhex(event.pubkey),
        _NO_ADDRESS if address is None else address_key(address),
        rank_of(event_id),
        seq,
        event.kind,
        event.created_at,
        encode(event),
    )


def rank_of(event_id: bytes) -> int:
    """Return the first 63 bits of an id, which order events of one second as the whole id would.

    Two ids that share them do not occur by chance; if somebody makes such a pair, only the order of the two is
    undefined.
    """
    return int.from_bytes(event_id[:8], "big") >> 1


INSERT_TAGS: Final = """
INSERT INTO tag (key, seq, rank, kind, created_at, sketch)
SELECT substr(value, 1, 16), CAST(substr(value, 17, 16) AS INTEGER), CAST(substr(value, 33, 19) AS INTEGER),
       CAST(substr(value, 52, 5) AS INTEGER), CAST(substr(value, 57, 10) AS INTEGER),
       CAST(substr(value, 67) AS INTEGER)
FROM carray(?1)
"""
SET_SKETCHES: Final = f"""
{INSERT_TAGS} WHERE true
ON CONFLICT (key, created_at, rank, seq) DO UPDATE SET sketch = excluded.sketch
"""  # our own text
"""Takes the same records, for rows from before there were sketches."""


def tag_records(event: Event, seq: int) -> list[bytes]:
    """Pack the rows of `tag` for one event.

    A key of 16 bytes; seq, rank, kind, created_at in 16, 19, 5, 10 digits; a sketch.

    Only what a filter of `hyperloglog.CANONICAL` may count has a sketch; it says what the author does to the
    registers for this tag's value. What is private by its kind has keys of its own (`SEALED`).
    """
    tags = single_letter_tags(event)
    if not tags:
        return []
    tail = _tail(event, seq)
    sketched = SKETCHED_LETTERS.get(event.kind)
    if event.kind in PRIVATE_KINDS:
        return [tag_key(SEALED + letter, value) + tail for letter, value in tags]
    if sketched is None:
        return [tag_key(letter, value) + tail for letter, value in tags]
    pubkey = bytes.fromhex(event.pubkey)
    return [
        tag_key(letter, value) + tail + (b"%d" % _sketch(pubkey, value) if letter in sketched else b"")
        for letter, value in tags
    ]


def unsealed_records(event: Event, seq: int) -> list[bytes]:
    """Pack the rows of `tag` of a private kind as versions up to 5 of the schema did: under the keys of all others."""
    return [tag_key(letter, value) + _tail(event, seq) for letter, value in single_letter_tags(event)]


def sketch_records(event: Event, seq: int) -> list[bytes]:
    """Pack those rows of `tag_records` that have a sketch."""
    return [record for record in tag_records(event, seq) if len(record) > _TAG_RECORD_BYTES]


def mark_records(event: Event, seq: int) -> list[bytes]:
    """Pack the rows of `tag` for an event's marks (`search.marks_of`), like those of its tags."""
    if not (marks := marks_of(event)):
        return []
    tail = _tail(event, seq)
    return [tag_key(MARK, mark) + tail for mark in marks]


def _tail(event: Event, seq: int) -> bytes:
    return b"%016d%019d%05d%010d" % (seq, int(event.id[:16], 16) >> 1, event.kind, event.created_at)


_TAG_RECORD_BYTES: Final = 66
"""The length of a record without a sketch."""
SKETCHED_LETTERS: Final[dict[int, str]] = {
    kind: "".join(letter for letter, kinds in CANONICAL if kind in kinds) for _, pair in CANONICAL for kind in pair
}
"""By kind, the letters of tags that have sketches."""


def _sketch(pubkey: bytes, value: str) -> int:
    """Return register and value of `hyperloglog.observation` in one number; never 0, the value is below 64."""
    offset = offset_of(value)
    if behind := pubkey[offset + 1]:  # nearly always; the rest of the key does not matter then
        return pubkey[offset] << 6 | 9 - behind.bit_length()
    register, observed = observation(pubkey, offset)
    return register << 6 | observed


DELETE_TAGS: Final = """
DELETE FROM tag WHERE (key, created_at, rank, seq) IN (
    SELECT substr(value, 1, 16), CAST(substr(value, 57, 10) AS INTEGER), CAST(substr(value, 33, 19) AS INTEGER),
           CAST(substr(value, 17, 16) AS INTEGER)
    FROM carray(?1)
)
"""
"""Takes the same records as INSERT_TAGS."""

INSERT_WORDS: Final = """
INSERT INTO word (rowid, text)
SELECT CAST(substr(value, 1, 16) AS INTEGER), CAST(substr(value, 17) AS TEXT) FROM carray(?1)
"""


def word_records(event: Event, seq: int) -> list[bytes]:
    """Pack the row of `word` for one event, if it has words: seq in 16 digits, then the words with spaces between."""
    text = text_of(event)
    return [b"%016d%b" % (seq, text.encode())] if text else []


DELETE_WORDS: Final = "DELETE FROM word WHERE rowid IN (SELECT CAST(value AS INTEGER) FROM carray(?1))"
"""Takes `number_records`: what a text gives today need not be what it gave when it was stored."""

INSERT_EXPIRIES: Final = """
INSERT INTO expiry (seq, at) SELECT CAST(substr(value, 1, 16) AS INTEGER), CAST(substr(value, 17) AS INTEGER)
FROM carray(?1)
"""
DELETE_EXPIRIES: Final = "DELETE FROM expiry WHERE seq IN (SELECT CAST(value AS INTEGER) FROM carray(?1))"
"""Takes `number_records`, too."""


def expiry_records(event: Event, seq: int) -> list[bytes]:
    """Pack the row of `expiry` for one event, if it expires (`event.has_expired`): seq in 16 digits, then when."""
    expiry = expiry_of(event)
    return [] if expiry is None or is_ephemeral(event.kind) else [b"%016d%d" % (seq, expiry)]


def number_records(seqs: Iterable[int]) -> list[bytes]:
    """Pack the numbers of events, each by itself."""
    return [b"%d" % seq for seq in seqs]


FIND_EVENTS: Final = (
    "carray(?1) CROSS JOIN event ON rank = CAST(substr(value, 33) AS INTEGER) AND id = substr(value, 1, 32)"
)
"""Finds the events of ids, given as `id_record`s: the index has only the ranks."""


def id_record(event_id: str) -> bytes:
    """Pack what FIND_EVENTS needs: the id's 32 bytes, then its rank."""
    raw = bytes.fromhex(event_id)
    return b"%b%d" % (raw, rank_of(raw))


INSERT_TOMBSTONES: Final = """
INSERT INTO tombstone (target, pubkey, until)
SELECT substr(value, 1, 32), substr(value, 33, 32), CAST(substr(value, 65) AS INTEGER) FROM carray(?1) WHERE true
ON CONFLICT (target, pubkey) DO UPDATE SET until = max(until, excluded.until)
"""


def id_tombstone(event_id: str, pubkey: str) -> bytes:
    """Pack the row that says: this author has asked to delete this id."""
    return bytes.fromhex(event_id + pubkey) + b"0"


def address_tombstone(address: str, until: int) -> bytes:
    """Pack the row that says: the author of this address has asked to delete its versions up to `until`."""
    return address_key(address) + bytes.fromhex(address.split(":")[1]) + b"%d" % until


def vanish_tombstone(pubkey: str, until: int) -> bytes:
    """Pack the row that says: this key has asked to vanish, with everything up to `until` (NIP-62).

    It holds the second after that: a key may also ask to delete an id that equals itself, which has 0 there.
    """
    return bytes.fromhex(pubkey + pubkey) + b"%d" % (until + 1)


def address_key(address: str) -> bytes:
    """Hash an address of any length to 32 bytes, so that no index holds a long `d`."""
    return sha256(address.encode()).digest()


MARK: Final = "*"
"""The letter of marks in `tag`; no tag has such a letter."""
SEALED: Final = "!"
"""What stands before the letters of tags of `access.PRIVATE_KINDS`.

So a walk over all that names some key meets none of the messages to them, and is as long whether there are any or not.
"""


def tag_key(letter: str, value: str) -> bytes:
    """Hash a letter and a value of any length to 16 bytes, without collisions in practice."""
    key = _EMPTY_KEY.copy()
    key.update((letter + value).encode())
    return key.digest()


_EMPTY_KEY: Final = blake2b(digest_size=16)
"""A hash that is copied for each key: that costs two thirds of making a new one."""


PAGE_CHARACTERS: Final = 2**23


def records_of(make: Callable[[Event, int], list[bytes]], numbered: Iterable[tuple[int, Event]]) -> list[bytes]:
    """Return the records that `make` (one of the functions above) makes of all these events."""
    return [record for seq, event in numbered for record in make(event, seq)]


def run(connection: apsw.Connection, sql: str, records: Sequence[bytes]) -> None:
    """Run a statement on records, if there are any: an array must have a member."""
    if records:
        connection.execute(sql, (apsw.carray(tuple(records)),)).fetchall()


def all_rows(connection: apsw.Connection, sql: str, *bindings: Any) -> list[Any]:
    """Run a SELECT of few rows; each is a tuple of what its columns hold."""
    return connection.execute(sql, bindings).fetchall()


def read_page(
    connection: apsw.Connection, sql: str, after: int, most: int, characters: int | None = None
) -> list[tuple[int, Event]]:
    """Read a page of numbers and events: up to `most`, fewer if they are large; empty at the end.

    Args:
        connection: for reading.
        sql: selects number and JSON where the number is above its first parameter, in order, limited by the second.
        after: the last number of the page before.
        most: the largest number of events.
        characters: of JSON after which no further event is read; None: `PAGE_CHARACTERS`.
    """
    page: list[tuple[int, Event]] = []
    most_characters, characters = characters or PAGE_CHARACTERS, 0
    with closing(connection.execute(sql, (after, most))) as rows:
        for seq, json in rows:
            text = str(json)
            page.append((int(str(seq)), decode(text)))
            characters += len(text)
            if characters >= most_characters:
                break
    return page
