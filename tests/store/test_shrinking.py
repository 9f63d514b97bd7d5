"""A file gets smaller: beside its writer, portion by portion, or written anew; nothing in it is lost."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import apsw
import pytest
import trio

from tests.store.files import cancelling, content, opened, opened_for_reading, options
from tests.support.backends import everything
from tests.support.keys import NOW, Author
from trio_relay import Filter, StoreError, StoreRefused
from trio_relay.store import base, sqlite

NOTES = [Author(f"{n % 5}").event("x" * 2_000, created_at=NOW + n, tags=[["t", f"{n}"]]) for n in range(600)]
OLD, NEW = Filter(until=NOW + 399), NOTES[400:]


def older(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have files made as older versions did."""
    monkeypatch.setattr(sqlite.schema, "INCREMENTAL", 0)


async def half_empty(path: Path) -> None:
    async with opened(path) as store:
        await store.save_many(NOTES)
        assert await store.remove([OLD]) == 400


async def test_free_pages_are_given_back_beside_everything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite.shrinking, "PAGES_AT_A_TIME", 16)
    path = tmp_path / "relay.db"
    await half_empty(path)
    late = [Author("late").event(f"{n}", created_at=NOW + 9_000 + n) for n in range(30)]
    async with opened(path) as store, trio.open_nursery() as nursery:
        before = await store.space()

        async def publish() -> None:
            for event in late:
                await store.save_many([event])

        nursery.start_soon(publish)
        done = await store.compact()
        assert before.free_bytes is not None
        assert done.before - done.after >= before.free_bytes * 0.9
    assert len(content(path)) < done.before / 2
    async with opened_for_reading(path) as reader:
        assert {event.id for event in await everything(reader)} == {event.id for event in [*NEW, *late]}
        assert [fault async for portion in reader.inspect() for fault in portion.faults] == []


async def test_a_file_of_an_older_version_is_written_anew_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "relay.db"
    with monkeypatch.context() as made:
        older(made)
        await half_empty(path)
    async with opened(path) as store:
        with pytest.raises(base.CannotCompact, match="stop the relay and run `trio-relay compact` once"):
            await store.compact()
    said: list[str] = []
    done = await sqlite.rewrite(options(path), said.append)
    assert said[0].startswith("writing 1 of 3 MB anew, which takes 0 seconds")
    assert done.after < done.before / 2
    assert sorted(os.listdir(tmp_path)) == ["relay.db", "relay.db.lock"]
    assert path.stat().st_mode & 0o777 == 0o600
    async with opened(path) as store:
        await store.remove([Filter(until=NOW + 499)])
        again = await store.compact()
        assert again.after < again.before
        assert {event.id for event in await everything(store)} == {event.id for event in NOTES[500:]}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_what_root_writes_anew_belongs_to_whom_it_belonged(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    await half_empty(path)
    os.chown(path, 12_345, 23_456)
    await sqlite.rewrite(options(path), str)
    found = path.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (12_345, 23_456, 0o600)


async def test_a_file_that_is_used_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    await half_empty(path)
    async with opened(path):
        with pytest.raises(base.StoreInUse, match=f"pid {os.getpid()}"):
            await sqlite.rewrite(options(path), print)
    async with opened_for_reading(path):
        with pytest.raises(StoreRefused, match="is in use by another process"):
            await sqlite.rewrite(options(path), print)
    await sqlite.rewrite(options(path), print)


async def test_where_there_is_no_room_it_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "relay.db"
    await half_empty(path)
    with monkeypatch.context() as full:
        full.setattr(sqlite.tally, "free_room", lambda _path: 10)
        with pytest.raises(StoreError, match="has not the room for a second file: 18 MB more are needed"):
            await sqlite.rewrite(options(path), print)

    def fail(_part: Path, _path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sqlite.shrinking, "put_in_place", fail)
    with pytest.raises(StoreError, match="could not be written anew: No space left on device; it is as it was"):
        await sqlite.rewrite(options(path), print)
    assert sorted(os.listdir(tmp_path)) == ["relay.db", "relay.db.lock"]
    async with opened_for_reading(path) as reader:
        assert len(await everything(reader)) == 200


async def test_who_ends_it_in_the_middle_has_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite.shrinking, "STEPS", 10)
    path = tmp_path / "relay.db"
    await half_empty(path)
    before = path.stat()
    with trio.CancelScope() as scope:
        cancel = cancelling(scope)
        await sqlite.rewrite(options(path), lambda _told: cancel())
    assert scope.cancelled_caught
    assert sorted(os.listdir(tmp_path)) == ["relay.db", "relay.db.lock"]
    assert (path.stat().st_ino, path.stat().st_size) == (before.st_ino, before.st_size)
    async with opened(path) as store:
        assert len(await everything(store)) == 200


async def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with pytest.raises(StoreRefused, match="does not exist"):
        await sqlite.rewrite(options(path), print)
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("CREATE TABLE t (x)").fetchall()
    with pytest.raises(StoreRefused, match="not one of trio-relay"):
        await sqlite.rewrite(options(path), print)
