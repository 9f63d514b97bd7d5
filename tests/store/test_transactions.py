"""Where a file has no more room, the error says so, whatever was being written; and all is as it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import apsw
import pytest
import structlog

from tests.store import version_1
from tests.store.files import opened
from tests.store.older import make_older
from tests.support.backends import everything
from tests.support.keys import ALICE
from trio_relay import SqliteOptions, StoreRefused
from trio_relay.store.sqlite import schema
from trio_relay.store.sqlite.batch_writer import BatchWriter
from trio_relay.store.sqlite.read_pool import opened as opened_or_refused
from trio_relay.store.sqlite.store import _probe
from trio_relay.store.sqlite.transaction import described, transaction
from trio_relay.store.sqlite.upgrade import upgrade

EVENTS: Final = [
    ALICE.event(f"{number} " + " ".join(f"w{number}x{word}" for word in range(300)), tags=[["t", "x"], ["p", "a" * 64]])
    for number in range(200)
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A store that holds `EVENTS`."""
    path = tmp_path / "relay.db"
    connection = apsw.Connection(str(path))
    schema.prepare(connection, str(path))
    BatchWriter(connection).save(EVENTS)
    connection.close()
    return path


@pytest.fixture
def connection(file: Path) -> Iterator[apsw.Connection]:
    """For writing, with a cache too small for a transaction, so that a full disk shows before the commit."""
    connection = apsw.Connection(str(file))
    schema.tune(connection, cache_bytes=2**16)
    yield connection
    connection.close()


def fill(connection: apsw.Connection) -> None:
    """From now on, the file may not grow."""
    connection.execute("VACUUM").fetchall()
    connection.pragma("max_page_count", connection.pragma("page_count"))


def test_apsws_own_way_hides_the_cause(connection: apsw.Connection) -> None:
    """If this fails, apsw has mended it."""
    fill(connection)
    with pytest.raises(apsw.SQLError, match=r"no transaction is active|no such savepoint") as hidden, connection:
        connection.execute("INSERT INTO probe VALUES (zeroblob(1000000))")
    assert isinstance(hidden.value.__context__, apsw.FullError)


def test_a_transaction_tells_it_and_the_next_one_works(connection: apsw.Connection) -> None:
    fill(connection)
    with pytest.raises(apsw.FullError) as full, transaction(connection):
        connection.execute("INSERT INTO probe VALUES (zeroblob(1000000))")
    assert (described(full.value), full.value.__context__) == ("database or disk is full", None)
    assert not connection.in_transaction
    with transaction(connection):
        connection.execute("DELETE FROM event WHERE seq = 1")
    assert connection.execute("SELECT count(*) FROM event").get == len(EVENTS) - 1


def test_an_error_of_another_kind_rolls_back_and_is_told_as_it_is(connection: apsw.Connection) -> None:
    with pytest.raises(apsw.SQLError, match=r"^no such table: nowhere$"), transaction(connection):
        connection.execute("DELETE FROM event; DELETE FROM nowhere").fetchall()
    assert connection.execute("SELECT count(*) FROM event").get == len(EVENTS)


def test_a_rollback_that_fails_is_logged_and_hides_nothing(
    connection: apsw.Connection, logged: list[structlog.typing.EventDict]
) -> None:
    # SQLite rolls back in any case; an authorizer is the one way to have it refuse.
    def refuse(action: int, what: str | None, *_: object) -> int:
        is_rollback = action == apsw.SQLITE_TRANSACTION and what == "ROLLBACK"
        return apsw.SQLITE_DENY if is_rollback else apsw.SQLITE_OK

    connection.authorizer = refuse
    with pytest.raises(ZeroDivisionError), transaction(connection):
        1 / 0  # noqa: B018  # it is the error
    connection.authorizer = None
    assert [(entry["event"], entry["error"]) for entry in logged if entry["log_level"] == "warning"] == [
        ("rollback failed", "not authorized")
    ]
    connection.execute("ROLLBACK")


@pytest.mark.parametrize("version", [2, 3])
async def test_an_upgrade_says_so_and_the_file_is_as_it_was(file: Path, version: int) -> None:
    make_older(file, version)
    connection = apsw.Connection(str(file))
    connection.pragma("cache_size", -64)
    before = _tables(connection)
    fill(connection)
    with pytest.raises(apsw.FullError, match=r"^database or disk is full$"):
        upgrade(connection, str(file))
    assert connection.pragma("user_version") == version
    assert _tables(connection) == before
    connection.close()
    async with opened(file) as store:
        assert await everything(store) == EVENTS


async def test_so_does_one_that_writes_all_anew(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    version_1.write(path, enumerate(EVENTS, 1))
    connection = apsw.Connection(str(path))
    before = _tables(connection)
    fill(connection)
    with pytest.raises(apsw.FullError, match=r"^database or disk is full$"):
        upgrade(connection, str(path))
    assert _tables(connection) == before
    connection.close()
    async with opened(path) as store:
        assert await everything(store) == EVENTS


def _tables(connection: apsw.Connection) -> Sequence[object]:
    return connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()


def test_the_index_of_words_says_so(connection: apsw.Connection) -> None:
    connection.execute("DELETE FROM word; UPDATE worded SET until = 0").fetchall()
    fill(connection)
    with pytest.raises(apsw.FullError, match=r"^database or disk is full$"):
        BatchWriter(connection).index_words()
    assert connection.execute("SELECT until FROM worded").get == 0


def test_the_probe_says_so(connection: apsw.Connection) -> None:
    fill(connection)
    with pytest.raises(apsw.FullError, match=r"^database or disk is full$"):
        _probe(connection)
    assert connection.execute("SELECT count(*) FROM probe").get == 0


def test_making_a_file_says_so(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "new.db"))
    connection.pragma("max_page_count", 5)
    with pytest.raises(apsw.FullError, match=r"^database or disk is full$"):
        schema.prepare(connection, "new.db")
    assert _tables(connection) == []
    connection.close()


def test_who_is_refused_and_the_log_are_told_the_cause(
    tmp_path: Path, logged: list[structlog.typing.EventDict]
) -> None:
    def make(options: SqliteOptions) -> None:
        connection = apsw.Connection(options.path)
        try:
            connection.pragma("max_page_count", 5)
            schema.prepare(connection, options.path)
        finally:
            connection.close()

    path = str(tmp_path / "new.db")
    with pytest.raises(StoreRefused) as refused:
        opened_or_refused(make, SqliteOptions(path=path))
    assert str(refused.value) == f"{path}: database or disk is full"
    assert [(entry["event"], entry["path"], entry["error"]) for entry in logged] == [
        ("the store cannot be opened", path, "database or disk is full")
    ]
