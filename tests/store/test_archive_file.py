"""The archive in the file: in one transaction with what goes, over restarts and failures, and in files of old."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace

from tests.contract.test_archive import BY_ID, LOST, NOTE, ONE, REPLACED, THREE, TWO, profile, told, vanishes
from tests.store.files import opened, opened_for_reading, options
from tests.store.inside import inside
from tests.store.older import make_older
from tests.support.backends import archived, everything
from tests.support.keys import ALICE, BOB, NOW
from trio_relay import Filter, Saved, StoreError, open_sqlite
from trio_relay.store import sqlite


async def test_it_is_there_after_a_restart_and_stays_when_it_is_switched_off(path: Path) -> None:
    kept = [(ONE, REPLACED, TWO.id)]
    async with open_sqlite(replace(options(path), archive=True)) as store:
        await store.save_many([ONE, TWO])
    async with opened(path) as store:
        assert await told(store) == kept
        await store.save_many([THREE, NOTE, BY_ID, LOST])
        await store.sweep()
        assert await told(store) == kept
    async with opened_for_reading(path) as reader:
        assert await told(reader) == kept


async def test_it_forgets_also_while_it_is_off(path: Path) -> None:
    async with open_sqlite(replace(options(path), archive=True)) as store:
        await store.save_many([ONE, TWO, NOTE, BY_ID, profile(1, BOB), profile(2, BOB)])
    async with opened(path) as store:
        await store.remove([Filter(ids=frozenset([NOTE.id]))])
        await store.save_many([vanishes()])
        assert [event for event, _, _ in await told(store)] == [profile(1, BOB)]
    async with open_sqlite(replace(options(path), archive_seconds=1), clock=lambda: 2**33) as store:
        await store.sweep()
        assert await told(store) == []


@pytest.mark.parametrize("statement", ["_DELETE", "_GIVEN"])
async def test_what_could_not_be_removed_is_not_in_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    async with open_sqlite(replace(options(path), archive=True)) as store:
        await store.save_many([ONE, LOST])
        with monkeypatch.context() as patch:
            patch.setattr(sqlite.deletes, statement, "SELECT * FROM nowhere WHERE ?1")
            for fails in (store.save_many([TWO]), store.sweep()):
                with pytest.raises(StoreError):
                    await fails
        assert await told(store) == []
        assert await everything(store) == [ONE, LOST]
        assert await store.save_many([TWO]) == [Saved.STORED]
        assert await told(store) == [(ONE, REPLACED, TWO.id)]


@pytest.mark.parametrize("statement", ["_BODIES", "_INSERT", "_INSERT_OWNERS"])
async def test_what_cannot_be_kept_does_not_go(path: Path, monkeypatch: pytest.MonkeyPatch, statement: str) -> None:
    async with open_sqlite(replace(options(path), archive=True)) as store:
        await store.save_many([ONE])
        with monkeypatch.context() as patch:
            patch.setattr(sqlite.archive, statement, "SELECT * FROM nowhere WHERE ?1")
            with pytest.raises(StoreError):
                await store.save_many([TWO])
        assert await everything(store) == [ONE]
        assert await archived(store) == []


@pytest.mark.parametrize("is_on", [True, False])
async def test_a_key_that_vanishes_in_portions_takes_all_along_also_over_a_restart(
    path: Path, monkeypatch: pytest.MonkeyPatch, is_on: bool
) -> None:
    monkeypatch.setattr(sqlite.deletes, "AT_A_TIME", 2)
    versions = [profile(at) for at in range(9)]
    async with open_sqlite(replace(options(path), archive=True)) as store:
        await store.save_many([*versions, NOTE, profile(1, BOB), profile(2, BOB)])
        with monkeypatch.context() as patch:
            patch.setattr(inside(store).writer, "vanish", lambda _: (_ for _ in ()).throw(apsw.BusyError()))
            assert await store.save_many([vanishes()]) == [Saved.FAILED]
        assert len(await archived(store)) == 9
    async with open_sqlite(replace(options(path), archive=is_on)) as store:
        assert await everything(store) == [profile(2, BOB), vanishes()]
        assert [event for event, _, _ in await told(store)] == [profile(1, BOB)]


async def test_a_file_of_the_version_before_has_an_empty_one(path: Path) -> None:
    async with opened(path) as store:
        await store.save_many([ONE, NOTE])
    make_older(path, 6)
    async with open_sqlite(replace(options(path), archive=True)) as store:
        assert await told(store) == []
        await store.save_many([TWO])
        assert await told(store) == [(ONE, REPLACED, TWO.id)]


async def test_events_longer_than_a_page_are_told(path: Path) -> None:
    large = [ALICE.event("x" * 700_000, kind=0, created_at=NOW + at) for at in range(4)]
    async with open_sqlite(replace(options(path), archive=True)) as store:
        for version in large:
            await store.save_many([version])
        assert [event for event, _, _ in await told(store)] == large[:3]


async def test_nothing_of_what_it_forgets_is_left_in_its_tables(path: Path) -> None:
    async with open_sqlite(replace(options(path), archive=True)) as store:
        await store.save_many([ONE, TWO, THREE, NOTE, BY_ID, LOST])
        await store.sweep()
        await store.remove([Filter()])
        rows = "SELECT (SELECT count(*) FROM archive), (SELECT count(*) FROM archive_owner)"
        assert inside(store).connection.execute(rows).fetchall() == [(0, 0)]
