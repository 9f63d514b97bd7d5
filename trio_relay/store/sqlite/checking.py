"""Looks for what is wrong in a file: in the file itself, and in all that is kept of events beside their JSON. Blocks.

Events never change, and no number is given twice. So a portion is read in one short transaction, beside a running
relay, and what comes or goes between two portions is known by its number. Rows of tags are counted for each event, in
one walk along their own table, and only those of events with another number of them than they should have are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Final, NamedTuple

import apsw

from trio_relay.nostr.event import Event, address_of, check_shape, decode, encode, id_matches
from trio_relay.nostr.kinds import VANISH
from trio_relay.nostr.tokenizer import RULES
from trio_relay.store.base import Saved
from trio_relay.store.inspection import Aspect, Fault, Inspected, Verify
from trio_relay.store.judge import Facts, by_itself, judge, version_of
from trio_relay.store.sqlite.batch_writer import look_up
from trio_relay.store.sqlite.rows import (
    address_key,
    all_rows,
    expiry_records,
    mark_records,
    rank_of,
    tag_records,
    word_records,
)
from trio_relay.store.sqlite.tag_rows import TagRows
from trio_relay.store.sqlite.transaction import described

EVENTS_AT_A_TIME: int = 1_000
_CHARACTERS_AT_A_TIME: Final = 2**22
_NO_LIMIT: Final = 1_000_000_000
_FORBIDDEN: Final = {Saved.DELETED: "its deletion was asked for", Saved.VANISHED: "its owner has vanished"}


def inspect(connection: apsw.Connection, verify: Verify | None) -> Iterator[Inspected]:
    """Look at everything.

    Args:
        connection: for reading, used by nobody else.
        verify: looks at signatures; None: nobody does.

    Raises:
        apsw.InterruptError: it was interrupted.
        apsw.Error: the database could not answer, but for what is wrong with the file.
    """
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, _NO_LIMIT)
    if damage := _damage(connection):
        yield Inspected(0, damage)
        return
    with _snapshot(connection):
        last: int = connection.execute("SELECT coalesce(max(seq), 0) FROM event").get
        yield Inspected(0, tuple(_numbers(connection)))
    tags = TagRows(last)
    after = 0
    while (portion := _looked_at(connection, after, last, tags, verify)) is not None:
        after, inspected = portion
        yield inspected
    with _snapshot(connection):
        yield Inspected(0, tuple(_orphans(connection, after)))
    for _ in tags.walk(connection):
        yield Inspected(0)
    with _snapshot(connection):
        yield Inspected(0, tuple(tags.faults(connection)))


@contextmanager
def _snapshot(connection: apsw.Connection) -> Iterator[None]:
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:  # an error may have ended it
            connection.execute("ROLLBACK")


def _damage(connection: apsw.Connection) -> tuple[Fault, ...]:
    """What SQLite itself finds wrong with the file, the index of words included."""
    try:
        found = [str(row[0]) for row in all_rows(connection, "PRAGMA integrity_check")]
    except (apsw.CorruptError, apsw.NotADBError) as error:
        found = [described(error)]
    return tuple(Fault(Aspect.FILE, "the database", line) for line in found if line != "ok")


def _numbers(connection: apsw.Connection) -> Iterator[Fault]:
    for table in ("numbering", "worded"):
        rows = connection.execute(f"SELECT count(*) FROM {table}").get  # noqa: S608  # our own names
        if rows != 1:
            yield Fault(Aspect.NUMBERS, table, f"{rows} rows, where there must be one")


class Row(NamedTuple):
    """A row of `event`."""

    seq: int
    id: bytes
    rank: int
    pubkey: bytes
    kind: int
    created_at: int
    address: bytes | None
    json: bytes

    @property
    def name(self) -> str:
        """What it is called where it is told of."""
        return self.id.hex()


def _looked_at(
    connection: apsw.Connection, after: int, last: int, tags: TagRows, verify: Verify | None
) -> tuple[int, Inspected] | None:
    """Look at the next rows; gives the number of the last, and what was found; None if there are no more."""
    with _snapshot(connection):
        rows = rows_between(connection, after, last)
        if not rows:
            return None
        return rows[-1].seq, Inspected(len(rows), tuple(_Portion(connection, after, rows).faults(tags, verify)))


class _Portion:
    """Some rows that follow each other, as they are at one moment.

    Args:
        connection: for reading.
        after: the number of the row before the first.
        rows: at least one.
    """

    def __init__(self, connection: apsw.Connection, after: int, rows: list[Row]) -> None:
        self._connection = connection
        self._after = after
        self.rows = rows

    def faults(self, tags: TagRows, verify: Verify | None) -> Iterator[Fault]:
        """Find what is wrong with them; `tags` is told how many rows of tags they should have."""
        whole: dict[int, Event] = {}
        for row in self.rows:
            event = event_of(row)
            if isinstance(event, str):
                tags.leave_out(row.seq)
                yield Fault(Aspect.EVENT, row.name, event)
                continue
            whole[row.seq] = event
            if wrong := _wrong_columns(row, event):
                yield Fault(Aspect.COLUMNS, event.id, f"not as its JSON says: {', '.join(wrong)}")
        if verify is not None:
            for event, is_right in zip(whole.values(), verify(list(whole.values())), strict=True):
                if not is_right:
                    yield Fault(Aspect.EVENT, event.id, "its signature is wrong")
        yield from self._beside(whole, tags)

    def _beside(self, whole: dict[int, Event], tags: TagRows) -> Iterator[Fault]:
        """Find what is wrong with all that is kept beside these events."""
        worded = worded_until(self._connection)
        for seq, event in whole.items():
            is_worded = worded is None or seq <= worded
            tags.expect(event.id, seq, tag_records(event, seq), mark_records(event, seq), is_marked=is_worded)
        yield from tags.missing(self._connection)
        yield from self._twice()
        yield from self._lacking(_EXPIRIES, Aspect.EXPIRY, {seq: _expiry(seq, event) for seq, event in whole.items()})
        words = {seq: _words(seq, event) for seq, event in whole.items() if worded is None or seq <= worded}
        yield from self._lacking(_WORDS, Aspect.WORDS, words)
        yield from forbidden(self._connection, list(whole.values()))

    def _twice(self) -> Iterator[Fault]:
        for event_id, seq in all_rows(self._connection, _TWICE, self.rows[0].seq, self.rows[-1].seq):
            yield Fault(Aspect.TWICE, event_id.hex(), f"as number {seq}, too")

    def _lacking(self, sql: str, aspect: Aspect, expected: dict[int, int]) -> Iterator[Fault]:
        """Compare what is kept for the rows of this portion, and for numbers in between, with what there should be."""
        names = {row.seq: row.name for row in self.rows}
        bounds = self._after, self.rows[-1].seq
        found: dict[int, int] = {seq: _number(value) for seq, value in all_rows(self._connection, sql, *bounds)}
        for seq in sorted(found.keys() | expected.keys()):
            if seq in names and seq not in expected:
                continue  # of an event that is none, or has no words yet
            if (there := found.get(seq, 0)) != (wanted := expected.get(seq, 0)):
                where = names.get(seq, f"number {seq}, which no event has")
                yield Fault(aspect, where, f"{there} is kept, where it should be {wanted} (0: nothing)")


def rows_between(connection: apsw.Connection, after: int, last: int) -> list[Row]:
    """The rows of numbers above one and up to another, in order: some of them, if they are many or large.

    Raises:
        apsw.Error: they could not be read.
    """
    rows: list[Row] = []
    characters = 0
    with closing(connection.execute(_ROWS, (after, last, EVENTS_AT_A_TIME))) as found:
        for values in found:
            rows.append(Row(*values))
            characters += len(rows[-1].json)
            if characters >= _CHARACTERS_AT_A_TIME:
                break
    return rows


def event_of(row: Row) -> Event | str:
    """The event of a row, or why there is none."""
    try:
        event = decode(row.json)
    except (ValueError, RecursionError):
        return "its JSON is no event"
    if (fault := check_shape(event)) is not None:
        return f"its JSON is no event: {fault}"
    return event if id_matches(event) else "its id is not that of its JSON"


def _wrong_columns(row: Row, event: Event) -> list[str]:
    address = address_of(event)
    wanted = Row(
        row.seq,
        bytes.fromhex(event.id),
        rank_of(bytes.fromhex(event.id)),
        bytes.fromhex(event.pubkey),
        event.kind,
        event.created_at,
        None if address is None else address_key(address),
        encode(event),
    )
    return [name for name, is_, should in zip(Row._fields, row, wanted, strict=True) if is_ != should]


def worded_until(connection: apsw.Connection) -> int | None:
    """The number up to which events have their words by today's rules; None if all have."""
    until, rules = connection.execute("SELECT until, rules FROM worded").get
    return until if rules == RULES else 0


def _expiry(seq: int, event: Event) -> int:
    records = expiry_records(event, seq)
    return int(records[0][16:]) if records else 0


def _words(seq: int, event: Event) -> int:
    records = word_records(event, seq)
    return len(records[0][16:].split()) if records else 0


def _number(value: object) -> int:
    """A number as it is kept: by FTS5 in groups of seven bits, the highest first (SQLite's varint)."""
    if isinstance(value, bytes):
        number = 0
        for byte in value:
            number = number << 7 | byte & 0x7F
        return number
    return int(str(value))


def forbidden(connection: apsw.Connection, events: Sequence[Event]) -> Iterator[Fault]:
    """Find events that a tombstone should have kept out, unless they are just being removed."""
    bare = [by_itself(event) for event in events]
    facts = look_up(connection, bare)
    going = {decode(json).pubkey for (json,) in all_rows(connection, _VANISHING)}
    vanished = {key: until for key, until in facts.vanished.items() if key not in going}
    for event in bare:
        outcome = judge([event], _against(event, facts, vanished)).outcomes[0]
        if outcome in _FORBIDDEN:
            yield Fault(Aspect.TOMBSTONE, event.id, _FORBIDDEN[outcome])


def _against(event: Event, facts: Facts, vanished: dict[str, int]) -> Facts:
    """What speaks against storing an event; facts of its own, since judging uses them up."""
    owners = version_of(event).belongs_to
    # The request itself stays, to show why.
    grace = 1 if event.kind == VANISH else 0
    against = Facts(
        id_tombstones={(event.id, owner) for owner in owners} & facts.id_tombstones,
        vanished={owner: vanished[owner] - grace for owner in owners if owner in vanished},
    )
    address = address_of(event)
    if address is not None and address in facts.address_tombstones:
        against.address_tombstones[address] = facts.address_tombstones[address]
    return against


def _orphans(connection: apsw.Connection, after: int) -> Iterator[Fault]:
    """Find what is kept for numbers behind the last event that was looked at, and for no event."""
    for aspect, table, column in ((Aspect.EXPIRY, "expiry", "seq"), (Aspect.WORDS, "word_docsize", "id")):
        sql = _ORPHANS.format(table=table, column=column)
        for (seq,) in all_rows(connection, sql, after):
            yield Fault(aspect, f"number {seq}, which no event has", "something is kept for it")


_ROWS: Final = """
SELECT seq, id, rank, pubkey, kind, created_at, address, CAST(json AS BLOB) FROM event
WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?
"""
_TWICE: Final = """
SELECT id, seq FROM event WHERE seq BETWEEN ? AND ?
AND EXISTS (
    SELECT 1 FROM event AS other WHERE other.rank = event.rank AND other.id = event.id AND other.seq < event.seq
)
"""
_EXPIRIES: Final = "SELECT seq, at FROM expiry WHERE seq > ? AND seq <= ?"
_WORDS: Final = "SELECT id, sz FROM word_docsize WHERE id > ? AND id <= ?"
_VANISHING: Final = "SELECT json FROM vanishing"
_ORPHANS: Final = """
SELECT {column} FROM {table} WHERE {column} > ?
AND NOT EXISTS (SELECT 1 FROM event WHERE event.seq = {table}.{column})
"""
