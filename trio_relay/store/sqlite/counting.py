"""What is told of events without the events: sketches of who wrote them, and records of when, and which.

Runs in the readers' threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import apsw
from msgspec.structs import replace

from trio_relay.nostr.filter import Filter
from trio_relay.nostr.hyperloglog import REGISTERS, Sketch
from trio_relay.store.sqlite.fetch import listed
from trio_relay.store.sqlite.planner import plan_all, plan_records, plan_sketch
from trio_relay.store.sqlite.search import joined_numbers, numbers

_RECORD_PART: Final = 30_000
"""Characters of numbers that make a page of records: some 4,000, and never more than a string of answers may hold."""


def sketch(connection: apsw.Connection, one: Filter, lapsed: int | None = None) -> Sketch:
    """The number and the registers of what a filter of `sketches.canonical_offset` matches.

    Raises:
        apsw.InterruptError: it was interrupted.
        apsw.Error: the database could not answer.
    """
    select = plan_sketch(one, lapsed)
    joined: str = connection.execute(select.sql, tuple(select.bindings)).get
    number, *seen = map(int, joined.split(","))
    registers = bytearray(REGISTERS)
    for each in seen:
        place, value = divmod(each, 64)
        registers[place] = max(registers[place], value)
    return Sketch(number, bytes(registers))


def record_numbers(connection: apsw.Connection, one: Filter, lapsed: int | None = None) -> str:
    """The numbers of what a filter matches, newest first, commas between them; `record_parts` cuts it.

    Raises:
        apsw.InterruptError: it was interrupted.
        apsw.Error: the database could not answer.
    """
    select = plan_records(one, lapsed)
    return "" if select is None else joined_numbers(connection, select)


def record_parts(joined: str) -> Iterator[str]:
    """The same numbers, in parts that `records` takes."""
    start = 0
    while start < len(joined):
        end = joined.find(",", start + _RECORD_PART)
        yield joined[start:end] if end >= 0 else joined[start:]
        start = end + 1 if end >= 0 else len(joined)


def records(connection: apsw.Connection, part: str, lapsed: int | None = None) -> bytes:
    """The records (`base.Queryable.records`) of the events of a part; of those removed or expired there is none.

    Raises:
        apsw.InterruptError: it was interrupted.
        apsw.Error: the database could not answer.
    """
    select = listed(list(map(int, part.split(","))), lapsed)
    joined: str | None = connection.execute(_RECORDS.format(select.sql), tuple(select.bindings)).get
    return bytes.fromhex(joined or "")


def matching(connection: apsw.Connection, filters: Sequence[Filter]) -> list[int]:
    """The numbers of all that matches any of the filters, whoever may read it, expired or not; in no order.

    Raises:
        apsw.InterruptError: it was interrupted.
        apsw.Error: the database could not answer.
    """
    select = plan_all([replace(one, reader=None) for one in filters])
    return [] if select is None else numbers(connection, select)


_RECORDS: Final = """
SELECT group_concat((SELECT printf('%016x', created_at) || hex(id) FROM event WHERE event.seq = narrow.seq), '')
FROM ({}) AS narrow
"""
