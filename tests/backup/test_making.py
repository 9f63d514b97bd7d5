"""Backups of a store, stopped and running: whole, of one moment, and without what is to stay."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio

from tests.backup.conftest import ANOTHER, EVENTS, KEPT, NEWEST, SECRET, fill, options
from tests.store.files import content, exists, opened_for_reading, overwrite
from tests.support.backends import everything
from tests.support.keys import NOW
from tests.support.program import PATIENCE
from trio_relay import StoreError, StoreRefused, open_sqlite
from trio_relay.backup import backup_file, base, making
from trio_relay.store.sqlite import tally

pytestmark = pytest.mark.slow


async def back_up(store: Path, file: Path, *, with_key: bool = False) -> base.BackupMade:
    return await making.back_up_file(store, file, NOW, with_key=with_key, rests=False)


def unpacked(file: Path) -> Path:
    """The store in a backup."""
    path = file.with_suffix(".db")
    path.write_bytes(b"".join(backup_file.contents(file)))
    return path


def rows(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All that is in the tables of a store, those of the index of words too."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name != 'word' ORDER BY 1")
        return {
            str(name): sorted(connection.execute(f"SELECT * FROM {name}"), key=repr) for (name,) in names.fetchall()
        }


def version_of(path: Path) -> int:
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        return int(connection.pragma("user_version"))


def beside(file: Path) -> list[str]:
    """All that is in the folder of a backup."""
    return sorted(one.name for one in file.parent.iterdir())


async def test_a_backup_of_a_running_relay_has_all_that_is_stored(store: Path, file: Path) -> None:
    async with open_sqlite(options(store)) as running:
        await running.save_many([NEWEST])  # in the log alone
        made = await back_up(store, file)
        found = rows(store)
    header = backup_file.read_header(file)
    assert header == backup_file.BackupHeader(
        backup_file.FORMAT,
        backup_file.VERSION,
        NOW,
        header.program,
        version_of(store),
        len(EVENTS) + 1,
        len(content(unpacked(file))),
        with_key=False,
    )
    assert made == base.BackupMade(str(file), NOW, len(EVENTS) + 1, False, len(content(file)), made.seconds)
    del found["kept"]
    copied = rows(unpacked(file))
    assert dict(copied.pop("kept")) == {name: KEPT[name] for name in KEPT if name.startswith("banned")}
    assert copied == found
    assert beside(file) == ["data", "relay.backup", "relay.db"]


async def test_a_relay_goes_on_with_a_backup(store: Path, file: Path, tmp_path: Path) -> None:
    await back_up(store, file)
    async with open_sqlite(options(unpacked(file))) as restored:
        assert await everything(restored) == EVENTS
        await restored.save_many([NEWEST])
        assert await everything(restored) == [*EVENTS, NEWEST]


async def test_the_secrets_are_in_none_of_its_bytes_nor_are_those_there_were_before(store: Path, file: Path) -> None:
    """What SQLite removes stays in the gaps of its file, which a plain copy has too."""
    async with open_sqlite(options(store)) as running:
        await running.put_metadata({"self": ANOTHER, "console": SECRET})
        await running.put_metadata({"self": None})
        await running.put_metadata({"self": b"a third one, which is the last of"})
    raw = content(store)
    assert SECRET in raw or ANOTHER in raw or b"a third" in raw
    await back_up(store, file)
    copied = content(unpacked(file))
    for secret in (SECRET, ANOTHER, b"a third one, which is the last of"):
        assert secret[:8] not in copied
        assert secret[-8:] not in copied


async def test_with_the_key_they_are_in_it(store: Path, file: Path) -> None:
    made = await back_up(store, file, with_key=True)
    assert made.with_key
    async with opened_for_reading(unpacked(file)) as copy:
        assert await copy.get_metadata() == KEPT


async def test_a_killed_relays_log_is_in_it(store: Path, file: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed.db"
    async with open_sqlite(options(store)) as running:
        await running.save_many([NEWEST])
        for end in ("", "-wal"):
            overwrite(Path(f"{killed}{end}"), content(Path(f"{store}{end}")))
    assert (await back_up(killed, file)).events == len(EVENTS) + 1


async def test_what_is_stored_meanwhile_is_not_in_it(store: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is of one moment, however long it takes."""
    is_saved = False

    def pause(_pace: making.WorkPace) -> None:
        nonlocal is_saved
        if not is_saved and any(one.stat().st_size for one in file.parent.glob("*.part")):
            is_saved = True
            trio.from_thread.run(running.save_many, [NEWEST], trio_token=token)

    monkeypatch.setattr(making.WorkPace, "__call__", pause)
    monkeypatch.setattr("trio_relay.store.sqlite.copying.STEPS", 50)
    token = trio.lowlevel.current_trio_token()
    async with open_sqlite(options(store)) as running:
        made = await back_up(store, file)
        assert await everything(running) == [*EVENTS, NEWEST]
    async with opened_for_reading(unpacked(file)) as copy:
        assert await everything(copy) == EVENTS
    assert made.events == len(EVENTS)


async def test_who_is_cancelled_leaves_nothing(store: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, asked = trio.Event(), threading.Event()

    class Held(making.WorkPace):
        def __call__(self) -> None:
            trio.from_thread.run_sync(began.set, trio_token=token)
            assert asked.wait(PATIENCE)
            super().__call__()

        def stop(self) -> None:
            super().stop()
            asked.set()

    overwrite(file, b"yesterday's")
    monkeypatch.setattr(making, "WorkPace", Held)
    token = trio.lowlevel.current_trio_token()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(back_up, store, file)
        await began.wait()
        nursery.cancel_scope.cancel()
    assert content(file) == b"yesterday's"
    assert beside(file) == ["data", "relay.backup"]


async def test_where_there_is_no_room_none_is_begun(store: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that stores events beside it must not find its disk full, again with each try."""
    monkeypatch.setattr(tally, "free_room", lambda _path: tally.SPARE_BYTES)
    with pytest.raises(StoreError, match=r"has not the room for a second file: [0-9]+ MB more are needed"):
        await back_up(store, file)
    assert beside(file) == ["data"]


async def test_where_others_fill_the_disk_it_gives_up_before_that_is_full(
    store: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overwrite(file, b"yesterday's")
    rooms = iter([2**30, tally.SPARE_BYTES + 1, tally.SPARE_BYTES, tally.SPARE_BYTES - 1])
    monkeypatch.setattr(tally, "free_room", lambda _path: next(rooms))
    monkeypatch.setattr("trio_relay.store.sqlite.copying.STEPS", 50)
    with pytest.raises(StoreError, match=r"has not the room"):
        await back_up(store, file)
    assert next(rooms, None) is None
    assert content(file) == b"yesterday's"
    assert beside(file) == ["data", "relay.backup"]


async def test_what_a_killed_one_has_left_goes_with_the_next_and_nothing_else(store: Path, file: Path) -> None:
    left = ["relay.backup.abc_1234.part", "relay.backup.00000000.part", "relay.backup.00000000.part-journal"]
    others = ["relay.backup.abc.part", "relay.backup2.abc_1234.part", "relay.backup.abc_1234.part.gz"]
    for name in [*left, *others]:
        (file.parent / name).write_bytes(b"x")
    await back_up(store, file)
    assert beside(file) == sorted(["data", "relay.backup", *others])


async def test_a_damaged_store_has_no_backup_made(store: Path, file: Path) -> None:
    raw = bytearray(content(store))
    with closing(sqlite3.connect(store)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'event_time'").fetchone()
    raw[(page - 1) * 4096 : page * 4096] = os.urandom(4096)
    overwrite(store, bytes(raw))
    with pytest.raises(StoreError, match=r"cannot be copied: database disk image is malformed|the store is damaged"):
        await back_up(store, file)
    assert beside(file) == ["data"]


async def test_what_is_no_store_is_refused(tmp_path: Path, store: Path, file: Path) -> None:
    with pytest.raises(StoreRefused, match=r"none\.db does not exist"):
        await back_up(tmp_path / "none.db", file)
    (tmp_path / "foreign.db").write_bytes(b"")
    with pytest.raises(StoreRefused, match=r"is a database, but not one of trio-relay"):
        await back_up(tmp_path / "foreign.db", file)
    with closing(apsw.Connection(str(store))) as connection:
        connection.pragma("user_version", 1_000)
    with pytest.raises(StoreRefused, match=r"schema version 1000"):
        await back_up(store, file)
    assert not exists(file)


async def test_a_store_of_an_older_version_has_a_backup_of_that_version(store: Path, file: Path) -> None:
    with closing(apsw.Connection(str(store))) as connection:
        connection.pragma("user_version", 5)
    await back_up(store, file)
    assert (backup_file.read_header(file).schema, version_of(unpacked(file))) == (5, 5)


async def test_a_backup_that_cannot_be_written_says_why(store: Path, file: Path, tmp_path: Path) -> None:
    for place, why in (
        (tmp_path / "nowhere" / "x", "No such file or directory"),
        (tmp_path / "data", "it is no regular file, which takes its place once it is whole"),
        (Path(os.devnull), "it is no regular file, which takes its place once it is whole"),
    ):
        with pytest.raises(base.BackupRefused) as refused:
            await back_up(store, place)
        assert str(refused.value) == f"{place} cannot be written: {why}"


async def test_an_empty_store_has_a_backup(tmp_path: Path, file: Path) -> None:
    await fill(tmp_path / "relay.db")
    assert (await back_up(tmp_path / "relay.db", file)).events == 0


def test_who_works_rests_as_long_as_the_work_took(monkeypatch: pytest.MonkeyPatch) -> None:
    now, rests = 0.0, [0.0]

    def wait(_event: object, seconds: float) -> None:
        nonlocal now
        now += seconds
        rests.append(seconds)

    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr(threading.Event, "wait", wait)
    pace, hurried = making.WorkPace(rests=True), making.WorkPace(rests=False)
    for work in (0.001, 0.004, 0.2, 0.0, 0.03, 0.01, 0.009):
        now += work
        pace()
        hurried()
    assert rests == pytest.approx([0.0, 0.205, 0.03, 0.01])
    pace.stop()
    with pytest.raises(making.WorkStopped):
        pace()
