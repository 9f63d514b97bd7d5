"""Removes events from the database with everything derived from them, inside the caller's transaction.

A request to vanish (NIP-62) may remove many events. It goes in portions, so that no other batch waits for all of it:
the first commit stores the tombstone, which bars events from then on, and keeps the request in a table of its own; the
next commits remove a portion of the events each, and then of the archive; the last one stores the request. If the
process ends in between, the table says what is still to be done.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import apsw

from trio_relay.nostr.event import Event, decode, encode
from trio_relay.nostr.kinds import GIFT_WRAP, VANISH
from trio_relay.store.judge import Ruling
from trio_relay.store.sqlite import archive
from trio_relay.store.sqlite.rows import (
    DELETE_EXPIRIES,
    DELETE_TAGS,
    DELETE_WORDS,
    FIND_EVENTS,
    SEALED,
    id_record,
    mark_records,
    number_records,
    records_of,
    run,
    tag_key,
    tag_records,
)
from trio_relay.store.sqlite.sql import Binding

EVENTS_AT_A_TIME: Final = 100
"""Events that are removed at a time: one request may delete ten thousand, of a megabyte each."""


Gone: TypeAlias = list[tuple[int, str]]
"""(created_at, id) of events that were removed."""


def remove_ids(connection: apsw.Connection, ids: Iterable[str]) -> Gone:
    """Remove the events of these ids, as far as they are stored; returns those that were."""
    bound = list(map(id_record, ids))
    gone: Gone = []
    for start in range(0, len(bound), EVENTS_AT_A_TIME):
        gone += _take_out(connection, FIND_EVENTS, apsw.carray(tuple(bound[start : start + EVENTS_AT_A_TIME])))
    return gone


def remove_seqs(connection: apsw.Connection, seqs: Sequence[int]) -> Gone:
    """Remove the events of these numbers; returns those that were still there."""
    gone: Gone = []
    for start in range(0, len(seqs), EVENTS_AT_A_TIME):
        gone += _take_out(connection, _NUMBERED, apsw.carray(array("q", seqs[start : start + EVENTS_AT_A_TIME])))
    return gone


def bar_addresses(connection: apsw.Connection, seqs: Sequence[int]) -> None:
    """Let nothing come back at the addresses of these events that is as old as they are, or older."""
    if seqs:
        connection.execute(_BAR, (apsw.carray(array("q", seqs)),)).fetchall()


def bar_addresses_of_ids(connection: apsw.Connection, ids: Iterable[str]) -> None:
    """Do what `bar_addresses` does for the events of these ids; before they are removed."""
    if bound := tuple(map(id_record, ids)):
        connection.execute(_BAR_IDS, (apsw.carray(bound),)).fetchall()


def belonging(connection: apsw.Connection, pubkey: str, until: int) -> list[int]:
    """Find the numbers of all events that belong to a pubkey and are as old as `until` or older (NIP-62)."""
    joined = connection.execute(_BELONGING, (bytes.fromhex(pubkey), until, tag_key(f"{SEALED}p", pubkey))).get
    return list(map(int, joined.split(","))) if joined else []


def _take_out(connection: apsw.Connection, found: str, bound: Binding) -> Gone:
    # The rows of an event's tags are found by their keys, which have to be made from the event.
    bodies: bytes | None = connection.execute(_BODIES.format(found), (bound,)).get
    if bodies is None:
        return []
    gone = [body.partition(b" ") for body in bodies.split(b"\n")]
    events = [(int(seq), decode(body)) for seq, _, body in gone]
    numbers = number_records(seq for seq, _ in events)
    # Events that came while search was off have neither words nor marks; removing none does no harm.
    run(connection, DELETE_WORDS, numbers)
    run(connection, DELETE_TAGS, records_of(tag_records, events) + records_of(mark_records, events))
    run(connection, DELETE_EXPIRIES, numbers)
    run(connection, _DELETE, numbers)
    connection.execute(_GIVEN, (max(seq for seq, _ in events),)).fetchall()
    return [(event.created_at, event.id) for _, event in events]


_NUMBERED: Final = "carray(?1) CROSS JOIN event ON seq = value"
_BAR_ALL: Final = """
INSERT INTO tombstone (target, pubkey, until)
SELECT address, pubkey, created_at FROM {} WHERE address IS NOT NULL
ON CONFLICT (target, pubkey) DO UPDATE SET until = max(until, excluded.until)
"""
_BAR: Final = _BAR_ALL.format(_NUMBERED)
_BAR_IDS: Final = _BAR_ALL.format(FIND_EVENTS)
_BODIES: Final = "SELECT CAST(group_concat(seq || ' ' || json, char(10)) AS BLOB) FROM {}"
_DELETE: Final = "DELETE FROM event WHERE seq IN (SELECT CAST(value AS INTEGER) FROM carray(?1))"
# So that no later event gets the number of one whose tags or marks this make would find under other keys.
_GIVEN: Final = """
UPDATE numbering SET last = max(last, ?1) WHERE ?1 > (SELECT coalesce(max(seq), 0) FROM event)
"""
_BELONGING: Final = f"""
SELECT group_concat(seq) FROM (
    SELECT seq FROM event INDEXED BY event_author_kind WHERE pubkey = ?1 AND created_at <= ?2
    UNION
    SELECT seq FROM tag WHERE key = ?3 AND kind = {GIFT_WRAP} AND created_at <= ?2
)
"""  # noqa: S608  # all of it is our own text


AT_A_TIME: Final = 500
"""Events removed in one commit, so that the next batch does not wait for long."""


@dataclass(slots=True)
class VanishRequests:
    """A request to vanish that is being carried out, and the numbers of the events that are still to be removed."""

    request: Event
    seqs: list[int]


def unfinished(connection: apsw.Connection) -> dict[str, VanishRequests]:
    """Return, by id, the requests that are not carried out yet."""
    requests = [decode(str(json)) for (json,) in connection.execute("SELECT json FROM vanishing").fetchall()]
    return {
        request.id: VanishRequests(request, belonging(connection, request.pubkey, request.created_at))
        for request in requests
    }


def part(connection: apsw.Connection, ruling: Ruling) -> tuple[list[int], dict[str, VanishRequests]]:
    """Return the numbers of what vanishes at once and, by id, the larger requests, which are kept to be carried out.

    The larger requests are taken out of what the ruling inserts; for the others the archive forgets the key here.
    """
    at_once: list[int] = []
    later: dict[str, VanishRequests] = {}
    requests = {event.pubkey: event for event in ruling.insert.values() if event.kind == VANISH}
    for pubkey, until in ruling.vanish.items():
        seqs = belonging(connection, pubkey, until)
        archived = archive.belonging(connection, pubkey, until, AT_A_TIME + 1)
        if len(at_once) + len(seqs) + len(archived) <= AT_A_TIME:
            at_once += seqs
            archive.forget(connection, archived)
        else:
            request = ruling.insert.pop(requests[pubkey].id)
            later[request.id] = VanishRequests(request, seqs)
            connection.execute(_PUT_BY, (request.id, encode(request).decode())).fetchall()
    return at_once, later


def forget_archived(connection: apsw.Connection, request: Event) -> bool:
    """Remove a portion of what the archive has of who asks to vanish; returns True if nothing of it is left."""
    archived = archive.belonging(connection, request.pubkey, request.created_at, AT_A_TIME)
    archive.forget(connection, archived)
    return len(archived) < AT_A_TIME


def finish(connection: apsw.Connection, request: Event) -> bool:
    """Forget a request that was carried out; returns True if it is to be stored: a later one would have removed it."""
    connection.execute("DELETE FROM vanishing WHERE id = ?", (request.id,)).fetchall()
    pubkey = bytes.fromhex(request.pubkey)
    return bool(connection.execute(_IS_LATEST, (pubkey, request.created_at)).get)


_PUT_BY: Final = "INSERT INTO vanishing (id, json) VALUES (?, ?)"
# See `rows.vanish_tombstone`.
_IS_LATEST: Final = "SELECT 1 FROM tombstone WHERE target = ?1 AND pubkey = ?1 AND until = ?2 + 1"
