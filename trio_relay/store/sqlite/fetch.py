"""Fetches answers from the database, many rows at a time as one string, and counts. Runs in the readers' threads.

Row by row, each step gives up the GIL, and beside a busy loop may wait a switch interval to get it back. Mostly both
ways cost about the same; the worst seen for 500 rows was 702 ms row by row and 24 ms as one string. So where events are
cached (`event_cache`), one string brings the numbers of all rows, and another one the JSON of those that are missing.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Final

import apsw
from msgspec.structs import replace

from trio_relay.nostr.filter import Filter
from trio_relay.nostr.hyperloglog import REGISTERS, Sketch
from trio_relay.nostr.kinds import VANISH
from trio_relay.store.base import Page
from trio_relay.store.sqlite.event_cache import EventCache
from trio_relay.store.sqlite.planner import plan, plan_all, plan_count, plan_records, plan_sketch
from trio_relay.store.sqlite.rows import FIND_EVENTS, id_record, rank_of
from trio_relay.store.sqlite.search import find, joined_numbers, numbers
from trio_relay.store.sqlite.sql import Select, Where

_PAGE_ROWS: Final = 500
PAGE_BYTES: int = 2**19
"""Most bytes of an answer string, whatever the events' sizes: beyond it SQLite fails and the page is halved."""
NO_LIMIT: Final = 1_000_000_000


class Cursor:
    """The position in an answer: the row numbers still to be fetched, in order, and how many at a time."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.rows = _PAGE_ROWS


def limit_answers(connection: apsw.Connection) -> None:
    """Limit the strings of this connection to a page."""
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, PAGE_BYTES)


def first_page(
    connection: apsw.Connection,
    filters: Sequence[Filter],
    cursor: Cursor,
    now: int,
    expired_by: int | None = None,
    cache: EventCache | None = None,
) -> Page:
    """Fetch the whole answer if it fits into one page, else its first part; `cursor` then holds the rest.

    Args:
        connection: for reading.
        filters: each has a limit.
        cursor: an empty one.
        now: seconds since 1970, for searches that look at ages.
        expired_by: events that expire up to this second are left out; None if no stored event does.
        cache: of events, which are looked up there before they are in the database.

    Raises:
        apsw.InterruptError: the query was interrupted.
        apsw.Error: the database could not answer.
    """
    if any_search(filters):
        cursor.seqs = find(connection, filters, now, expired_by)
        return next_page(connection, cursor, expired_by)
    select = plan(filters, expired_by)
    if select is None:
        return []
    try:
        return whole_answer(connection, select, cache)
    except apsw.TooBigError:
        cursor.seqs = numbers(connection, select)
        return next_page(connection, cursor, expired_by)


def any_search(filters: Sequence[Filter]) -> bool:
    """Return True if one of the filters searches, so that the answer has an order of its own."""
    return any(filter_.search is not None for filter_ in filters)


def count(connection: apsw.Connection, filters: Sequence[Filter], expired_by: int | None = None) -> int:
    """Count the events that match any of the filters; events that expire up to `expired_by` are left out.

    Raises:
        apsw.InterruptError: it was interrupted.
        apsw.Error: the database could not answer.
    """
    select = plan_count(filters, expired_by)
    if select is None:
        return 0
    number: int = connection.execute(select.sql, tuple(select.bindings)).get
    return number


def whole_answer(connection: apsw.Connection, narrow: Select, cache: EventCache | None) -> Page:
    """Fetch all events of a narrow SELECT.

    Raises:
        apsw.TooBigError: they are longer than a page.
        apsw.InterruptError: the query was interrupted.
        apsw.Error: the database could not answer.
    """
    if cache is None:
        return lines(connection, _whole(narrow))
    joined: str | None = connection.execute(_NUMBERS.format(narrow.sql), tuple(narrow.bindings)).get
    if joined is None:
        return []
    found = joined.split(",")
    page = cache.all_of(found)
    if page is None and (page := _completed(connection, found, cache)) is None:
        return lines(connection, _whole(narrow))
    if sum(map(len, page)) > PAGE_BYTES:
        raise apsw.TooBigError
    return page


def _completed(connection: apsw.Connection, found: list[str], cache: EventCache) -> Page | None:
    """Fetch what the cache has not; None if something was removed since it was found, perhaps for a newer version."""
    cached = cache.some_of(found)
    missing = [number for number in found if number not in cached]
    if missing:
        page = lines(connection, Select(_GIVEN, [apsw.carray(array("q", map(int, missing)))]))
        if len(page) < len(missing):
            return None
        fetched = dict(zip(missing, page, strict=True))
        cache.put(fetched.items())
        cached |= fetched
    return [cached[number] for number in found]


def _whole(narrow: Select) -> Select:
    return Select(_ALL_AT_ONCE.format(narrow.sql), narrow.bindings)


def lines(connection: apsw.Connection, select: Select) -> Page:
    """Run a SELECT of one string, and split it into events."""
    blob = connection.execute(select.sql, tuple(select.bindings)).get
    return blob.split(b"\n") if blob else []


def next_page(connection: apsw.Connection, cursor: Cursor, expired_by: int | None = None) -> Page:
    """Fetch the next part of an answer; empty at its end. What was removed or has expired meanwhile is left out."""
    while cursor.seqs:
        part = cursor.seqs[: cursor.rows]
        try:
            page = _fetch(connection, part, expired_by)
        except apsw.TooBigError:
            cursor.rows = max(1, len(part) // 2)
            continue
        del cursor.seqs[: cursor.rows]
        # Large events often come together, so the next page starts small, too, and grows again.
        cursor.rows = min(2 * cursor.rows, _PAGE_ROWS)
        if page:
            return page
    return []


def fill_scan(connection: apsw.Connection, after: int, cursor: Cursor) -> None:
    """Put the numbers of the next events above `after` into the cursor, in the order in which the events came."""
    cursor.seqs = numbers(connection, Select(_SCAN, [after, _PAGE_ROWS]))


def listed(seqs: Sequence[int], expired_by: int | None) -> Select:
    """Make the SELECT of these numbers in their order as `seq`, without events that have expired by `expired_by`."""
    where = Where().living(expired_by, "given")
    condition = f"WHERE {where.terms[0]}" if where.terms else ""
    return Select(_LISTED.format(condition), [apsw.carray(array("q", seqs)), *where.bindings])


def known(connection: apsw.Connection, ids: Sequence[str]) -> set[str]:
    """Return the ids that are stored; requests to vanish that were not carried out are left to `judge`."""
    if len(ids) == 1:  # for a lone event: a quarter of the cost
        raw = bytes.fromhex(ids[0])
        return {ids[0]} if connection.execute(_IS_KNOWN, (rank_of(raw), raw)).get else set()
    bound = tuple(map(id_record, ids))
    if not bound:
        return set()
    found = connection.execute(_KNOWN, (apsw.carray(bound),)).get or ""
    return set(found.split())


def _fetch(connection: apsw.Connection, seqs: Sequence[int], expired_by: int | None) -> Page:
    single = len(seqs) == 1
    if single:  # one event may be longer than a page, if the operator allows such messages
        connection.limit(apsw.SQLITE_LIMIT_LENGTH, NO_LIMIT)
    try:
        return lines(connection, _whole(listed(seqs, expired_by)))
    finally:
        if single:
            limit_answers(connection)


# No JSON text holds a line feed, so line feeds separate the events. SQLite keeps a subquery's order for group_concat,
# since that is not one of the aggregates whose order does not matter.
_ALL_AT_ONCE: Final = """
SELECT CAST(group_concat((SELECT json FROM event WHERE event.seq = narrow.seq), char(10)) AS BLOB)
FROM ({}) AS narrow
"""
_NUMBERS: Final = "SELECT group_concat(seq) FROM ({})"
_GIVEN: Final = """
SELECT CAST(group_concat((SELECT json FROM event WHERE event.seq = value), char(10)) AS BLOB) FROM carray(?)
"""
_LISTED: Final = "SELECT seq FROM (SELECT value AS seq FROM carray(?)) AS given {}"
_SCAN: Final = "SELECT seq FROM event WHERE seq > ? ORDER BY seq LIMIT ?"
_IS_CARRIED_OUT: Final = f"""(kind <> {VANISH} OR EXISTS (
    SELECT 1 FROM tombstone
    WHERE tombstone.target = event.pubkey AND tombstone.pubkey = event.pubkey AND tombstone.until > event.created_at
))"""  # noqa: S608  # all of it is our own text
_IS_KNOWN: Final = f"SELECT 1 FROM event WHERE rank = ? AND id = ? AND {_IS_CARRIED_OUT}"  # noqa: S608  # our own text
_KNOWN: Final = f"""
SELECT group_concat(lower(hex(id)), ' ') FROM {FIND_EVENTS} WHERE {_IS_CARRIED_OUT}
"""  # noqa: S608  # all of it is our own text


RECORD_PART: int = 30_000
"""Characters of numbers in a page of records: about 4,000 records, which always fit into an answer string."""


def sketch(connection: apsw.Connection, filter_: Filter, expired_by: int | None = None) -> Sketch:
    """Count what a filter of `hyperloglog.canonical_offset` matches, with its registers.

    Raises:
        apsw.InterruptError: it was interrupted.
        apsw.Error: the database could not answer.
    """
    select = plan_sketch(filter_, expired_by)
    joined: str = connection.execute(select.sql, tuple(select.bindings)).get
    number, *seen = map(int, joined.split(","))
    registers = bytearray(REGISTERS)
    for each in seen:
        place, value = divmod(each, 64)
        registers[place] = max(registers[place], value)
    return Sketch(number, bytes(registers))


def record_numbers(connection: apsw.Connection, filter_: Filter, expired_by: int | None = None) -> str:
    """Find the numbers of what a filter matches, newest first, with commas between; `record_parts` splits it.

    Raises:
        apsw.InterruptError: it was interrupted.
        apsw.Error: the database could not answer.
    """
    select = plan_records(filter_, expired_by)
    return "" if select is None else joined_numbers(connection, select)


def record_parts(joined: str) -> Iterator[str]:
    """Split such numbers into parts for `records`."""
    start = 0
    while start < len(joined):
        end = joined.find(",", start + RECORD_PART)
        yield joined[start:end] if end >= 0 else joined[start:]
        start = end + 1 if end >= 0 else len(joined)


def records(connection: apsw.Connection, part: str, expired_by: int | None = None) -> bytes:
    """Fetch the sync records (`base.Queryable.records`) of a part; removed and expired events have none.

    Raises:
        apsw.InterruptError: it was interrupted.
        apsw.Error: the database could not answer.
    """
    select = listed(list(map(int, part.split(","))), expired_by)
    joined: str | None = connection.execute(_RECORDS.format(select.sql), tuple(select.bindings)).get
    return bytes.fromhex(joined or "")


def newest(connection: apsw.Connection) -> int:
    """Return the last number of an event that is there now, 0 if there is none.

    Raises:
        apsw.Error: the database could not answer.
    """
    number: int = connection.execute(_NEWEST).get
    return number


_NEWEST: Final = "SELECT coalesce(max(seq), 0) FROM event"


def matching(connection: apsw.Connection, filters: Sequence[Filter]) -> list[int]:
    """Find the numbers of all events that match any of the filters, readable or not, expired or not; in no order.

    Raises:
        apsw.InterruptError: it was interrupted.
        apsw.Error: the database could not answer.
    """
    select = plan_all([replace(filter_, reader=None) for filter_ in filters])
    return [] if select is None else numbers(connection, select)


_RECORDS: Final = """
SELECT group_concat((SELECT printf('%016x', created_at) || hex(id) FROM event WHERE event.seq = narrow.seq), '')
FROM ({}) AS narrow
"""
