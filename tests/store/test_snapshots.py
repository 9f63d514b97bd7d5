"""The snapshot that searches on the loop share: kept between commits, dropped before each, and never answered from."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import pytest
import trio

from tests.store.files import opened, opened_for_reading
from tests.store.inside import inside, readers
from tests.store.quickness import Clock
from tests.support.backends import everything
from tests.support.keys import ALICE, made_up
from trio_relay import Filter, StoreError
from trio_relay.nostr.event import Event, encode
from trio_relay.store.sqlite import SqliteStore, schema
from trio_relay.store.sqlite import store as store_module
from trio_relay.store.sqlite.batch_writer import BatchWriter
from trio_relay.store.sqlite.loop_reader import LoopReader

BIG = "x" * 20_000
ONE, TWO, THREE = (ALICE.event(text) for text in ("one", "two", "three"))
ANY = Filter(limit=10)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[apsw.Connection]:
    """Somebody who writes."""
    connection = apsw.Connection(str(tmp_path / "relay.db"))
    schema.prepare(connection, "")
    yield connection
    connection.close()


@pytest.fixture
def connection(writer: apsw.Connection, tmp_path: Path) -> Iterator[apsw.Connection]:
    """What the reader reads with."""
    connection = apsw.Connection(str(tmp_path / "relay.db"), flags=apsw.SQLITE_OPEN_READONLY)
    yield connection
    connection.close()


def log_is_folded_back_whole(writer: apsw.Connection) -> bool:
    """True if nobody's snapshot holds the log."""
    try:
        writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.BusyError:
        return False
    return True


def test_searches_share_what_they_see_until_it_is_dropped(writer: apsw.Connection, connection: apsw.Connection) -> None:
    reader, batches = LoopReader(connection), BatchWriter(writer)
    reader.share_snapshot()
    batches.save([ONE])
    assert reader.known([ONE.id]) == {ONE.id}
    batches.save([TWO])
    assert reader.known([TWO.id]) == set()
    assert reader.query([ANY]) == [encode(ONE)]
    reader.drop_snapshot()
    assert reader.known([ONE.id, TWO.id]) == {ONE.id, TWO.id}
    batches.save([THREE])
    assert reader.known([THREE.id]) == {THREE.id}
    reader.share_snapshot()
    assert reader.known([THREE.id]) == {THREE.id}


def test_sharing_anew_shows_what_came_meanwhile(writer: apsw.Connection, connection: apsw.Connection) -> None:
    reader = LoopReader(connection)
    reader.share_snapshot()
    assert reader.known([ONE.id]) == set()
    BatchWriter(writer).save([ONE])
    reader.share_snapshot()
    assert reader.known([ONE.id]) == {ONE.id}


def test_only_a_shared_snapshot_that_was_used_holds_the_log(
    writer: apsw.Connection, connection: apsw.Connection
) -> None:
    reader, batches = LoopReader(connection), BatchWriter(writer)
    batches.save([ONE])
    assert reader.query([ANY]) == [encode(ONE)]
    assert log_is_folded_back_whole(writer)
    reader.share_snapshot()
    batches.save([TWO])
    assert log_is_folded_back_whole(writer)
    batches.save([THREE])
    reader.known([ONE.id])
    assert not log_is_folded_back_whole(writer)
    reader.drop_snapshot()
    assert log_is_folded_back_whole(writer)


def test_a_search_that_is_broken_off_leaves_the_shared_snapshot_usable(
    writer: apsw.Connection, connection: apsw.Connection
) -> None:
    events, clock = [made_up(str(number)) for number in range(500)], Clock()
    reader, batches = LoopReader(connection, clock), BatchWriter(writer)
    batches.save(events)
    reader.share_snapshot()
    for _ in range(5):
        clock.per_look = 61.0
        assert reader.query([Filter(limit=500)]) is None
        clock.per_look = 0.0
        assert reader.known([ONE.id]) == set()
    batches.save([ONE])
    reader.share_snapshot()
    assert reader.known([ONE.id]) == {ONE.id}


def test_a_snapshot_is_dropped_however_long_ago_the_last_search_was(connection: apsw.Connection) -> None:
    """SQLite looks at the time after so many steps of a statement, those of earlier runs included."""
    clock = Clock()
    reader = LoopReader(connection, clock)
    for _ in range(1_000):
        reader.share_snapshot()
        assert reader.known([ONE.id]) == set()
        clock.now += 100.0
        reader.drop_snapshot()
        assert not connection.in_transaction


async def test_a_store_takes_every_save_however_long_ago_the_last_search_was(path: Path) -> None:
    clock = Clock()
    async with opened(path) as store:
        store._quick._clock = clock
        for number in range(400):
            event = made_up(str(number))
            assert store.known_nowait([event.id]) == set()
            clock.now += 100.0
            await store.save_many([event])
            assert store.known_nowait([event.id]) == {event.id}


async def test_the_log_is_folded_back_and_written_anew_while_queries_come_all_the_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "PAGES_BEFORE_CHECKPOINT", 3)
    events = [ALICE.event(f"{number}{BIG}") for number in range(60)]
    checkpoint = store_module._checkpoint
    folded = trio.Event()

    def watched(connection: apsw.Connection, mode: int) -> store_module.Folded:
        done = checkpoint(connection, mode)
        trio.from_thread.run_sync(folded.set)
        return done

    monkeypatch.setattr(store_module, "_checkpoint", watched)
    saved: list[Event] = []
    sizes: list[int] = []
    asked = 0

    async def ask(store: SqliteStore) -> None:
        nonlocal asked
        while True:
            page = store.query_nowait([Filter(ids=frozenset(event.id for event in saved[-1:]), limit=1)])
            assert page == [encode(event) for event in saved[-1:]]
            asked += 1
            await trio.lowlevel.checkpoint()

    async with opened(path) as store, trio.open_nursery() as nursery:
        nursery.start_soon(ask, store)
        for event in events:
            before, folded = asked, trio.Event()
            await store.save_many([event])
            saved.append(event)
            await folded.wait()
            assert asked > before
            sizes.append(store.statistics().wal_bytes)
        assert max(sizes) < 2 * sizes[0]
        with TemporaryDirectory() as folder:
            async with opened_for_reading(Path(shutil.copy(path, folder))) as copy:
                assert await everything(copy) == events
        nursery.cancel_scope.cancel()


async def test_searches_between_two_saves_share_one_snapshot(path: Path) -> None:
    """Also after a save that failed."""
    async with opened(path) as store:
        for number, hook in enumerate((None, lambda: True, None)):
            inside(store).connection.set_commit_hook(hook)
            with suppress(StoreError):
                await store.save_many([ALICE.event(str(number))])
            assert not readers(store).quick.in_transaction
            for _ in range(3):
                store.known_nowait([ONE.id])
                assert readers(store).quick.in_transaction
        await store.probe()
        assert not readers(store).quick.in_transaction


async def test_a_save_that_waits_for_a_whole_checkpoint_is_not_held_up_by_queries(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "PAGES_BEFORE_WAITING", 0)
    folded: list[store_module.Folded] = []
    checkpoint = store_module._checkpoint

    def watched(connection: apsw.Connection, mode: int) -> store_module.Folded:
        folded.append(checkpoint(connection, mode))
        return folded[-1]

    async with opened(path) as store:
        with monkeypatch.context() as patch:
            patch.setattr(store_module, "_checkpoint", watched)
            for number in range(20):
                event = made_up(str(number))
                assert store.known_nowait([event.id]) == set()
                await store.save_many([event])
                assert store.known_nowait([event.id]) == {event.id}
    assert folded == [store_module.Folded.WHOLE] * 20


async def test_a_save_that_fails_leaves_searches_as_they_were(path: Path) -> None:
    async with opened(path) as store:
        await store.save_many([ONE])
        inside(store).connection.set_commit_hook(lambda: True)
        with pytest.raises(StoreError):
            await store.save_many([TWO])
        inside(store).connection.set_commit_hook(None)
        assert store.known_nowait([ONE.id, TWO.id]) == {ONE.id}
        assert store.query_nowait([ANY]) == [encode(ONE)]
        await store.save_many([TWO])
        assert store.known_nowait([ONE.id, TWO.id]) == {ONE.id, TWO.id}


async def test_a_cancelled_save_leaves_nothing_stale_behind(path: Path) -> None:
    async with opened(path) as store:
        assert store.known_nowait([ONE.id]) == set()
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.save_many([ONE])
        assert scope.cancelled_caught
        assert store.known_nowait([ONE.id]) == set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.save_many, [TWO])
            await trio.testing.wait_all_tasks_blocked()
            assert store.known_nowait([TWO.id]) is not None
            nursery.cancel_scope.cancel()
        assert store.known_nowait([TWO.id]) == await store.known([TWO.id]) == {TWO.id}


async def test_a_reader_alone_sees_what_another_writes_at_once(path: Path) -> None:
    """It has nobody who would tell it to see anew."""
    async with opened(path) as store, opened_for_reading(path) as reader:
        for event in (ONE, TWO):
            assert reader.known_nowait([event.id]) == set()
            await store.save_many([event])
            assert reader.known_nowait([event.id]) == {event.id}
            assert encode(event) in (reader.query_nowait([ANY]) or [])


async def test_a_write_that_ends_before_another_shares_nothing(path: Path) -> None:
    """Else what the other changes would not be seen after it."""
    async with opened(path) as store:
        ended: list[bool] = []

        async def write() -> None:
            await store._write(lambda: None)
            store.query_nowait([ANY])
            ended.append(readers(store).quick.in_transaction)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(write)
        assert ended == [False, False, True]
