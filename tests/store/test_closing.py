"""A store that closes gives back what it took, waits for no one for ever, and loses nothing."""

from __future__ import annotations

import gc
import os
import threading
from functools import partial
from pathlib import Path

import apsw
import pytest
import trio

from tests.store.files import exists, opened, opened_for_reading
from tests.store.inside import inside, readers
from tests.support.backends import everything
from tests.support.keys import ALICE
from trio_relay import StoreError, StoreRefused
from trio_relay.store.sqlite import SqliteStore, lifetime
from trio_relay.store.sqlite import store as store_module


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd" if os.path.exists("/proc/self/fd") else "/dev/fd"))


async def use(path: Path) -> None:
    async with opened(path, readers=4) as store:
        await store.save_many([ALICE.event()])
        await everything(store)
    async with opened_for_reading(path) as store:
        await everything(store)


@pytest.mark.slow
async def test_fifty_stores_leave_descriptors_and_threads_as_before(tmp_path: Path) -> None:
    await use(tmp_path / "0.db")
    before = descriptors(), threading.active_count()
    for number in range(1, 51):
        await use(tmp_path / f"{number}.db")
    assert descriptors() == before[0]
    assert threading.active_count() <= before[1]


async def test_what_failed_to_open_leaves_no_descriptors(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"Dear diary, " * 1_000)
    await use(tmp_path / "0.db")
    before = descriptors()
    for opener in (opened, opened_for_reading):
        with pytest.raises(StoreRefused):
            async with opener(path):
                raise AssertionError("it was opened")
    gc.collect()
    assert descriptors() == before


async def test_a_closed_store_says_so_instead_of_answering(path: Path) -> None:
    async with opened(path) as store:
        pass
    for attempt in (store.save_many([ALICE.event()]), store.known(["a" * 64]), store.probe()):
        with pytest.raises(StoreError, match=r"^the relay's store failed \(ConnectionClosedError\)$"):
            await attempt


async def test_closing_while_another_process_reads_loses_nothing(path: Path) -> None:
    events = [ALICE.event("before"), ALICE.event("after")]
    reader = apsw.Connection(":memory:")
    async with opened(path) as store:
        await store.save_many(events[:1])
        inside(store).connection.set_busy_timeout(0)
        reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        reader.execute("BEGIN; SELECT count(*) FROM event").fetchall()
        await store.save_many(events[1:])
    assert reader.execute("SELECT count(*) FROM event").get == 1
    reader.close()
    async with opened(path) as store:
        assert await everything(store) == events


async def test_a_read_that_is_at_work_while_the_store_closes_ends_as_ever(path: Path) -> None:
    event, go = ALICE.event(), threading.Event()

    def slow(connection: apsw.Connection) -> int:
        go.wait()
        count: int = connection.execute("SELECT count(*) FROM event").get
        return count

    answers: list[int] = []

    async def ask(store: SqliteStore) -> None:
        answers.append(await readers(store).read(slow))

    async with trio.open_nursery() as nursery:
        async with opened(path) as store:
            await store.save_many([event])
            nursery.start_soon(ask, store)
            await trio.testing.wait_all_tasks_blocked()
        go.set()
    assert answers == [1]
    async with opened(path) as store:
        assert await everything(store) == [event]


async def test_a_cancelled_store_closes_all_the_same(path: Path) -> None:
    event = ALICE.event()
    with trio.CancelScope() as scope:
        async with opened(path) as store:
            await store.save_many([event])
            scope.cancel()
            await trio.sleep_forever()
    assert not exists(Path(f"{path}-wal"))
    async with opened(path) as store:
        assert await everything(store) == [event]


async def test_a_store_that_does_not_close_is_given_up_in_the_end(
    path: Path, mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, closed, close = threading.Event(), trio.Event(), SqliteStore.close
    token = trio.lowlevel.current_trio_token()

    def hang(self: SqliteStore) -> None:
        token.run_sync_soon(mock_clock.jump, lifetime.CLOSE_SECONDS)
        release.wait(timeout=20)
        close(self)
        token.run_sync_soon(closed.set)

    monkeypatch.setattr(SqliteStore, "close", hang)
    async with opened(path):
        pass
    assert not closed.is_set()
    release.set()
    await closed.wait()


async def test_a_probe_waits_for_the_batch_that_is_at_work(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They share a connection: a probe that failed inside the batch's transaction would take a part of it back."""
    async with opened(path) as store:
        log: list[str] = []
        at_work, go = trio.Event(), threading.Event()
        token = trio.lowlevel.current_trio_token()

        def slow_insert(events: list[object]) -> None:
            token.run_sync_soon(at_work.set)
            go.wait()
            log.append("inserted")

        def probe(connection: apsw.Connection) -> None:
            log.append("probed in a transaction" if connection.in_transaction else "probed")

        monkeypatch.setattr(inside(store).writer, "_insert", slow_insert)
        monkeypatch.setattr(store_module, "_probe", probe)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.save_many, [ALICE.event()])
            await at_work.wait()
            nursery.start_soon(store.probe)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(20):  # time enough for a thread that should not run
                await trio.to_thread.run_sync(partial(int, 0))
            go.set()
        assert log == ["inserted", "probed"]
