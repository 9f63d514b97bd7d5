"""Files that cannot be a store of this relay are refused by name and reason, and left as they are."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeAlias

import apsw
import pytest
import trio

from tests.store.files import content, opened, opened_for_reading
from tests.support.backends import everything
from tests.support.keys import ALICE
from trio_relay import StoreRefused
from trio_relay.store.sqlite import ReadPool, schema

OPENERS = pytest.mark.parametrize("opener", [opened, opened_for_reading], ids=["to write", "to read"])
Opener: TypeAlias = Callable[[Path], AbstractAsyncContextManager[ReadPool]]


async def refusal(opener: Opener, path: Path) -> str:
    with pytest.raises(StoreRefused) as refused:
        async with opener(path):
            raise AssertionError("it was opened")
    return str(refused.value)


@pytest.fixture
async def version_99(path: Path) -> Path:
    async with opened(path) as store:
        await store.save_many([ALICE.event()])
    with apsw.Connection(str(path)) as connection:
        connection.pragma("user_version", 99)
    connection.close()
    return path


@OPENERS
async def test_a_newer_schema_is_refused_naming_both_versions(opener: Opener, version_99: Path) -> None:
    before = content(version_99)
    assert await refusal(opener, version_99) == (
        f"{version_99} has schema version 99, this trio-relay knows versions up to {schema.VERSION}:"
        " start the newer trio-relay that wrote it"
    )
    assert content(version_99) == before


@OPENERS
@pytest.mark.parametrize("sign", ["CREATE TABLE bookmark (url TEXT)", "PRAGMA application_id = 42"])
async def test_another_programs_database_is_refused(opener: Opener, tmp_path: Path, sign: str) -> None:
    path = tmp_path / "other.db"
    connection = apsw.Connection(str(path))
    connection.execute(sign)
    connection.close()
    before = content(path)
    assert await refusal(opener, path) == f"{path} is a database, but not one of trio-relay"
    assert content(path) == before


@OPENERS
async def test_a_file_that_is_no_database_is_refused(opener: Opener, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"Dear diary, " * 1_000)
    assert await refusal(opener, path) == f"{path}: file is not a database"
    assert content(path) == b"Dear diary, " * 1_000


@OPENERS
async def test_a_folder_is_refused_and_stays_as_it_is(opener: Opener, tmp_path: Path) -> None:
    await trio.Path(tmp_path).chmod(0o755)
    told = await refusal(opener, tmp_path)
    assert told.startswith((f"{tmp_path}: it is a folder", f"{tmp_path} does not exist"))
    assert stat.S_IMODE((await trio.Path(tmp_path).stat()).st_mode) == 0o755
    assert not await trio.Path(f"{tmp_path}.lock").exists()


@OPENERS
@pytest.mark.parametrize("by_link", [False, True], ids=["itself", "a link"])
async def test_what_is_no_regular_file_is_refused_and_stays_as_it_is(
    opener: Opener, tmp_path: Path, by_link: bool
) -> None:
    """As `/dev/null` is, which root would have closed to all others."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    await trio.Path(pipe).chmod(0o644)
    path = tmp_path / "relay.db" if by_link else pipe
    if by_link:
        path.symlink_to(pipe)
    told = await refusal(opener, path)
    assert told in (f"{path}: it is no regular file", f"{path} does not exist")
    assert stat.S_IMODE((await trio.Path(pipe).stat()).st_mode) == 0o644


async def test_a_file_that_does_not_exist_cannot_be_read(path: Path) -> None:
    assert await refusal(opened_for_reading, path) == f"{path} does not exist"
    assert not path.parent.exists()


async def test_an_empty_file_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    assert await refusal(opened_for_reading, path) == f"{path} is a database, but not one of trio-relay"


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, way in ((tmp_path / "file" / "relay.db", "file"), (tmp_path / "file" / "data" / "relay.db", "file/data")):
        assert await refusal(opened, path) == f"{path}: a file is in the way, {tmp_path / way}"


async def test_a_folder_in_which_nobody_may_write_is_refused() -> None:
    """Not even root may in this one."""
    path = Path("/proc/relay.db")
    assert (await refusal(opened, path)).startswith("/proc/relay.db: ")


async def test_a_refused_file_is_free_for_the_next(version_99: Path) -> None:
    first = await refusal(opened, version_99)
    assert await refusal(opened, version_99) == first


async def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    async with opened(path) as store:
        assert await everything(store) == []


async def test_a_file_whose_making_was_cut_short_becomes_a_store(tmp_path: Path) -> None:
    """The log mode is set before the tables are made, and is on the disk before they are."""
    path = tmp_path / "relay.db"
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.close()
    async with opened(path) as store:
        event = ALICE.event()
        await store.save_many([event])
        assert await everything(store) == [event]
