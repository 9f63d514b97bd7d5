"""What the connections of a store are set to, and who may do what on them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import apsw
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.store.files import content, opened, opened_for_reading
from tests.store.inside import inside, readers
from tests.support.backends import everything
from tests.support.keys import ALICE
from trio_relay import SqliteOptions, open_sqlite


@pytest.mark.parametrize(("synchronous", "level"), [("full", 2), ("normal", 1)])
async def test_a_commit_is_as_durable_as_the_options_say(
    path: Path, synchronous: Literal["full", "normal"], level: int
) -> None:
    with trio.fail_after(60):
        async with open_sqlite(SqliteOptions(path=str(path), synchronous=synchronous)) as store:
            assert inside(store).connection.pragma("synchronous") == level
            assert inside(store).connection.pragma("journal_mode") == "wal"
            assert store.description == f"sqlite {path} (synchronous={synchronous})"


def test_a_commit_is_on_the_disk_unless_the_options_say_otherwise() -> None:
    assert SqliteOptions().synchronous == "full"


async def test_connections_share_the_pages_of_the_options_and_fold_the_log_when_they_are_told_to(path: Path) -> None:
    with trio.fail_after(60):
        async with open_sqlite(SqliteOptions(path=str(path), cache_bytes=2**21, readers=3)) as store:
            writer = inside(store).connection
            reading = [*readers(store).idle, readers(store).knower, readers(store).quick, inside(store).checkpointer]
            assert writer.pragma("cache_size") == -512
            assert [connection.pragma("cache_size") for connection in reading] == [-219] * 7
            assert [connection.pragma("wal_autocheckpoint") for connection in (writer, *reading)] == [0] * 8


@given(cache=st.integers(2**20, 2**32), readers=st.integers(1, 64))
def test_all_connections_together_keep_no_more_pages_than_the_options_say(cache: int, readers: int) -> None:
    options = SqliteOptions(cache_bytes=cache, readers=readers)
    together = options.page_bytes_of_writer + (readers + 4) * options.page_bytes_each
    assert cache - (readers + 4) < together <= cache


async def test_no_connection_maps_the_file(path: Path) -> None:
    """What each of them maps counts as memory of the process, again and again."""
    async with opened(path, readers=3) as store:
        connections = [*readers(store).idle, readers(store).knower, readers(store).quick, inside(store).connection]
        assert [connection.pragma("mmap_size") for connection in connections] == [0] * 7


async def test_nothing_can_be_written_by_those_who_read(path: Path) -> None:
    async with opened(path, readers=3) as store, opened_for_reading(path) as reader:
        others = (readers(store).knower, readers(store).quick, readers(reader).knower, readers(reader).quick)
        for connection in (*readers(store).idle, *readers(reader).idle, *others):
            with pytest.raises(apsw.ReadOnlyError):
                connection.execute("INSERT INTO probe VALUES (1)")


async def test_a_store_for_reading_leaves_the_file_as_it_is(path: Path) -> None:
    async with opened(path) as store:
        await store.save_many([ALICE.event()])
    before = content(path)
    async with opened_for_reading(path) as reader:
        assert await everything(reader) == [ALICE.event()]
    assert content(path) == before
