"""What has gone, in tables of its own: kept and forgotten inside the caller's transaction, told page by page.

Rows are numbered in the order in which events went. `archive_owner` has the keys whose requests to vanish an event
obeys, of which its author is the first; so it finds an author's events, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any, Final, TypeVar

import apsw

from trio_relay.nostr.event import Event, claimants, decode, encode
from trio_relay.nostr.filter import Filter
from trio_relay.store.archive import Archived, Departure, DepartureCause
from trio_relay.store.judge import Ruling
from trio_relay.store.sqlite.fetch import known
from trio_relay.store.sqlite.rows import FIND_EVENTS, id_record, run
from trio_relay.store.sqlite.sql import Binding, Select, Where, array_of, raw

T = TypeVar("T")

_EVENTS_AT_A_TIME: Final = 100
"""Events that are kept or forgotten at a time: each may have a megabyte."""
_PAGE_ROWS: Final = 500
_PAGE_CHARACTERS: Final = 2**20
_MOST_BYTES: Final = 1_000_000_000
_REASONS: Final = tuple(Departure)
"""A reason is kept by its place here."""
_NOBODY: Final = bytes(32)


class Keeping:
    """Puts what goes into the archive, before it is removed.

    Args:
        connection: for writing.
        clock: seconds since 1970.
    """

    def __init__(self, connection: apsw.Connection, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._clock = clock

    def keep_departed(self, ruling: Ruling) -> None:
        """Keep what departs by a ruling, in the order in which it does."""
        for causes in _parts(ruling.departed.items()):
            ids = [event_id for event_id, _ in causes if event_id not in ruling.passed]
            events = {event.id: event for event in self._stored(FIND_EVENTS, tuple(map(id_record, ids)))}
            events |= ruling.passed
            # What a store's facts are wrong about is not there.
            self._keep([(events[event_id], cause) for event_id, cause in causes if event_id in events])

    def keep_expired(self, seqs: Sequence[int]) -> None:
        """Keep the events of these numbers, which have expired."""
        for part in _parts(seqs):
            self._keep([(event, DepartureCause(Departure.EXPIRED)) for event in self._stored(_NUMBERED, part)])

    def _stored(self, found: str, values: Sequence[bytes] | Sequence[int]) -> list[Event]:
        if not values:
            return []
        joined = self._connection.execute(_BODIES.format(found), (array_of(values),)).get
        return [decode(body) for body in joined.split(b"\n")] if joined else []

    def _keep(self, gone: Sequence[tuple[Event, DepartureCause]]) -> None:
        # What has gone before, and was stored again, is there already: its last departure counts.
        forget(self._connection, numbers_of(self._connection, [event.id for event, _ in gone]))
        first: int = self._connection.execute(_NEXT).get
        at = int(self._clock())
        numbered = list(enumerate(gone, first))
        run(self._connection, _INSERT, [_record(event, cause, number, at) for number, (event, cause) in numbered])
        run(
            self._connection,
            _INSERT_OWNERS,
            [record for number, (event, _) in numbered for record in _owners(event, number)],
        )


def _record(event: Event, cause: DepartureCause, number: int, at: int) -> bytes:
    """Pack one row: the id, the id of the cause; number, kind, created_at, at, reason in digits; the JSON."""
    return b"%b%b%016d%05d%010d%012d%01d%b" % (
        bytes.fromhex(event.id),
        bytes.fromhex(cause.by) or _NOBODY,
        number,
        event.kind,
        event.created_at,
        at,
        _REASONS.index(cause.reason),
        encode(event),
    )


def _owners(event: Event, number: int) -> list[bytes]:
    """Pack the rows of `archive_owner` for one event: the key; number and created_at in digits."""
    return [
        b"%b%016d%010d" % (bytes.fromhex(owner), number, event.created_at) for owner in dict.fromkeys(claimants(event))
    ]


def numbers_of(connection: apsw.Connection, ids: Sequence[str]) -> list[int]:
    """Find the numbers under which events of these ids are in the archive."""
    return _numbers(connection, _FIND_IDS, [array_of(raw(ids))]) if ids else []


def belonging(connection: apsw.Connection, pubkey: str, until: int, most: int) -> list[int]:
    """Find the numbers of what belongs to a key and is as old as `until` or older (NIP-62): up to so many."""
    return _numbers(connection, _BELONGING, [bytes.fromhex(pubkey), until, most])


def older(connection: apsw.Connection, before: int, most: int) -> list[int]:
    """Find the numbers of what went before this second: among as many that went first, so that few are looked at."""
    return _numbers(connection, _OLDER, [most, before])


def forget(connection: apsw.Connection, numbers: Sequence[int]) -> None:
    """Remove the rows of these numbers."""
    for part in _parts(numbers):
        bound = (array_of(part),)
        rows: list[tuple[Any, ...]] = connection.execute(_NUMBERED_JSON, bound).fetchall()
        run(connection, _DELETE_OWNERS, [record for number, json in rows for record in _owners(decode(json), number)])
        connection.execute(_DELETE, bound).fetchall()


def page_of(
    connection: apsw.Connection, filter_: Filter, before: int | None, *, is_whole: bool = False
) -> tuple[list[Archived], int | None]:
    """Read some rows, what went last first; returns what of them matches, and the number to read on before.

    Args:
        connection: for reading.
        filter_: its limit and reader play no part.
        before: the number that the page before has returned; None at the beginning.
        is_whole: also what stands in the store.

    Returns:
        What was found, perhaps nothing, and None in place of a number at the end.

    Raises:
        apsw.InterruptError: it was interrupted.
        apsw.Error: the database could not answer.
    """
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, _MOST_BYTES)  # one event may be longer than a page of answers
    select = _plan(filter_, before)
    found: list[tuple[Event, Archived]] = []
    looked_at = characters = 0
    with closing(connection.execute(select.sql, tuple(select.bindings))) as rows:
        for number, at, reason, cause, json in rows:
            before, looked_at = number, looked_at + 1
            event = decode(json)
            if filter_.matches(event):
                by = "" if cause is None else cause.hex()
                found.append((event, Archived(json.encode(), _REASONS[reason], at, by)))
            characters += len(json)
            if characters > _PAGE_CHARACTERS:
                break
        else:
            before = before if looked_at == _PAGE_ROWS else None
    standing = set() if is_whole or not found else known(connection, [event.id for event, _ in found])
    return [archived for event, archived in found if event.id not in standing], before


def _plan(filter_: Filter, before: int | None) -> Select:
    where = Where().kinds(filter_).times(filter_)
    if filter_.ids is not None:
        where.is_in("id", raw(filter_.ids))
    if filter_.authors is not None:
        owned = Where().is_in("owner", raw(filter_.authors))
        where.terms.append(f"number IN ({_OWNED} {owned.terms[0]})")
        where.bindings += owned.bindings
    if before is not None:
        where.terms.append("number < ?")
        where.bindings.append(before)
    condition = f" WHERE {' AND '.join(where.terms)}" if where.terms else ""
    return Select(f"{_ROWS}{condition} {_LAST_FIRST}", where.bindings)


def _parts(items: Iterable[T]) -> Iterator[list[T]]:
    left = iter(items)
    while part := list(islice(left, _EVENTS_AT_A_TIME)):
        yield part


def _numbers(connection: apsw.Connection, sql: str, bindings: Sequence[Binding]) -> list[int]:
    joined: str | None = connection.execute(sql, tuple(bindings)).get
    return list(map(int, joined.split(","))) if joined else []


_ROWS: Final = "SELECT number, at, reason, cause, json FROM archive"
_OWNED: Final = "SELECT number FROM archive_owner WHERE"
_LAST_FIRST: Final = f"ORDER BY number DESC LIMIT {_PAGE_ROWS}"
_NEXT: Final = "SELECT coalesce(max(number), 0) + 1 FROM archive"
_NUMBERED: Final = "carray(?1) CROSS JOIN event ON seq = value"
_BODIES: Final = "SELECT CAST(group_concat(json, char(10)) AS BLOB) FROM {}"
# Columns of fixed width, so that SQL can cut them: see `rows`.
_INSERT: Final = """
INSERT INTO archive (id, cause, number, kind, created_at, at, reason, json)
SELECT substr(value, 1, 32), nullif(substr(value, 33, 32), zeroblob(32)), CAST(substr(value, 65, 16) AS INTEGER),
       CAST(substr(value, 81, 5) AS INTEGER), CAST(substr(value, 86, 10) AS INTEGER),
       CAST(substr(value, 96, 12) AS INTEGER), CAST(substr(value, 108, 1) AS INTEGER), CAST(substr(value, 109) AS TEXT)
FROM carray(?1)
"""
_INSERT_OWNERS: Final = """
INSERT INTO archive_owner (owner, number, created_at)
SELECT substr(value, 1, 32), CAST(substr(value, 33, 16) AS INTEGER), CAST(substr(value, 49) AS INTEGER)
FROM carray(?1)
"""
_DELETE_OWNERS: Final = """
DELETE FROM archive_owner WHERE (owner, number) IN (
    SELECT substr(value, 1, 32), CAST(substr(value, 33, 16) AS INTEGER) FROM carray(?1)
)
"""
_DELETE: Final = "DELETE FROM archive WHERE number IN (SELECT value FROM carray(?1))"
_NUMBERED_JSON: Final = "SELECT number, json FROM carray(?1) CROSS JOIN archive ON number = value"
_FIND_IDS: Final = "SELECT group_concat(number) FROM carray(?1) CROSS JOIN archive ON id = value"
_BELONGING: Final = """
SELECT group_concat(number) FROM (SELECT number FROM archive_owner WHERE owner = ? AND created_at <= ? LIMIT ?)
"""
_OLDER: Final = """
SELECT group_concat(number) FROM (SELECT number, at FROM archive ORDER BY number LIMIT ?) WHERE at < ?
"""
