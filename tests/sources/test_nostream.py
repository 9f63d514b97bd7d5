"""The events of nostream, from a real Postgres and from what pg_dump makes of it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator

import msgspec
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sources.postgres_server import INSERT, TABLE, Postgres, row, running
from tests.support.keys import ALICE, BOB, NOW
from trio_relay import Event
from trio_relay.sources import BrokenFile, Line, nostream

ODD = "é \u2028 \x01\x0b\x0c\x7f \\ \\N \\. \\x41 \" ' \t\r\n\\.\nCOPY public.events (event_id) FROM stdin;\n🦀"
EVENTS = [
    BOB.event("the first of all", created_at=NOW - 9, tags=[["t", "ü"], ["e"], [], ["d", "x:y"]]),
    ALICE.event("a note", tags=[["d", ODD]]),
    ALICE.event(ODD, created_at=NOW + 1),
    ALICE.event("", created_at=NOW + 2, kind=5, tags=[["e", "a" * 64]]),
    ALICE.event(r"\N", created_at=NOW + 3, tags=[["expiration", "1"]]),
]
DELETED = BOB.event("deleted", created_at=NOW + 4)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running() as server:
        yield server


@pytest.fixture
def url(postgres: Postgres) -> str:
    """A database that holds the events, newest first, and one that was deleted."""
    url = postgres.database()
    fill(url, [*EVENTS, DELETED][::-1])
    with psycopg.connect(url) as database:
        database.execute("UPDATE events SET deleted_at = now() WHERE event_id = %s", [bytes.fromhex(DELETED.id)])
    return url


def fill(url: str, events: list[Event]) -> None:
    with psycopg.connect(url) as database, database.cursor() as cursor:
        cursor.executemany(INSERT, [(*row(event), msgspec.json.encode(event.tags).decode()) for event in events])


def read_postgres(url: str, left_out: Counter[str] | None = None) -> list[Line]:
    counts = Counter[str]() if left_out is None else left_out
    return list(nostream.read_postgres(url, counts, lambda _size: None, lambda _bytes: None))


def read_dump(data: bytes, left_out: Counter[str] | None = None) -> list[Line]:
    return list(nostream.read_dump(data.splitlines(keepends=True), Counter() if left_out is None else left_out))


def by_id(lines: list[Line]) -> dict[str, Event]:
    return {line.event.id: line.event for line in lines if line.event is not None}


def test_a_database_is_read_oldest_first_without_what_was_deleted(url: str) -> None:
    left_out = Counter[str]()
    lines = read_postgres(url, left_out)
    assert [line.event for line in lines] == EVENTS
    assert [line.size for line in lines] == [len(msgspec.json.encode(event)) for event in EVENTS]
    assert left_out == {nostream.DELETED: 1}


@pytest.mark.parametrize("options", [[], ["--data-only"], ["--quote-all-identifiers"], ["--table=events"]])
def test_a_dump_holds_the_same(postgres: Postgres, url: str, options: list[str]) -> None:
    dump = postgres.run("pg_dump", *options, f"--dbname={url}")
    assert dump.startswith(nostream.DUMP_START)
    left_out = Counter[str]()
    assert by_id(read_dump(dump, left_out)) == by_id(read_postgres(url)) == {event.id: event for event in EVENTS}
    assert left_out == {nostream.DELETED: 1}


def test_the_tables_of_the_first_year_are_read_too(postgres: Postgres) -> None:
    url = postgres.database(TABLE)
    fill(url, EVENTS)
    dump = postgres.run("pg_dump", f"--dbname={url}")
    assert by_id(read_dump(dump)) == by_id(read_postgres(url)) == {event.id: event for event in EVENTS}


def test_the_bytes_of_progress_add_up_to_the_table(url: str) -> None:
    sizes, read = list[int](), list[int]()
    list(nostream.read_postgres(url, Counter(), sizes.append, read.append))
    assert [sum(read)] == sizes


def test_nothing_is_locked_or_written_while_a_database_is_read(url: str) -> None:
    lines = nostream.read_postgres(url, Counter(), lambda _size: None, lambda _bytes: None)
    assert next(lines).event == EVENTS[0]
    with psycopg.connect(url) as database:
        database.execute("SET lock_timeout = 1")
        database.execute("DELETE FROM events")
    assert [line.event for line in lines] == EVENTS[1:], "one sight of the whole"
    assert read_postgres(url) == []


WRITING = """
CREATE TABLE log (entry integer);
CREATE FUNCTION noted() RETURNS boolean LANGUAGE sql AS 'INSERT INTO log VALUES (1) RETURNING true';
ALTER TABLE events RENAME TO kept;
CREATE VIEW events AS SELECT *, noted() FROM kept;
"""


def test_whatever_lies_behind_the_table_nothing_is_written(url: str) -> None:
    with psycopg.connect(url) as database:
        database.execute(WRITING)
    with pytest.raises(BrokenFile, match="cannot execute INSERT in a read-only transaction"):
        read_postgres(url)


@pytest.mark.parametrize("tables", ["", "CREATE TABLE events (id text, content text);"], ids=["none", "another's"])
def test_what_is_not_nostreams_is_named_as_such(postgres: Postgres, tables: str) -> None:
    url = postgres.database(tables)
    with pytest.raises(BrokenFile, match="the database holds no table `events` as nostream makes it"):
        read_postgres(url)
    with pytest.raises(BrokenFile, match="the dump holds no table `events` as nostream makes it"):
        read_dump(postgres.run("pg_dump", f"--dbname={url}"))


def test_a_dump_of_inserts_is_refused(postgres: Postgres) -> None:
    url = postgres.database()
    fill(url, EVENTS[:1])
    with pytest.raises(BrokenFile, match="with COPY, which is pg_dump's own way"):
        read_dump(postgres.run("pg_dump", "--inserts", f"--dbname={url}"))


def test_a_dump_that_ends_too_early_gives_what_came_before(postgres: Postgres, url: str) -> None:
    dump = postgres.run("pg_dump", f"--dbname={url}")
    lines = list[Line]()
    with pytest.raises(BrokenFile, match=r"^after line \d+: the dump ends among the rows of a table"):
        lines.extend(nostream.read_dump(dump[: dump.index(b"\\.\n")].splitlines(keepends=True), Counter()))
    assert by_id(lines) == {event.id: event for event in EVENTS}


def test_a_database_that_cannot_be_reached_is_told_in_one_line() -> None:
    with pytest.raises(BrokenFile, match=r"^cannot read the database: .*No such file or directory") as caught:
        read_postgres("postgresql:///nostream?host=/nowhere")
    assert "\n" not in str(caught.value)


def test_without_psycopg_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(BrokenFile, match=r"pip install 'trio-relay\[postgres\]'"):
        read_postgres("postgresql:///nostream")


HEAD = b"COPY public.events (event_id, event_pubkey, event_kind, event_created_at, event_content, event_tags,"
HEAD += b" event_signature, deleted_at) FROM stdin;\n"


def copied(event: Event) -> bytes:
    """A row as Postgres writes it: six characters and the backslash are escaped, all others stand as they are."""
    written = {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
    tags = msgspec.json.encode(event.tags).decode()
    fields = (f"\\x{event.id}", f"\\x{event.pubkey}", event.kind, event.created_at, event.content, tags)
    texts = ["".join(written.get(char, char) for char in str(field)) for field in (*fields, f"\\x{event.sig}")]
    return "\t".join([*texts, r"\N"]).encode() + b"\n"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), min_size=1))
def test_whatever_an_event_says_comes_out_of_a_dump_as_it_was(contents: list[str]) -> None:
    events = [Event("a" * 64, "b" * 64, NOW, 1, [["t", text]], text, "c" * 128) for text in contents]
    dump = HEAD + b"".join(map(copied, events)) + b"\\.\n"
    lines = list(nostream.read_dump(dump.split(b"\n"), Counter()))
    assert [line.event for line in lines] == events
    assert [line.number for line in lines] == list(range(2, len(events) + 2))


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b"\\\\x" + b"a" * 64, b"\\\\xaa", "id must be 64 lowercase hex characters"),
        (b"hello", b"\xff", "the row holds no event: 'utf-8' codec"),
        (b"\t1\t", b"\tone\t", "the row holds no event: invalid literal"),
        (b"[[", b"[{", "the row holds no event: Expected `array`"),
        (b"\\x" + b"b" * 64, b"N", "the row holds no event"),
        (b"\thello", b"", "the row holds no event"),
    ],
)
def test_a_row_that_is_no_event_is_told_and_the_next_is_read(old: bytes, new: bytes, fault: str) -> None:
    good = Event("a" * 64, "b" * 64, NOW, 1, [["t", "x"]], "hello", "c" * 128)
    bad = copied(good).replace(old, new)
    assert bad != copied(good)
    first, second = nostream.read_dump([HEAD, bad, copied(good), b"\\.\n"], Counter())
    assert first.event is None
    assert first.fault.startswith(fault)
    assert second.event == good


def test_a_row_that_is_too_long_or_holds_too_much_is_told_and_the_next_is_read() -> None:
    good = Event("a" * 64, "b" * 64, NOW, 1, [["t", "x"]], "hello", "c" * 128)
    rich = Event("a" * 64, "b" * 64, NOW, 1, [["t"]] * 90_000, "hello", "c" * 128)
    texts = [None, HEAD, None, copied(rich), copied(good), b"\\.\n", None]
    lines = list(nostream.read_dump(texts, Counter()))
    assert [line.number for line in lines] == [3, 4, 5]
    assert [line.event for line in lines] == [None, None, good]
    assert "longer than" in lines[0].fault
    assert lines[1].fault.endswith("(max_event_tags)")
