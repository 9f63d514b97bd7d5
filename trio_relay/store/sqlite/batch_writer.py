"""One batch into the database: look up what it depends on, judge, carry out, commit. Runs in the writer's thread."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import apsw

from trio_relay.nostr.event import Event
from trio_relay.store.base import Saved
from trio_relay.store.judge import Facts, Ruling, judge, version_of
from trio_relay.store.sqlite import vanishing
from trio_relay.store.sqlite.batched import records_of, run
from trio_relay.store.sqlite.deletes import Gone, remove_ids, remove_seqs
from trio_relay.store.sqlite.facts import look_up
from trio_relay.store.sqlite.rows import (
    INSERT_EVENTS,
    INSERT_EXPIRIES,
    INSERT_TAGS,
    INSERT_TOMBSTONES,
    INSERT_WORDS,
    address_tombstone,
    event_record,
    expiry_records,
    id_tombstone,
    mark_records,
    tag_records,
    vanish_tombstone,
    word_records,
)

_SWEPT_AT_A_TIME: Final = 500
"""The next batch of events waits for no more than these."""


class BatchWriter:
    """The one connection that writes. Not thread-safe: one call at a time.

    Args:
        connection: for writing.
        search: put words and marks into their index too (see `wording`, whose `prepare` has to come first).

    Attributes:
        changes: what each transaction since the last look has added and removed, if `is_followed`; taken from the left.
        vanishing: by id, requests to vanish that are being carried out: `vanish` does a portion.
        earliest: no stored event expires before this second, infinity if none does. It may be read from any thread.
    """

    def __init__(self, connection: apsw.Connection, *, search: bool = True) -> None:
        self._connection = connection
        self._search = search
        self._next_seq = last_seq(connection) + 1
        self.earliest = earliest_expiry(connection)
        self.is_followed = False
        self.changes: deque[tuple[list[Event], Gone]] = deque()
        self.vanishing = vanishing.unfinished(connection)

    def save(self, batch: Sequence[Event]) -> list[Saved]:
        """Store a batch in one transaction; it is on disk when this returns, but for requests put into `vanishing`.

        Raises:
            apsw.Error: nothing of the batch was stored.
        """
        with self._transaction():
            ruling = judge(batch, self._look_up(batch))
            removed = remove_ids(self._connection, ruling.remove)
            at_once, later = vanishing.part(self._connection, ruling)
            removed += remove_seqs(self._connection, at_once)
            self._insert(list(ruling.insert.values()))
            self._bury(ruling)
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
        """Remove some hundreds of what a request of `vanishing` takes away; true if it is carried out and stored now.

        Raises:
            apsw.Error: nothing was removed.
        """
        if (one := self.vanishing.get(request_id)) is None:
            return True
        stored: list[Event] = []
        with self._transaction():
            removed = remove_seqs(self._connection, one.seqs[-vanishing.AT_A_TIME :])
            is_over = len(one.seqs) <= vanishing.AT_A_TIME
            if is_over and vanishing.finish(self._connection, one.request):
                stored.append(one.request)
                self._insert(stored)
        del one.seqs[-vanishing.AT_A_TIME :]
        if is_over:
            del self.vanishing[request_id]
        self._next_seq += len(stored)
        self._note(stored, removed)
        return is_over

    def remove(self, seqs: Sequence[int]) -> int:
        """Remove the events of these numbers in one transaction; gives how many of them there still were.

        Raises:
            apsw.Error: nothing was removed.
        """
        with self._transaction():
            removed = remove_seqs(self._connection, seqs)
        self._note([], removed)
        return len(removed)

    def sweep(self, now: int) -> int:
        """Remove some hundreds of those that have expired at `now`; gives how many, 0 if no more has.

        Raises:
            apsw.Error: nothing was removed.
        """
        with self._transaction():
            joined = self._connection.execute(_LAPSED, (now, _SWEPT_AT_A_TIME)).get
            swept = remove_seqs(self._connection, list(map(int, joined.split(",")))) if joined else []
        # Before what may fail: who follows would never hear of it.
        self._note([], swept)
        self.earliest = earliest_expiry(self._connection)
        return len(swept)

    def _note(self, added: list[Event], removed: Gone) -> None:
        if self.is_followed and (added or removed):
            self.changes.append((added, removed))

    def keep(self, changes: Mapping[str, bytes | None]) -> None:
        """Carry out `Notebook.keep` in one transaction.

        Raises:
            apsw.Error: nothing was kept or forgotten.
        """
        with self._transaction():
            for name, value in changes.items():
                if value is None:
                    self._connection.execute("DELETE FROM kept WHERE name = ?", (name,)).fetchall()
                else:
                    self._connection.execute(_KEEP, (name, value)).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # A full disk may have rolled back by itself.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _insert(self, events: list[Event]) -> None:
        numbered = list(enumerate(events, self._next_seq))
        if insert_events(self._connection, numbered):
            # Before the commit, so that nobody sees them without asking when they expire. After a rollback it is too
            # early, which does no harm.
            self.earliest = min(self.earliest, earliest_expiry(self._connection))
        if self._search:
            insert_words(self._connection, numbered)

    def _bury(self, ruling: Ruling) -> None:
        rows = [id_tombstone(event_id, pubkey) for event_id, pubkey in ruling.bury_ids]
        rows += [address_tombstone(address, until) for address, until in ruling.bury_addresses.items()]
        rows += [vanish_tombstone(pubkey, until) for pubkey, until in ruling.vanish.items()]
        run(self._connection, INSERT_TOMBSTONES, rows)


def insert_events(connection: apsw.Connection, numbered: Sequence[tuple[int, Event]]) -> bool:
    """Put events under these numbers, with their tags; inside of a transaction of the caller's.

    True if any of them expires.
    """
    run(connection, INSERT_EVENTS, [event_record(event, seq) for seq, event in numbered])
    run(connection, INSERT_TAGS, records_of(tag_records, numbered))
    expiries = records_of(expiry_records, numbered)
    run(connection, INSERT_EXPIRIES, expiries)
    return bool(expiries)


def insert_words(connection: apsw.Connection, numbered: Sequence[tuple[int, Event]]) -> None:
    """Put the words and marks of stored events into their index; inside of a transaction of the caller's."""
    run(connection, INSERT_WORDS, records_of(word_records, numbered))
    run(connection, INSERT_TAGS, records_of(mark_records, numbered))


def last_seq(connection: apsw.Connection) -> int:
    """The highest number that an event has, or that one had whose words are missing: it is not given again."""
    last: int = connection.execute(
        "SELECT max(coalesce(max(seq), 0), (SELECT coalesce(until, 0) FROM worded)) FROM event"
    ).get
    return last


def earliest_expiry(connection: apsw.Connection) -> float:
    """When the first stored event expires or has expired; infinity if none does."""
    at: int | None = connection.execute("SELECT min(at) FROM expiry").get
    return math.inf if at is None else at


_LAPSED: Final = "SELECT group_concat(seq) FROM (SELECT seq FROM expiry WHERE at <= ? ORDER BY at LIMIT ?)"
_KEEP: Final = "INSERT INTO kept (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
