"""The ways of copying a store that the page for operators names: with the right ones nothing is missing.

A store with some hundred events is copied while a relay writes into it and has the newest in its log alone; then a
relay opens the copy. The page must name each way that is tried here.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw
import pytest
import trio

from tests.store.files import opened, opened_for_reading
from tests.store.inside import inside
from tests.store.test_refusals import refusal
from tests.support.backends import ask, everything
from tests.support.keys import ALICE, BOB, NOW
from trio_relay import Filter

EVENTS: Final = [ALICE.event(f"word{number}", created_at=NOW + number, tags=[["t", "x"]]) for number in range(300)]
NEWEST: Final = BOB.event("fox", created_at=NOW + 1_000)
LATER: Final = BOB.event("later", created_at=NOW + 2_000)
PAGE: Final = Path(__file__).parents[2] / "docs" / "backups.md"


def shell(path: Path, commands: str) -> str:
    """What SQLite's own program says to this."""
    if (program := shutil.which("sqlite3")) is None:
        pytest.skip("there is no program sqlite3 on this machine")
    ended = subprocess.run(  # as an operator does
        [program, path], input=commands, capture_output=True, text=True, check=True, timeout=60
    )
    return ended.stdout


def dot_backup(source: Path, copy: Path) -> None:
    shell(source, f".backup {copy}")


def backup_api(source: Path, copy: Path) -> None:
    """What libraries offer."""
    # By the same library as the relay: the locks of two in one process would not hold.
    one, other = apsw.Connection(str(source)), apsw.Connection(str(copy))
    with other.backup("main", one, "main") as backup:
        while not backup.done:
            backup.step(10)
    other.close()
    one.close()


def vacuum_into(source: Path, copy: Path) -> None:
    connection = apsw.Connection(str(source))
    connection.execute("VACUUM INTO ?", (str(copy),)).fetchall()
    connection.close()


def files(source: Path, copy: Path) -> None:
    """All that there are, as when the relay does not run."""
    for end in ("", "-wal", "-shm"):
        if Path(f"{source}{end}").exists():
            shutil.copy(f"{source}{end}", f"{copy}{end}")


def file_alone(source: Path, copy: Path) -> None:
    """The wrong way."""
    shutil.copy(source, copy)


def remove_log(path: Path) -> None:
    for end in ("-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)


def mode_of(path: Path) -> str:
    connection = apsw.Connection(str(path))
    mode = str(connection.pragma("journal_mode"))
    connection.close()
    return mode


async def whole(copy: Path) -> None:
    """A relay finds everything in the copy, by all its indices, and writes on; it is in WAL mode then."""
    async with opened(copy) as store:
        assert await everything(store) == [*EVENTS, NEWEST]
        assert len(await ask(store, Filter(tags=(("t", frozenset("x")),)))) == len(EVENTS)
        connection = inside(store).connection
        assert connection.execute("SELECT count(*) FROM word WHERE text MATCH 'fox'").get == 1
        assert connection.pragma("journal_mode") == "wal"
        assert connection.pragma("integrity_check") == "ok"
        assert [one.name for one in await store.save_many([NEWEST, LATER])] == ["DUPLICATE", "STORED"]


@pytest.mark.parametrize("way", [dot_backup, backup_api, vacuum_into])
async def test_a_copy_that_sqlite_makes_of_a_running_store_is_whole(
    path: Path, tmp_path: Path, way: Callable[[Path, Path], None]
) -> None:
    copy = tmp_path / "copy.db"
    async with opened(path) as store:
        await store.save_many(EVENTS)
        await store.save_many([NEWEST])
        await trio.to_thread.run_sync(way, path, copy)
        await store.save_many([LATER])
    await whole(copy)


async def test_a_copy_by_vacuum_into_can_be_exported_before_a_relay_has_opened_it(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with opened(path) as store:
        await store.save_many([*EVENTS, NEWEST])
        await trio.to_thread.run_sync(vacuum_into, path, copy)
    assert mode_of(copy) == "delete"
    async with opened_for_reading(copy) as reading:
        assert await everything(reading) == [*EVENTS, NEWEST]


async def test_the_files_of_a_stopped_relay_are_whole(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with opened(path) as store:
        await store.save_many([*EVENTS, NEWEST])
    files(path, copy)
    await whole(copy)


async def test_so_are_those_of_a_killed_one_but_only_all_of_them(path: Path, tmp_path: Path) -> None:
    """Nothing folds the log back then: the newest events are in it alone."""
    killed, alone, copy = tmp_path / "killed.db", tmp_path / "alone.db", tmp_path / "copy.db"
    async with opened(path) as store:
        await store.save_many(EVENTS)
    async with opened(path) as store:
        await store.save_many([NEWEST])
        files(path, killed)  # nothing is under way
    file_alone(killed, alone)
    files(killed, copy)
    await whole(copy)
    async with opened(alone) as store:
        assert NEWEST not in await everything(store)


async def test_a_plain_copy_of_the_file_of_a_running_relay_lacks_what_is_in_the_log(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with opened(path) as store:
        await store.save_many(EVENTS)
    async with opened(path) as store:
        await store.save_many([NEWEST])
        file_alone(path, copy)
    async with opened(copy) as store:
        assert await everything(store) == EVENTS


async def test_a_log_that_another_file_has_left_spoils_a_copy_in_its_place(path: Path, tmp_path: Path) -> None:
    """So the page says to remove it first."""
    copy, left = tmp_path / "copy.db", tmp_path / "left.db"
    async with opened(path) as store:
        await store.save_many(EVENTS)
        await trio.to_thread.run_sync(vacuum_into, path, copy)
        await store.save_many([NEWEST])
        files(path, left)
    file_alone(copy, left)
    found: object = None
    try:
        async with opened(left) as store:
            found = await everything(store)
            assert inside(store).connection.pragma("integrity_check") == "ok"
    except Exception as error:  # what SQLite makes of it is open, from a refusal to events that were not in the copy
        found = error
    assert found != EVENTS
    remove_log(left)
    file_alone(copy, left)
    async with opened(left) as store:
        assert await everything(store) == EVENTS


async def test_a_dump_is_no_copy(path: Path, tmp_path: Path) -> None:
    """It lacks whose file it is, and of which version."""
    copy = tmp_path / "copy.db"
    async with opened(path) as store:
        await store.save_many(EVENTS[:3])
    dump = shell(path, ".dump")
    shell(copy, dump)
    assert await refusal(opened, copy) == f"{copy} is a database, but not one of trio-relay"


@pytest.mark.parametrize("named", [".backup", "online backup API", "VACUUM INTO", "-wal", ".dump", "`cp`"])
def test_the_page_names_each_way(named: str) -> None:
    data = PAGE.read_text().partition("\n## Data\n")[2].partition("\n## ")[0]
    assert named in data
