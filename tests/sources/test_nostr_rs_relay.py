"""The SQLite file of nostr-rs-relay: which of its rows are given, and what is left as it was."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.sources.rust_relay_file import add, made_file
from tests.support.keys import ALICE, BOB, NOW, made_up
from trio_relay.sources import BrokenFile, Line, nostr_rs_relay

NOTES = [
    ALICE.event("first"),
    BOB.event('é \u2028 \\ " \n 🦀', created_at=NOW - 9, tags=[["t", "ü"], ["e"], []]),
    ALICE.event("", kind=5, tags=[["e", "a" * 64]]),
]


def lines_of(path: Path, left_out: Counter[str] | None = None, **arguments: Any) -> Iterator[Line]:
    return nostr_rs_relay.read_database(path, Counter() if left_out is None else left_out, **arguments)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("version", [1, 2, 7, 17, 18, 19])
def test_rows_of_every_version_are_given_in_the_order_in_which_they_came(tmp_path: Path, version: int) -> None:
    with made_file(tmp_path / "nostr.db", version) as database:
        add(database, NOTES)
    lines = list(lines_of(tmp_path / "nostr.db"))
    assert [line.event for line in lines] == NOTES
    assert [line.number for line in lines] == [1, 2, 3]


def test_hidden_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    with made_file(tmp_path / "nostr.db") as database:
        add(database, NOTES[:1], hidden=True)
        add(database, NOTES[1:])
    left_out = Counter[str]()
    assert [line.event for line in lines_of(tmp_path / "nostr.db", left_out)] == NOTES[1:]
    assert left_out == {nostr_rs_relay.HIDDEN: 1}


def test_many_rows_are_given_once_each_whatever_is_missing_between(tmp_path: Path) -> None:
    events = [made_up(str(number)) for number in range(1_700)]
    with made_file(tmp_path / "nostr.db") as database, database:
        database.execute("BEGIN")
        add(database, events)
        database.execute("DELETE FROM event WHERE id BETWEEN 400 AND 1100 OR id = 1700")
    read = list[int]()
    lines = list(lines_of(tmp_path / "nostr.db", progress=read.append))
    assert [line.event for line in lines] == events[:399] + events[1_100:1_699]
    size = (tmp_path / "nostr.db").stat().st_size
    assert sum(read) == size
    assert len(read) == 3, "a few at a time"


def test_what_a_running_relay_has_only_in_its_log_is_read_too(tmp_path: Path) -> None:
    with made_file(tmp_path / "nostr.db") as database:
        add(database, NOTES)
        before = contents(tmp_path).keys()
        lines = lines_of(tmp_path / "nostr.db")
        assert next(lines).event == NOTES[0]
        add(database, [late := ALICE.event("meanwhile")])
        assert [line.event for line in lines] == [*NOTES[1:], late]
        assert contents(tmp_path).keys() == before == {"nostr.db", "nostr.db-wal", "nostr.db-shm"}


def test_what_is_only_in_the_log_is_read_by_a_link_to_the_file_too(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "nostr.db").symlink_to("data/nostr.db")
    with made_file(tmp_path / "data" / "nostr.db") as database:
        add(database, NOTES)
        assert [line.event for line in lines_of(tmp_path / "nostr.db")] == NOTES


def test_what_a_killed_relay_has_left_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "left").mkdir()
    with made_file(tmp_path / "nostr.db") as database:
        add(database, NOTES)
        for file in tmp_path.glob("nostr.db*"):
            shutil.copy(file, tmp_path / "left")
    before = contents(tmp_path / "left")
    assert [line.event for line in lines_of(tmp_path / "left" / "nostr.db")] == NOTES
    after = contents(tmp_path / "left")
    assert after.keys() == before.keys() == {"nostr.db", "nostr.db-wal", "nostr.db-shm"}
    assert [name for name in before if after[name] != before[name]] in ([], ["nostr.db-shm"])


def test_nothing_is_written_to_a_file_or_beside_it(tmp_path: Path) -> None:
    with made_file(tmp_path / "nostr.db") as database:
        add(database, NOTES)
    before = contents(tmp_path)
    lines = lines_of(tmp_path / "nostr.db")
    assert next(lines).event == NOTES[0]
    assert contents(tmp_path) == before
    assert len(list(lines)) == 2
    assert contents(tmp_path) == before
    assert list(before) == ["nostr.db"]


@pytest.mark.parametrize("has_left", [False, True], ids=["and runs", "and has left"])
def test_a_relay_that_opens_the_file_meanwhile_ends_the_reading(tmp_path: Path, has_left: bool) -> None:
    """Without locks, what it writes could be read half."""
    with made_file(tmp_path / "nostr.db") as database:
        add(database, NOTES)
    lines = lines_of(tmp_path / "nostr.db")
    next(lines)
    with closing(sqlite3.connect(tmp_path / "nostr.db", isolation_level=None)) as relay:
        add(relay, [ALICE.event("news")])
        if has_left:
            relay.close()
        with pytest.raises(BrokenFile, match="after row 3: a relay has opened the file meanwhile; begin again"):
            list(lines)


def test_a_row_that_holds_no_event_is_told_by_its_number(tmp_path: Path) -> None:
    with made_file(tmp_path / "nostr.db") as database:
        add(database, NOTES)
        database.execute("UPDATE event SET content = '{' WHERE id = 2")
        database.execute("UPDATE event SET content = '' WHERE id = 3")
    lines = [line for line in lines_of(tmp_path / "nostr.db") if line.event is None]
    assert [(line.number, line.fault) for line in lines] == [
        (2, "the line is no JSON that can be read"),
        (3, "the line is no JSON that can be read"),
    ]


@pytest.mark.parametrize("table", ["", "CREATE TABLE event (id TEXT, pubkey TEXT, content TEXT, sig TEXT)"])
def test_another_database_is_named_as_such(tmp_path: Path, table: str) -> None:
    database = sqlite3.connect(tmp_path / "other.db")
    database.executescript(f"CREATE TABLE t (a); {table}")
    database.close()
    with pytest.raises(BrokenFile, match="not one of nostr-rs-relay"):
        next(lines_of(tmp_path / "other.db"))


def test_a_damaged_file_breaks_off_after_the_rows_that_could_be_read(tmp_path: Path) -> None:
    path = tmp_path / "nostr.db"
    with made_file(path) as database:
        add(database, [made_up("x" * 2_000 + str(number)) for number in range(20)])
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 8_192] = b"\xff" * 8_192
    path.write_bytes(data)
    lines = list[Line]()
    with pytest.raises(BrokenFile, match=r"^after row \d+: .*malformed"):
        lines.extend(lines_of(path))
    path.write_bytes(data[:40])
    with pytest.raises(BrokenFile, match=r"^cannot read the database: "):
        next(lines_of(path))
