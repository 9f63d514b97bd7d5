"""What SQLite keeps in the file from its making on is set, or looked at, whenever a relay opens it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import pytest
import structlog

from tests.store.files import content, opened
from tests.store.inside import inside, readers
from tests.store.older import make_older
from tests.store.test_refusals import refusal
from tests.support.backends import everything
from tests.support.keys import ALICE
from trio_relay.store.sqlite import schema
from trio_relay.store.sqlite import store as store_module

NOTE, OTHER = ALICE.event("note"), ALICE.event("other")
NO_LOG = "cannot be used in SQLite's WAL mode: "


async def made(path: Path, *settings: str) -> Path:
    """A store with `NOTE`, rewritten by `VACUUM` with these settings and without its log."""
    async with opened(path) as store:
        await store.save_many([NOTE])
    connection = apsw.Connection(str(path))
    for sql in ("PRAGMA journal_mode = delete", *settings, "VACUUM"):
        connection.execute(sql).fetchall()
    connection.close()
    return path


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist"])
async def test_a_file_in_rollback_mode_is_put_into_wal_mode(
    path: Path, mode: str, logged: list[structlog.typing.EventDict]
) -> None:
    await made(path, f"PRAGMA journal_mode = {mode}")
    async with opened(path) as store:
        assert inside(store).connection.pragma("journal_mode") == "wal"
        assert await everything(store) == [NOTE]
    said = [entry for entry in logged if entry["event"] == "the store is in WAL mode again"]
    assert [(entry["path"], entry["before"]) for entry in said] == [(str(path), "delete")]
    async with opened(path):
        assert len([entry for entry in logged if entry["event"] == "the store is in WAL mode again"]) == 1


async def test_after_that_no_reader_makes_a_save_wait(path: Path) -> None:
    """In rollback mode, a commit waits until nobody reads, and fails after a quarter of a second."""
    await made(path)
    async with opened(path) as store:
        (reader, *_) = readers(store).idle
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM event").get == 1
        assert [one.name for one in await store.save_many([OTHER])] == ["STORED"]
        assert reader.execute("SELECT count(*) FROM event").get == 1
        reader.execute("COMMIT")


@pytest.mark.slow
@pytest.mark.parametrize("version", [2, 3])
async def test_an_older_file_in_rollback_mode_is_upgraded_too(path: Path, version: int) -> None:
    await made(path)
    make_older(path, version)
    async with opened(path) as store:
        assert inside(store).connection.pragma("journal_mode") == "wal"
        assert await everything(store) == [NOTE]


async def test_a_file_that_somebody_reads_in_rollback_mode_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made(path)
    monkeypatch.setattr(schema, "BUSY_MS", 100)
    reader = apsw.Connection(str(path))
    rows = reader.execute("SELECT name FROM sqlite_schema")
    next(rows)
    assert (await refusal(opened, path)).startswith(f"{path} {NO_LOG}database is locked. No other program may have")
    reader.close()
    async with opened(path) as store:
        assert await everything(store) == [NOTE]


@pytest.fixture
def no_shared_memory() -> Iterator[None]:
    """SQLite as it is on a file system where processes cannot share memory."""
    before = apsw.vfs_names()[0]
    apsw.set_default_vfs("unix-none")
    yield
    apsw.set_default_vfs(before)


@pytest.mark.usefixtures("no_shared_memory")
async def test_a_new_file_is_refused_where_there_is_no_shared_memory(path: Path) -> None:
    said = await refusal(opened, path)
    assert said.startswith(f"{path} {NO_LOG}it stays in mode delete. No other program")
    assert said.endswith("must not be on a file system of the network, which has no memory that processes share")


@pytest.mark.parametrize("is_copy", [False, True], ids=["in WAL mode", "in rollback mode"])
async def test_so_is_an_old_one(path: Path, request: pytest.FixtureRequest, *, is_copy: bool) -> None:
    if is_copy:
        await made(path)
    else:
        async with opened(path) as store:
            await store.save_many([NOTE])
    before = content(path)
    request.getfixturevalue("no_shared_memory")
    reason = "it stays in mode delete" if is_copy else "unable to open database file"
    assert (await refusal(opened, path)).startswith(f"{path} {NO_LOG}{reason}. No other program")
    assert content(path) == before


@pytest.fixture
def nobodys_folder() -> Iterator[Path]:
    """A folder in which everybody may write, also a user who may do nothing else."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def make_read_only(path: Path) -> None:
    path.parent.chmod(0o777)  # the store has closed it, since it was the relay's own
    Path(f"{path}.lock").chmod(0o666)
    path.chmod(0o444)


@pytest.mark.parametrize("is_copy", [False, True], ids=["in WAL mode", "in rollback mode"])
async def test_a_file_that_may_not_be_written_is_refused(nobodys_folder: Path, *, is_copy: bool) -> None:
    """Else the relay would start, and each save would fail."""
    path = nobodys_folder / "relay.db"
    async with opened(path) as store:
        await store.save_many([NOTE])
    if is_copy:
        await made(path)
    make_read_only(path)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)  # to root, every file may be written
    try:
        said = await refusal(opened, path)
    finally:
        os.seteuid(user)
    assert said == f"{path} is read-only: the relay's user must be allowed to write it"


async def test_a_file_whose_text_is_no_utf_8_is_refused(path: Path) -> None:
    """Its bytes are sent as they are. An application id alone does not make it a store."""
    path.parent.mkdir()
    connection = apsw.Connection(str(path))
    connection.execute(
        "PRAGMA encoding = 'UTF-16le'; CREATE TABLE event (json TEXT); PRAGMA user_version = 4"
    ).fetchall()
    connection.pragma("application_id", 0x7472656C)
    connection.close()
    before = content(path)
    assert await refusal(opened, path) == (
        f"{path} keeps text as UTF-16le, not as UTF-8: SQLite cannot change that in a file"
    )
    assert content(path) == before


@pytest.mark.slow
@pytest.mark.parametrize("pages", [512, 65_536])
async def test_the_limits_of_the_log_are_the_same_in_bytes_whatever_the_pages(
    path: Path, pages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made(path, f"PRAGMA page_size = {pages}", "PRAGMA auto_vacuum = full")
    monkeypatch.setattr(store_module, "PAGES_BEFORE_WAITING", 256)  # a megabyte
    async with opened(path) as store:
        connection = inside(store).connection
        assert (connection.pragma("page_size"), connection.pragma("auto_vacuum")) == (pages, 1)
        for number in range(40):
            await store.save_many([ALICE.event(f"{number}" + "x" * 100_000)])
        # It is written from its beginning again once it holds a megabyte; the last commits before are longer than one.
        assert 2**20 <= store.statistics().wal_bytes <= 2**21
        assert len(await everything(store)) == 41
