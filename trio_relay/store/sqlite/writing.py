"""One batch into the database: look up what it depends on, judge, carry out, commit. Runs in the writer's thread."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import apsw

from trio_relay.nostr.event import Event, decode
from trio_relay.store.base import Saved
from trio_relay.store.judge import Facts, Ruling, Version, judge, questions
from trio_relay.store.sqlite.records import (
    DELETE_TAGS,
    INSERT_EVENTS,
    INSERT_TAGS,
    INSERT_TOMBSTONES,
    address_key,
    address_tombstone,
    event_record,
    id_tombstone,
    tag_records,
    untag_records,
)

_REMOVED_AT_A_TIME: Final = 100


class BatchWriter:
    """The one connection that writes. Not thread-safe: one `save` at a time."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._next_seq = (_value(connection, "SELECT max(seq) FROM event", ()) or 0) + 1

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
        asked = questions(batch)
        # One row an answer: each further one would give up the GIL and wait to get it back.
        addresses = {address_key(address): address for address in asked.addresses}
        ids = [bytes.fromhex(event_id) for event_id in asked.ids]
        # A tombstone counts for its author's event only, and the targets of a deletion are not asked about: any number
        # of others may have asked to delete the same.
        graves = [bytes.fromhex(event.id + event.pubkey) for event in batch]
        owned = [key + bytes.fromhex(address.split(":")[1]) for key, address in addresses.items()]
        facts = Facts()
        facts.stored = {one.id: one for one in self._versions("id", ids, addresses)}
        heads = self._versions("address", addresses, addresses)
        facts.heads = {one.address: one for one in heads if one.address is not None}
        for target, pubkey, until in self._ask(_TOMBSTONES, [*graves, *owned]):
            address = addresses.get(bytes.fromhex(target))
            if address is None:
                facts.buried_ids.add((target, pubkey))
            else:
                facts.buried_addresses[address] = until
        return facts

    def _versions(self, column: str, keys: Iterable[bytes], addresses: dict[bytes, str]) -> Iterable[Version]:
        for event_id, pubkey, kind, created_at, key in self._ask(_VERSIONS.format(column=column), keys):
            # An address that is not in question is known by its key only, which is empty where there is no address.
            yield Version(event_id, pubkey, kind, created_at, addresses.get(bytes.fromhex(key)))

    def _ask(self, sql: str, keys: Iterable[bytes]) -> list[Any]:
        bound = tuple(keys)
        if not bound:
            return []
        rows: list[Any] = json.loads(_value(self._connection, sql, (apsw.carray(bound),)))
        return rows

    def _remove(self, ids: Iterable[str]) -> None:
        bound = tuple(map(bytes.fromhex, ids))
        # In parts: one request may delete ten thousand events, and each may have a megabyte.
        for start in range(0, len(bound), _REMOVED_AT_A_TIME):
            part = bound[start : start + _REMOVED_AT_A_TIME]
            # An event's tags are found by their keys, which only the event itself knows.
            gone = map(decode, _value(self._connection, _BODIES, (apsw.carray(part),)).split(b"\n"))
            self._run(DELETE_TAGS, [record for event in gone for record in untag_records(event)])
            self._run("DELETE FROM event WHERE id IN (SELECT value FROM carray(?1))", part)

    def _insert(self, events: list[Event]) -> None:
        numbered = list(enumerate(events, self._next_seq))
        self._run(INSERT_EVENTS, [event_record(event, seq) for seq, event in numbered])
        self._run(INSERT_TAGS, [record for seq, event in numbered for record in tag_records(event, seq)])

    def _bury(self, ruling: Ruling) -> None:
        rows = [id_tombstone(event_id, pubkey) for event_id, pubkey in ruling.bury_ids]
        rows += [address_tombstone(address, until) for address, until in ruling.bury_addresses.items()]
        self._run(INSERT_TOMBSTONES, rows)

    def _run(self, sql: str, records: Sequence[bytes]) -> None:
        if records:  # an array must have a member
            self._connection.execute(sql, (apsw.carray(tuple(records)),)).fetchall()


def _value(connection: apsw.Connection, sql: str, bindings: tuple[Any, ...]) -> Any:
    return connection.execute(sql, bindings).get


_VERSIONS = """
SELECT json_group_array(json_array(lower(hex(id)), lower(hex(pubkey)), kind, created_at, lower(hex(address))))
FROM event WHERE {column} IN (SELECT value FROM carray(?1))
"""
_TOMBSTONES = """
SELECT json_group_array(json_array(lower(hex(target)), lower(hex(pubkey)), until))
FROM carray(?1) CROSS JOIN tombstone ON target = substr(value, 1, 32) AND pubkey = substr(value, 33, 32)
"""
_BODIES = """
SELECT CAST(group_concat(json, char(10)) AS BLOB) FROM event WHERE id IN (SELECT value FROM carray(?1))
"""
