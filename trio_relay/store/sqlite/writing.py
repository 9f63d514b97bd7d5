"""One batch into the database: look up what it depends on, judge, carry out, commit. Runs in the writer's thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import apsw
import msgspec

from trio_relay.nostr.event import DELETION, Event, address_of, decode
from trio_relay.store.base import Saved
from trio_relay.store.judge import Facts, Ruling, Version, judge, questions
from trio_relay.store.sqlite.records import (
    DELETE_TAGS,
    DELETE_WORDS,
    FIND_EVENTS,
    INSERT_EVENTS,
    INSERT_TAGS,
    INSERT_TOMBSTONES,
    INSERT_WORDS,
    address_key,
    address_tombstone,
    event_record,
    id_record,
    id_tombstone,
    mark_records,
    rank_of,
    tag_records,
    word_records,
)

_REMOVED_AT_A_TIME: Final = 100


class BatchWriter:
    """The one connection that writes. Not thread-safe: one `save` at a time.

    Args:
        connection: for writing.
        search: put words and marks into their index too (see `wording`, whose `prepare` has to come first).
    """

    def __init__(self, connection: apsw.Connection, *, search: bool = True) -> None:
        self._connection = connection
        self._search = search
        self._next_seq = last_seq(connection) + 1

    def save(self, batch: Sequence[Event]) -> list[Saved]:
        """Store a batch in one transaction; it is on disk when this returns.

        Raises:
            apsw.Error: nothing of the batch was stored.
        """
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            ruling = judge(batch, self._facts(batch))
            self._remove(ruling.remove)
            self._insert(list(ruling.insert.values()))
            self._bury(ruling)
            self._connection.execute("COMMIT")
        except BaseException:
            # A full disk may have rolled back by itself.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._next_seq += len(ruling.insert)
        return ruling.outcomes

    def _facts(self, batch: Sequence[Event]) -> Facts:
        if len(batch) == 1 and self._is_plainly_new(batch[0]):
            return Facts()
        asked = questions(batch)
        addresses = {address_key(address): address for address in asked.addresses}
        # A tombstone counts for its author's event only, and the targets of a deletion are not asked about: any number
        # of others may have asked to delete the same.
        graves = [bytes.fromhex(event.id + event.pubkey) for event in batch]
        graves += [key + bytes.fromhex(address.split(":")[1]) for key, address in addresses.items()]
        # One statement, and one row for its answer: each further one would give up the GIL and wait to get it back.
        bindings = map(_array, (list(map(id_record, asked.ids)), list(addresses), graves))
        answers: str = self._connection.execute(_FACTS, tuple(bindings)).get
        stored, heads, tombstones = map(_rows, answers.split("\n"))
        facts = Facts()
        facts.stored = {one.id: one for one in _versions(stored, addresses)}
        facts.heads = {one.address: one for one in _versions(heads, addresses) if one.address is not None}
        for target, pubkey, until in tombstones:
            address = addresses.get(bytes.fromhex(target))
            if address is None:
                facts.buried_ids.add((target, pubkey))
            else:
                facts.buried_addresses[address] = until
        return facts

    def _is_plainly_new(self, event: Event) -> bool:
        """True for an event without an address that is neither stored nor deleted: a lone one's usual case, cheaply."""
        if event.kind == DELETION or address_of(event) is not None:
            return False
        event_id, pubkey = bytes.fromhex(event.id), bytes.fromhex(event.pubkey)
        return bool(self._connection.execute(_IS_NEW, (rank_of(event_id), event_id, event_id, pubkey)).get)

    def _remove(self, ids: Iterable[str]) -> None:
        bound = list(map(id_record, ids))
        # In parts: one request may delete ten thousand events, and each may have a megabyte.
        for start in range(0, len(bound), _REMOVED_AT_A_TIME):
            part = bound[start : start + _REMOVED_AT_A_TIME]
            # An event's tags are found by their keys, which only the event itself knows.
            bodies: bytes = self._connection.execute(_BODIES, (_array(part),)).get
            gone = [body.partition(b" ") for body in bodies.split(b"\n")]
            events = [(int(seq), decode(body)) for seq, _, body in gone]
            # Events that came while there was no search have neither words nor marks; to remove none does no harm.
            _run(self._connection, DELETE_WORDS, _records(word_records, events))
            _run(self._connection, DELETE_TAGS, _records(tag_records, events) + _records(mark_records, events))
            _run(self._connection, _DELETE, [seq for seq, _, _ in gone])

    def _insert(self, events: list[Event]) -> None:
        numbered = list(enumerate(events, self._next_seq))
        insert_events(self._connection, numbered)
        if self._search:
            insert_words(self._connection, numbered)

    def _bury(self, ruling: Ruling) -> None:
        rows = [id_tombstone(event_id, pubkey) for event_id, pubkey in ruling.bury_ids]
        rows += [address_tombstone(address, until) for address, until in ruling.bury_addresses.items()]
        _run(self._connection, INSERT_TOMBSTONES, rows)


def insert_events(connection: apsw.Connection, numbered: Sequence[tuple[int, Event]]) -> None:
    """Put events under these numbers, with their tags; inside of a transaction of the caller's."""
    _run(connection, INSERT_EVENTS, [event_record(event, seq) for seq, event in numbered])
    _run(connection, INSERT_TAGS, _records(tag_records, numbered))


def insert_words(connection: apsw.Connection, numbered: Sequence[tuple[int, Event]]) -> None:
    """Put the words and marks of stored events into their index; inside of a transaction of the caller's."""
    _run(connection, INSERT_WORDS, _records(word_records, numbered))
    _run(connection, INSERT_TAGS, _records(mark_records, numbered))


def last_seq(connection: apsw.Connection) -> int:
    """The highest number that an event has, or that one had whose words are missing: it is not given again."""
    last: int = connection.execute(
        "SELECT max(coalesce(max(seq), 0), (SELECT coalesce(until, 0) FROM worded)) FROM event"
    ).get
    return last


def _records(make: Callable[[Event, int], list[bytes]], numbered: Iterable[tuple[int, Event]]) -> list[bytes]:
    return [record for seq, event in numbered for record in make(event, seq)]


def _run(connection: apsw.Connection, sql: str, records: Sequence[bytes]) -> None:
    if records:  # an array must have a member
        connection.execute(sql, (apsw.carray(tuple(records)),)).fetchall()


def _array(values: Sequence[bytes]) -> object:
    return apsw.carray(tuple(values) or (b"",))  # an array must have a member; this one is found nowhere


_rows: Final = msgspec.json.Decoder(list[Any]).decode


def _versions(rows: Iterable[Any], addresses: dict[bytes, str]) -> Iterable[Version]:
    for event_id, pubkey, kind, created_at, key in rows:
        # An address that is not in question is known by its key only, which is empty where there is no address.
        yield Version(event_id, pubkey, kind, created_at, addresses.get(bytes.fromhex(key)))


_VERSION: Final = (
    "json_group_array(json_array(lower(hex(id)), lower(hex(pubkey)), kind, created_at, lower(hex(address))))"
)
_IS_NEW: Final = """
SELECT NOT EXISTS (SELECT 1 FROM event WHERE rank = ? AND id = ?)
   AND NOT EXISTS (SELECT 1 FROM tombstone WHERE target = ? AND pubkey = ?)
"""
_FACTS: Final = f"""
SELECT (SELECT {_VERSION} FROM {FIND_EVENTS})
    || char(10) || (SELECT {_VERSION} FROM carray(?2) CROSS JOIN event ON address = value)
    || char(10) || (
        SELECT json_group_array(json_array(lower(hex(target)), lower(hex(pubkey)), until))
        FROM carray(?3) CROSS JOIN tombstone ON target = substr(value, 1, 32) AND pubkey = substr(value, 33, 32)
    )
"""  # noqa: S608  # all of it is our own text
_BODIES: Final = f"SELECT CAST(group_concat(seq || ' ' || json, char(10)) AS BLOB) FROM {FIND_EVENTS}"  # noqa: S608  # ours
_DELETE: Final = "DELETE FROM event WHERE seq IN (SELECT CAST(value AS INTEGER) FROM carray(?1))"
