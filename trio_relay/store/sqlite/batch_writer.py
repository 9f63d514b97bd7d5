"""Saves a batch in the database: looks up facts, judges, writes and commits. Runs in the writer's thread."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import apsw
import msgspec

from trio_relay.nostr.event import Event, address_of, claimants
from trio_relay.nostr.kinds import DELETION, GIFT_WRAP, VANISH
from trio_relay.scoreboard import Scoreboard
from trio_relay.store.base import Saved
from trio_relay.store.judge import Facts, Ruling, Version, judge, questions, version_of
from trio_relay.store.sqlite import archive, deletes
from trio_relay.store.sqlite.deletes import Gone, remove_ids, remove_seqs
from trio_relay.store.sqlite.rows import (
    FIND_EVENTS,
    INSERT_EVENTS,
    INSERT_EXPIRIES,
    INSERT_TAGS,
    INSERT_TOMBSTONES,
    address_key,
    address_tombstone,
    event_record,
    expiry_records,
    id_record,
    id_tombstone,
    rank_of,
    records_of,
    run,
    tag_records,
    vanish_tombstone,
)
from trio_relay.store.sqlite.sql import Binding, array_of
from trio_relay.store.sqlite.transaction import transaction
from trio_relay.store.sqlite.words import index_portion, insert_words

_SWEPT_AT_A_TIME: Final = 500
"""Events removed in one commit, so that the next batch does not wait for long."""


class BatchWriter:
    """Writes through the only connection that does. Not thread-safe: one call at a time.

    Args:
        connection: for writing.
        search: put words and marks into their index too (`words.prepare_words` has to come first).
        scoreboard: is told what other processes that read the file have to know; None: there are none.
        keeping: puts what goes into the archive; None: nothing is kept.

    Attributes:
        changes: added and removed events of each transaction, and the last number of an event after it, if
            `is_followed`; taken from the left by the loop.
        vanishing: by id, requests to vanish that are being carried out; `vanish` does a portion.
        earliest: no stored event expires before this second; infinity if none does. Any thread may read it.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        *,
        search: bool = True,
        scoreboard: Scoreboard | None = None,
        keeping: archive.Keeping | None = None,
    ) -> None:
        self._connection = connection
        self._keeping = keeping
        self._search = search
        self._scoreboard = scoreboard
        self._first_seq = self._next_seq = last_seq(connection) + 1
        self.earliest = math.inf
        self._set_earliest(earliest_expiry(connection))
        self.is_followed = False
        self.changes: deque[tuple[list[Event], Gone, int]] = deque()
        self.vanishing = deletes.unfinished(connection)

    def save(self, batch: Sequence[Event]) -> list[Saved]:
        """Store a batch in one transaction; it is on disk on return, except for requests put into `vanishing`.

        Raises:
            apsw.Error: nothing of the batch was stored.
        """
        with transaction(self._connection):
            ruling = judge(batch, self._look_up(batch))
            deletes.bar_addresses_of_ids(self._connection, ruling.deleted & ruling.remove)
            if self._keeping is not None and ruling.departed:
                self._keeping.keep_departed(ruling)
            removed = remove_ids(self._connection, ruling.remove)
            at_once, later = deletes.part(self._connection, ruling)
            removed += remove_seqs(self._connection, at_once)
            self._insert(list(ruling.insert.values()))
            self._insert_tombstones(ruling)
        self._next_seq += len(ruling.insert)
        self.vanishing |= later
        self._note(list(ruling.insert.values()), removed)
        return ruling.outcomes

    def _look_up(self, batch: Sequence[Event]) -> Facts:
        facts = look_up(self._connection, batch)
        if self.vanishing:
            facts.stored |= {event.id: version_of(event) for event in batch if event.id in self.vanishing}
        return facts

    def vanish(self, request_id: str) -> bool:
        """Remove some hundred events for a request in `vanishing`; returns True if it is done and stored now.

        Raises:
            apsw.Error: nothing was removed.
        """
        if (vanishing := self.vanishing.get(request_id)) is None:
            return True
        stored: list[Event] = []
        with transaction(self._connection):
            removed = remove_seqs(self._connection, vanishing.seqs[-deletes.AT_A_TIME :])
            is_over = len(vanishing.seqs) <= deletes.AT_A_TIME
            is_over = is_over and deletes.forget_archived(self._connection, vanishing.request)
            if is_over and deletes.finish(self._connection, vanishing.request):
                stored.append(vanishing.request)
                self._insert(stored)
        del vanishing.seqs[-deletes.AT_A_TIME :]
        if is_over:
            del self.vanishing[request_id]
        self._next_seq += len(stored)
        self._note(stored, removed)
        return is_over

    def remove(self, seqs: Sequence[int]) -> int:
        """Remove the events of these numbers in one transaction; returns how many were still there.

        Raises:
            apsw.Error: nothing was removed.
        """
        with transaction(self._connection):
            removed = remove_seqs(self._connection, seqs)
        self._note([], removed)
        return len(removed)

    def forget(self, ids: Sequence[str]) -> int:
        """Remove the events of these ids in one transaction; returns how many were stored.

        Raises:
            apsw.Error: nothing was removed.
        """
        with transaction(self._connection):
            removed = remove_ids(self._connection, dict.fromkeys(ids))
        self._note([], removed)
        return len(removed)

    def sweep(self, now: int) -> int:
        """Remove some hundred events that have expired at `now`; returns their number, 0 if none is left.

        Raises:
            apsw.Error: nothing was removed.
        """
        with transaction(self._connection):
            joined = self._connection.execute(_LAPSED, (now, _SWEPT_AT_A_TIME)).get
            seqs = list(map(int, joined.split(","))) if joined else []
            deletes.bar_addresses(self._connection, seqs)
            if self._keeping is not None:
                self._keeping.keep_expired(seqs)
            swept = remove_seqs(self._connection, seqs)
        # Before anything that may fail, else followers would never learn of it.
        self._note([], swept)
        self._set_earliest(earliest_expiry(self._connection))
        return len(swept)

    def forget_archived(self, ids: Sequence[str]) -> None:
        """Remove these ids from the archive in one transaction.

        Raises:
            apsw.Error: nothing was removed.
        """
        with transaction(self._connection):
            archive.forget(self._connection, archive.numbers_of(self._connection, ids))

    def forget_older(self, before: int) -> bool:
        """Remove some hundred rows of the archive that went before this second; returns True if there were any.

        Raises:
            apsw.Error: nothing was removed.
        """
        if not (numbers := archive.older(self._connection, before, _SWEPT_AT_A_TIME)):
            return False
        with transaction(self._connection):
            archive.forget(self._connection, numbers)
        return True

    def index_words(self) -> int:
        """Make the words of some hundred events that were stored without; returns their last number, 0 if all have.

        Raises:
            apsw.Error: nothing was written.
        """
        with transaction(self._connection):
            return index_portion(self._connection, self._first_seq - 1)

    def _set_earliest(self, second: float) -> None:
        self.earliest = second
        if self._scoreboard is not None:
            self._scoreboard.earliest_expiry = second

    def _note(self, added: list[Event], removed: Gone) -> None:
        if self.is_followed and (added or removed):
            self.changes.append((added, removed, self._next_seq - 1))

    def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
        """Carry out `Metadata.put_metadata` in one transaction.

        Raises:
            apsw.Error: nothing was kept or forgotten.
        """
        with transaction(self._connection):
            for name, value in changes.items():
                if value is None:
                    self._connection.execute("DELETE FROM kept WHERE name = ?", (name,)).fetchall()
                else:
                    self._connection.execute(_KEEP, (name, value)).fetchall()

    def _insert(self, events: list[Event]) -> None:
        numbered = list(enumerate(events, self._next_seq))
        if insert_events(self._connection, numbered):
            # Before the commit, so that no reader sees them with an old `earliest`. After a rollback the value is too
            # early, which does no harm.
            self._set_earliest(min(self.earliest, earliest_expiry(self._connection)))
        if self._search:
            insert_words(self._connection, numbered)

    def _insert_tombstones(self, ruling: Ruling) -> None:
        rows = [id_tombstone(event_id, pubkey) for event_id, pubkey in ruling.id_tombstones]
        rows += [address_tombstone(address, until) for address, until in ruling.address_tombstones.items()]
        rows += [vanish_tombstone(pubkey, until) for pubkey, until in ruling.vanish.items()]
        run(self._connection, INSERT_TOMBSTONES, rows)


def insert_events(connection: apsw.Connection, numbered: Sequence[tuple[int, Event]]) -> bool:
    """Insert events under these numbers, with their tags, inside the caller's transaction.

    Returns True if any of them expires.
    """
    run(connection, INSERT_EVENTS, [event_record(event, seq) for seq, event in numbered])
    run(connection, INSERT_TAGS, records_of(tag_records, numbered))
    expiries = records_of(expiry_records, numbered)
    run(connection, INSERT_EXPIRIES, expiries)
    return bool(expiries)


def last_seq(connection: apsw.Connection) -> int:
    """Return the highest number that any event had: none is given again."""
    last: int = connection.execute("SELECT max(coalesce(max(seq), 0), (SELECT last FROM numbering)) FROM event").get
    return last


def earliest_expiry(connection: apsw.Connection) -> float:
    """Return when the first stored event expires or has expired; infinity if none does."""
    at: int | None = connection.execute("SELECT min(at) FROM expiry").get
    return math.inf if at is None else at


_LAPSED: Final = "SELECT group_concat(seq) FROM (SELECT seq FROM expiry WHERE at <= ? ORDER BY at LIMIT ?)"
_KEEP: Final = "INSERT INTO kept (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


_TAKES_THE_LONG_WAY: Final = frozenset({DELETION, VANISH, GIFT_WRAP})


def look_up(connection: apsw.Connection, batch: Sequence[Event]) -> Facts:
    """Look up the facts that a batch depends on.

    Raises:
        apsw.Error: the database could not answer.
    """
    if len(batch) == 1 and _is_plainly_new(connection, batch[0]):
        return Facts()
    asked = questions(batch)
    addresses = {address_key(address): address for address in asked.addresses}
    # Only tombstones of an event's claimants count. Those of a deletion's targets are not looked up: any number of
    # others may have asked to delete the same.
    tombstone_keys = [bytes.fromhex(event.id + claimant) for event in batch for claimant in claimants(event)]
    tombstone_keys += [bytes.fromhex(pubkey + pubkey) for pubkey in asked.pubkeys]
    tombstone_keys += [key + bytes.fromhex(address.split(":")[1]) for key, address in addresses.items()]
    # One statement with one row as its answer: each further row would give up the GIL and wait to get it back.
    bindings = map(_array, (list(map(id_record, asked.ids)), list(addresses), tombstone_keys))
    answers: str = connection.execute(_FACTS, tuple(bindings)).get
    stored, heads, tombstones = map(_rows, answers.split("\n"))
    facts = Facts()
    facts.stored = {version.id: version for version in _versions(stored, addresses)}
    facts.heads = {version.address: version for version in _versions(heads, addresses) if version.address is not None}
    for target, pubkey, until in tombstones:
        _remember(facts, addresses.get(bytes.fromhex(target)), target, pubkey, until)
    return facts


def _is_plainly_new(connection: apsw.Connection, event: Event) -> bool:
    """Return True for a plain event that is neither stored, deleted nor vanished: the usual case of a lone event, and
    cheap."""
    if event.kind in _TAKES_THE_LONG_WAY or address_of(event) is not None:
        return False
    event_id, pubkey = bytes.fromhex(event.id), bytes.fromhex(event.pubkey)
    return bool(connection.execute(_IS_NEW, (rank_of(event_id), event_id, pubkey, event.created_at)).get)


def _remember(facts: Facts, address: str | None, target: str, pubkey: str, until: int) -> None:
    """Add a row of `tombstone` to the facts."""
    if address is not None:
        facts.address_tombstones[address] = until
    elif target != pubkey:
        facts.id_tombstones.add((target, pubkey))
    elif until:
        facts.vanished[pubkey] = until - 1  # see `rows.vanish_tombstone`


def _versions(rows: Iterable[Any], addresses: dict[bytes, str]) -> Iterable[Version]:
    for event_id, pubkey, kind, created_at, key, tags in rows:
        if tags is not None:  # of a gift wrap, which obeys its recipients
            yield version_of(Event(event_id, pubkey, created_at, kind, tags, "", ""))
        else:
            # An address that was not asked for is known by its key only; the key is empty if there is no address.
            yield Version(event_id, pubkey, kind, created_at, addresses.get(bytes.fromhex(key)))


def _array(values: Sequence[bytes]) -> Binding:
    return array_of(values or (b"",))  # an array must have a member; this one matches nothing


_rows: Final = msgspec.json.Decoder(list[Any]).decode

_VERSION: Final = f"""
json_group_array(json_array(
    lower(hex(id)), lower(hex(pubkey)), kind, created_at, lower(hex(address)),
    CASE kind WHEN {GIFT_WRAP} THEN json(event.json -> '$.tags') END
))
"""
_IS_NEW: Final = """
SELECT NOT EXISTS (SELECT 1 FROM event WHERE rank = ?1 AND id = ?2)
   AND NOT EXISTS (SELECT 1 FROM tombstone WHERE target = ?2 AND pubkey = ?3)
   AND NOT EXISTS (SELECT 1 FROM tombstone WHERE target = ?3 AND pubkey = ?3 AND until > ?4)
"""
_FACTS: Final = f"""
SELECT (SELECT {_VERSION} FROM {FIND_EVENTS})
    || char(10) || (SELECT {_VERSION} FROM carray(?2) CROSS JOIN event ON address = value)
    || char(10) || (
        SELECT json_group_array(json_array(lower(hex(target)), lower(hex(pubkey)), until))
        FROM carray(?3) CROSS JOIN tombstone ON target = substr(value, 1, 32) AND pubkey = substr(value, 33, 32)
    )
"""  # noqa: S608  # all of it is our own text
