"""Events out of the database, with all that was made of them; inside of a transaction of the caller's."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import apsw

from trio_relay.nostr.event import GIFT_WRAP, decode
from trio_relay.store.sqlite.batched import records_of, run
from trio_relay.store.sqlite.rows import (
    DELETE_EXPIRIES,
    DELETE_TAGS,
    DELETE_WORDS,
    FIND_EVENTS,
    expiry_records,
    id_record,
    mark_records,
    tag_key,
    tag_records,
    word_records,
)

_AT_A_TIME: Final = 100
"""One request may delete ten thousand events, and each may have a megabyte."""


Gone: TypeAlias = list[tuple[int, str]]
"""(created_at, id) of events that were removed."""


def remove_ids(connection: apsw.Connection, ids: Iterable[str]) -> Gone:
    """Remove the events of these ids, as far as they are stored; gives which these were."""
    bound = list(map(id_record, ids))
    gone: Gone = []
    for start in range(0, len(bound), _AT_A_TIME):
        gone += _take_out(connection, FIND_EVENTS, apsw.carray(tuple(bound[start : start + _AT_A_TIME])))
    return gone


def remove_seqs(connection: apsw.Connection, seqs: Sequence[int]) -> Gone:
    """Remove the events of these numbers; gives those that there still were."""
    gone: Gone = []
    for start in range(0, len(seqs), _AT_A_TIME):
        gone += _take_out(connection, _NUMBERED, apsw.carray(array("q", seqs[start : start + _AT_A_TIME])))
    return gone


def belonging(connection: apsw.Connection, pubkey: str, until: int) -> list[int]:
    """The numbers of all that belongs to a pubkey and is as old as `until` or older (NIP-62, `judge.Ruling`)."""
    joined = connection.execute(_BELONGING, (bytes.fromhex(pubkey), until, tag_key("p", pubkey))).get
    return list(map(int, joined.split(","))) if joined else []


def _take_out(connection: apsw.Connection, found: str, bound: object) -> Gone:
    # An event's tags are found by their keys, which only the event itself knows.
    bodies: bytes | None = connection.execute(_BODIES.format(found), (bound,)).get
    if bodies is None:
        return []
    gone = [body.partition(b" ") for body in bodies.split(b"\n")]
    events = [(int(seq), decode(body)) for seq, _, body in gone]
    # Events that came while there was no search have neither words nor marks; to remove none does no harm.
    run(connection, DELETE_WORDS, records_of(word_records, events))
    run(connection, DELETE_TAGS, records_of(tag_records, events) + records_of(mark_records, events))
    run(connection, DELETE_EXPIRIES, records_of(expiry_records, events))
    run(connection, _DELETE, [seq for seq, _, _ in gone])
    return [(event.created_at, event.id) for _, event in events]


_NUMBERED: Final = "carray(?1) CROSS JOIN event ON seq = value"
_BODIES: Final = "SELECT CAST(group_concat(seq || ' ' || json, char(10)) AS BLOB) FROM {}"
_DELETE: Final = "DELETE FROM event WHERE seq IN (SELECT CAST(value AS INTEGER) FROM carray(?1))"
_BELONGING: Final = f"""
SELECT group_concat(seq) FROM (
    SELECT seq FROM event INDEXED BY event_author_kind WHERE pubkey = ?1 AND created_at <= ?2
    UNION
    SELECT seq FROM tag WHERE key = ?3 AND kind = {GIFT_WRAP} AND created_at <= ?2
)
"""  # noqa: S608  # all of it is our own text
