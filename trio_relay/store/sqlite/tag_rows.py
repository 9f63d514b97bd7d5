"""Compares the rows of `tag` with what events should have: each event's are counted, and looked at where that differs.

The table is in the order of its keys, which are hashes, so that the rows of one event lie all over it. Four bytes an
event are enough to find those that have too few rows or too many.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, TypeAlias

import apsw

from trio_relay.store.inspection import Aspect, Fault
from trio_relay.store.sqlite.rows import all_rows

_ROWS_AT_A_TIME: Final = 20_000
_MOST_COMPARED: Final = 1_000
"""Events whose rows are compared; where more differ, it is the table that is wrong."""
_SLICES: Final = 2**32
"""Of all keys, by their first four bytes."""

TagRow: TypeAlias = tuple[bytes, int, int, int, int, int]
"""key, created_at, rank, seq, kind, sketch."""


class TagRows:
    """How many rows each event should have, and how many less were found.

    Args:
        last: the number of the last event that counts.
    """

    def __init__(self, last: int) -> None:
        self._last = last
        self._counts = array("i", bytes(array("i").itemsize * (last + 1)))
        self._total = 0
        self._left_out: set[int] = set()
        self._beyond: set[int] = set()
        """Numbers of rows that are of no event that counts: most are of events that came meanwhile."""
        self._waiting: list[tuple[str, list[bytes]]] = []
        self._optional: dict[int, set[TagRow]] = {}
        """By number, rows of marks that may be there or not: those words are still being made."""

    def leave_out(self, seq: int) -> None:
        """Nobody knows what rows this event should have."""
        self._left_out.add(seq)

    def expect(self, event_id: str, seq: int, tags: list[bytes], marks: list[bytes], *, is_marked: bool) -> None:
        """An event should have these rows.

        Args:
            event_id: of the event.
            seq: its number.
            tags: `rows.tag_records`.
            marks: `rows.mark_records`.
            is_marked: False: the latter may be there or not.
        """
        records = tags + marks if is_marked else tags
        self._counts[seq] += len(records)
        self._total += len(records)
        if records:
            self._waiting.append((event_id, records))
        if marks and not is_marked:
            self._optional[seq] = set(map(_row_of, marks))

    def missing(self, connection: apsw.Connection) -> Iterator[Fault]:
        """Find those of the last events that lack a row, on the snapshot in which they were read."""
        records = [record for _, expected in self._waiting for record in expected]
        lacking = set[bytes]()
        if records:
            lacking = {row[0] for row in all_rows(connection, _MISSING, apsw.carray(tuple(records)))}
        for event_id, expected in self._waiting:
            if number := sum(record in lacking for record in expected):
                yield Fault(Aspect.TAGS, event_id, f"{number} of {len(expected)} rows are missing or wrong")
                (seq,) = {_row_of(record)[3] for record in expected}
                self._counts[seq] -= number  # that is told
        self._waiting.clear()

    def walk(self, connection: apsw.Connection) -> Iterator[None]:
        """Count the rows that are there, a slice of all keys at a time."""
        slices = self._total // _ROWS_AT_A_TIME + 1
        bounds = [_SLICES * number // slices for number in range(slices + 1)]
        for start, end in pairwise(bounds):
            found = connection.execute(_SLICE, (_key(start), _key(end) if end < _SLICES else _LAST_KEY)).get
            for text in found.split(",") if found else ():
                if 0 < (seq := int(text)) <= self._last:
                    self._counts[seq] -= 1
                elif len(self._beyond) < _MOST_COMPARED:
                    self._beyond.add(seq)
            yield

    def faults(self, connection: apsw.Connection) -> Iterator[Fault]:
        """Find the rows that are there and should not be, on one snapshot: events may have gone in between."""
        suspects = [seq for seq, count in enumerate(self._counts) if count and seq not in self._left_out]
        if len(suspects) > _MOST_COMPARED:
            yield Fault(Aspect.TAGS, f"{len(suspects):,} events", "have other numbers of rows than they should")
            return
        bound = apsw.carray(array("q", [0, *suspects, *self._beyond]))
        names: dict[int, bytes] = dict(all_rows(connection, _NAMES, bound))
        there, marks = Counter[int](), Counter[int]()
        for row in all_rows(connection, _OF_EVENTS, bound):
            seq = row[3]
            there[seq] += 1
            marks[seq] += row in self._optional.get(seq, ())
        for seq, rows in sorted(there.items()):
            if seq not in names:
                yield Fault(Aspect.TAGS, f"number {seq}, which no event has", f"{rows} rows are kept for it")
            elif seq not in self._beyond and (number := -self._counts[seq] - marks[seq]) > 0:
                yield Fault(Aspect.TAGS, names[seq].hex(), f"{number} rows more than it should have")


def _row_of(record: bytes) -> TagRow:
    """The row of a record of `rows.tag_records`."""
    seq, rank, kind, created_at = record[16:32], record[32:51], record[51:56], record[56:66]
    return record[:16], int(created_at), int(rank), int(seq), int(kind), int(record[66:] or b"0")


def _key(start: int) -> bytes:
    return start.to_bytes(4, "big")


_LAST_KEY: Final = b"\xff" * 17
"""Behind all of them."""
_MISSING: Final = """
SELECT CAST(value AS BLOB) FROM carray(?1) WHERE NOT EXISTS (
    SELECT 1 FROM tag
    WHERE key = substr(value, 1, 16) AND created_at = CAST(substr(value, 57, 10) AS INTEGER)
      AND rank = CAST(substr(value, 33, 19) AS INTEGER) AND seq = CAST(substr(value, 17, 16) AS INTEGER)
      AND kind = CAST(substr(value, 52, 5) AS INTEGER) AND sketch = CAST(substr(value, 67) AS INTEGER)
)
"""
_SLICE: Final = "SELECT group_concat(seq) FROM tag WHERE key >= ? AND key < ?"
_OF_EVENTS: Final = """
SELECT key, created_at, rank, seq, kind, sketch FROM tag WHERE seq IN (SELECT value FROM carray(?1))
"""
_NAMES: Final = "SELECT seq, id FROM event WHERE seq IN (SELECT value FROM carray(?1))"
