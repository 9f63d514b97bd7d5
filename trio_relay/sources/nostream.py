"""The events of nostream, which keeps them in Postgres: from a text that pg_dump wrote, or from the database itself.

The table `events` has one column for each field of an event; those that every version has had are read, by their names.
Rows with `deleted_at` are hidden from nostream's clients, and left out. What has expired is given: whoever takes it in
knows the time. psycopg is known here alone, and needed for databases only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trio_relay.nostr.event import Event, check_shape, encode
from trio_relay.nostr.urls import UNREADABLE, bare_url, is_ambiguous
from trio_relay.sources.lines import DEFAULT_BOUNDS, Line, LineBounds
from trio_relay.sources.packed import BrokenFile

if TYPE_CHECKING:
    import psycopg

DUMP_START: Final = b"--\n-- PostgreSQL database"
"""The first bytes of every text that pg_dump writes, and pg_dumpall."""
DELETED: Final = "deleted there"

_COLUMNS: Final = (
    "event_id",
    "event_pubkey",
    "event_created_at",
    "event_kind",
    "event_tags",
    "event_content",
    "event_signature",
)
_DELETED_AT: Final = "deleted_at"
_NO_TABLE: Final = "holds no table `events` as nostream makes it"


def read_dump(
    texts: Iterable[bytes | None], left_out: Counter[str], bounds: LineBounds = DEFAULT_BOUNDS
) -> Generator[Line, None, None]:
    """Read the events of a dump, in the memory of one.

    Args:
        texts: the lines of what `pg_dump` writes as a plain text, with their ends; None for one that is longer than
            the bounds allow.
        left_out: counts the rows that are not given, by why.
        bounds: of a row that holds more, only the fault is given.

    Returns:
        A line for each row of `events` that is not deleted, with the number that it has in the dump.

    Raises:
        BrokenFile: from a step, if there are no events of nostream in it, or it breaks off within them.
    """
    is_found = False
    columns: list[str] | None = None  # of the rows of events; None elsewhere
    is_in_rows = False
    number = 0
    for number, text in enumerate(texts, 1):
        if text is None:
            if columns is not None:
                yield Line(number, 0, None, bounds.too_long)
            continue
        text = text.rstrip(b"\r\n")
        if not is_in_rows:
            if (head := _COPY.match(text)) is not None:
                is_in_rows, columns = True, _columns_of(head)
                is_found = is_found or columns is not None
        elif text == rb"\.":
            is_in_rows, columns = False, None
        elif columns is not None:
            fields = dict(zip(columns, map(_unescaped, text.split(b"\t")), strict=False))
            if fields.get(_DELETED_AT) is not None:
                left_out[DELETED] += 1
            else:
                yield _line(number, fields, bounds)
    if is_in_rows:
        raise BrokenFile(f"after line {number}: the dump ends among the rows of a table, so a part is missing")
    if not is_found:
        raise BrokenFile(f"the dump {_NO_TABLE} (with COPY, which is pg_dump's own way)")


_COPY: Final = re.compile(rb'COPY (?:\S+\.)?("?\w+"?) \((.*)\) FROM stdin;')


def _columns_of(head: re.Match[bytes]) -> list[str] | None:
    """Return the columns of the rows that follow, if these are nostream's events."""
    table, listed = (part.decode("utf-8", "replace").replace('"', "") for part in head.groups())
    columns = listed.split(", ")
    return columns if table == "events" and set(_COLUMNS) <= set(columns) else None


_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPES: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def _unescaped(field: bytes) -> str | None:
    r"""Return what a field of COPY's text form stands for; None for NULL (PostgreSQL, "COPY", "Text Format")."""
    if field == rb"\N":
        return None
    if b"\\" in field:
        field = _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), field)
    return field.decode("utf-8", "surrogateescape")  # which no event can hold, so it is told of that row alone


def read_postgres(
    url: str,
    left_out: Counter[str],
    opened: Callable[[int], None],
    progress: Callable[[int], None],
    bounds: LineBounds = DEFAULT_BOUNDS,
) -> Generator[Line, None, None]:
    """Read the events of a database, oldest first, in one read-only transaction and the memory of some hundred rows.

    Args:
        url: `postgresql://…`, as libpq takes it; what it leaves out comes from libpq's own variables and files.
        left_out: counts the rows that are not given, by why.
        opened: called with the bytes that the table has on disk, once it is known.
        progress: called with the part of these bytes that was read, as far as the number of rows tells.
        bounds: see `read_dump`.

    Returns:
        A line for each row of `events` that is not deleted; its number is its place in the order.

    Raises:
        BrokenFile: from a step, if psycopg is not installed, this is no database of nostream, or it cannot be read.
    """
    try:
        import psycopg  # of the extra `postgres`
    except ImportError as error:
        raise BrokenFile("reading from Postgres needs psycopg: pip install 'trio-relay[postgres]'") from error
    _check_url(url)
    number = 0
    try:
        with psycopg.connect(url, connect_timeout=10, keepalives_idle=30) as database:
            database.read_only = True
            database.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            is_deleted = _deleted_column(database)
            rows, size = _extent(database)
            opened(size)
            with database.cursor("events") as cursor:
                cursor.itersize = _ROWS
                cursor.execute(_ORDERED.format(is_deleted).encode())
                for number, row in enumerate(cursor, 1):
                    if row[-1]:
                        left_out[DELETED] += 1
                    else:
                        yield _line(number, dict(zip(_COLUMNS, row[:-1], strict=True)), bounds)
                    progress(size * number // rows - size * (number - 1) // rows)
    except psycopg.Error as error:
        said = " ".join(str(error).split())
        raise BrokenFile(f"after row {number}: {said}" if number else f"cannot read the database: {said}") from error


def _check_url(url: str) -> None:
    """Refuse a URL that cannot be read: what libpq says of one repeats a part of its password.

    Raises:
        BrokenFile: if it cannot.
    """
    import psycopg
    from psycopg import conninfo

    try:
        ports = str(conninfo.conninfo_to_dict(url).get("port") or "")
    except psycopg.ProgrammingError:
        raise BrokenFile(f"cannot read the database {bare_url(url)}: {UNREADABLE}") from None
    if is_ambiguous(url) or not re.fullmatch(r"[0-9,]*", ports):
        raise BrokenFile(f"cannot read the database {bare_url(url)}: {UNREADABLE}")


_ROWS: Final = 500
"""Rows that the server hands over at a time."""
_ORDERED: Final = (
    "SELECT encode(event_id, 'hex'), encode(event_pubkey, 'hex'), event_created_at, event_kind, event_tags::text,"
    " event_content, encode(event_signature, 'hex'), {} FROM events ORDER BY event_created_at, event_id"
)


def _deleted_column(database: psycopg.Connection[tuple[Any, ...]]) -> str:
    """Return what says whether a row is deleted; early versions had nothing that did.

    Raises:
        BrokenFile: if there is no table of nostream's.
    """
    found = database.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('events') AND attnum > 0 AND NOT attisdropped"
    )
    columns = {name for (name,) in found}
    if not set(_COLUMNS) <= columns:
        raise BrokenFile(f"the database {_NO_TABLE}")
    return "deleted_at IS NOT NULL" if _DELETED_AT in columns else "FALSE"


def _extent(database: psycopg.Connection[tuple[Any, ...]]) -> tuple[int, int]:
    """Return how many rows there are, and the bytes that they have on disk."""
    found = database.execute("SELECT count(*), pg_table_size('events') FROM events").fetchone()
    return (0, 0) if found is None else (found[0], found[1])


def _line(number: int, fields: Mapping[str, Any], bounds: LineBounds) -> Line:
    """Return the line of a row, whose fields are as either way has them."""
    tags = fields.get("event_tags") or "[]"
    if (excess := bounds.held.excess(tags.encode("utf-8", "surrogateescape"))) is not None:
        return Line(number, 0, None, excess)
    try:
        read = Event(
            fields["event_id"].removeprefix("\\x"),  # as a bytea is written in a dump
            fields["event_pubkey"].removeprefix("\\x"),
            int(fields["event_created_at"]),
            int(fields["event_kind"]),
            _decode_tags(tags),
            fields["event_content"] or "",
            fields["event_signature"].removeprefix("\\x"),
        )
        wrong, size = check_shape(read), len(encode(read))
    except (KeyError, AttributeError, TypeError, ValueError) as error:  # what msgspec raises is a ValueError, too
        return Line(number, 0, None, f"the row holds no event: {error}")
    return Line(number, size, None, wrong) if wrong else Line(number, size, read)


_decode_tags: Final = msgspec.json.Decoder(list[list[str]]).decode
