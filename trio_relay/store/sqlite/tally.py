"""Counts what the database holds, from its indexes alone: no row of an event is read. Runs in a reader's thread.

Each statement reads the newest state for itself, so that no snapshot lasts for longer than one of them.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from trio_relay.nostr.filter import Filter
from trio_relay.store.base import StoreError
from trio_relay.store.insight import (
    DAY_SECONDS,
    MOST_AUTHORS,
    MOST_DAYS,
    MOST_KINDS,
    Expiring,
    Holdings,
    OfAuthor,
    OfDay,
    OfKind,
    day_of,
)
from trio_relay.store.inspection import Space
from trio_relay.store.sqlite.fetch import matching
from trio_relay.store.sqlite.sql import Binding

SPARE_BYTES: Final = 2**24
"""What a copy leaves of a disk: a relay that goes on beside it must not find it full."""


def tally(connection: apsw.Connection) -> Holdings:
    """Count what is stored.

    Raises:
        apsw.InterruptError: it was interrupted.
        apsw.Error: the database could not answer.
    """
    total, kinds = _read(connection, _KINDS, MOST_KINDS)
    authors = _read(connection, _AUTHORS, MOST_AUTHORS)
    number, following = _read(connection, _EXPIRIES)
    return Holdings(
        total,
        tuple(OfKind(*one) for one in kinds),
        tuple(_days(connection)),
        tuple(OfAuthor(*one) for one in authors),
        Expiring(number, following),
    )


def kinds_of(connection: apsw.Connection, filters: Sequence[Filter]) -> dict[int, int]:
    """Count, by kind, what a removal of these filters would remove.

    Raises:
        apsw.InterruptError: it was interrupted.
        apsw.Error: the database could not answer.
    """
    seqs, kinds = matching(connection, filters), Counter[int]()
    for start in range(0, len(seqs), _NUMBERS_AT_A_TIME):
        part = apsw.carray(array("q", seqs[start : start + _NUMBERS_AT_A_TIME]))
        kinds.update(dict(_read(connection, _KINDS_OF, part)))
    return dict(sorted(kinds.items()))


def space(connection: apsw.Connection, path: Path) -> Space:
    """Tell the room that the file takes.

    Raises:
        apsw.InterruptError: it was interrupted.
        apsw.Error: the database could not answer.
    """
    log_bytes = size_of(Path(f"{path}-wal"))
    free_bytes = int(connection.pragma("freelist_count")) * int(connection.pragma("page_size"))
    return Space(size_of(path) + log_bytes, log_bytes, free_bytes, None, *_read(connection, _SPACE))


def size_of(path: Path) -> int:
    """The bytes of a file; 0 if it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def free_room(path: Path) -> int | None:
    """The bytes that are free for whoever is not root where a file is; None if that cannot be told."""
    try:
        system = os.statvfs(path.parent)
    except OSError:
        return None
    return system.f_bavail * system.f_frsize


def bytes_of_copy(connection: apsw.Connection) -> int:
    """The bytes of a copy of the file without its free pages."""
    pages = int(connection.pragma("page_count")) - int(connection.pragma("freelist_count"))
    return pages * int(connection.pragma("page_size"))


def check_room(path: Path, needed: int) -> None:
    """Refuse to begin, or to go on with, what needs so many bytes more where a file is, and `SPARE_BYTES` for others.

    Raises:
        StoreError: there are fewer.
    """
    room = free_room(path)
    if room is not None and room < needed + SPARE_BYTES:
        missing = (needed + SPARE_BYTES - room) / 1_000_000
        raise StoreError(f"{path.parent} has not the room for a second file: {missing:,.0f} MB more are needed")


def _days(connection: apsw.Connection) -> list[OfDay]:
    """Count the newest days, one after the other: of all others not even the index is read."""
    days: list[OfDay] = []
    until: int | None = connection.execute(_NEWEST, (_FOR_EVER,)).get
    while until is not None and len(days) < MOST_DAYS:
        day = until // DAY_SECONDS
        number = connection.execute(_OF_DAY, (day * DAY_SECONDS, until)).get
        days.append(OfDay(day_of(day), number))
        until = connection.execute(_NEWEST, (day * DAY_SECONDS - 1,)).get
    return days


def _read(connection: apsw.Connection, sql: str, *bindings: Binding) -> Any:
    text: str = connection.execute(sql, bindings).get
    return _decode(text)


_decode: Final = msgspec.json.Decoder(Any).decode
_FOR_EVER: Final = 2**62
_NUMBERS_AT_A_TIME: Final = 10_000
_NEWEST: Final = "SELECT max(created_at) FROM event INDEXED BY event_time WHERE created_at <= ?"
_OF_DAY: Final = "SELECT count(*) FROM event INDEXED BY event_time WHERE created_at BETWEEN ? AND ?"
# One string each, as everything that comes from a thread; see `fetch`.
_KINDS: Final = """
WITH counted AS MATERIALIZED (SELECT kind, count(*) AS number FROM event INDEXED BY event_kind GROUP BY kind)
SELECT json_array((SELECT coalesce(sum(number), 0) FROM counted), json((
    SELECT json_group_array(json_array(kind, number))
    FROM (SELECT kind, number FROM counted ORDER BY number DESC, kind LIMIT ?)
)))
"""
_AUTHORS: Final = """
SELECT json_group_array(json_array(lower(hex(pubkey)), number)) FROM (
    SELECT pubkey, count(*) AS number FROM event INDEXED BY event_author_kind GROUP BY pubkey
    ORDER BY number DESC, pubkey LIMIT ?
)
"""
_EXPIRIES: Final = "SELECT json_array(count(*), min(at)) FROM expiry"
_KINDS_OF: Final = """
SELECT json_group_array(json_array(kind, number)) FROM (
    SELECT kind, count(*) AS number FROM carray(?1) CROSS JOIN event ON seq = value GROUP BY kind
)
"""
_SPACE: Final = """
SELECT json_array(
    (SELECT count(*) FROM word_docsize), (SELECT count(*) FROM tombstone),
    (SELECT count(*) FROM kept), (SELECT coalesce(sum(length(name) + length(value)), 0) FROM kept)
)
"""
