"""The log is folded back into the database beside the writer, and whole when the store closes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import pytest
import structlog
import trio

from tests.store.files import content, exists, opened, opened_for_reading
from tests.store.inside import inside
from tests.support.backends import everything
from tests.support.keys import ALICE
from trio_relay import Event, Saved
from trio_relay.store.sqlite import store as store_module

BIG = "x" * 20_000
Checkpoint = Callable[[apsw.Connection, int], store_module.Folded]


@pytest.fixture
def checkpoint_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a log of a few pages be enough for a checkpoint."""
    monkeypatch.setattr(store_module, "PAGES_BEFORE_CHECKPOINT", 3)


@pytest.fixture
def checkpoint_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every save wait for a whole checkpoint."""
    monkeypatch.setattr(store_module, "PAGES_BEFORE_WAITING", 0)


@pytest.fixture
def folded(monkeypatch: pytest.MonkeyPatch) -> list[trio.Event]:
    """Its last event is set when a checkpoint has ended."""
    events = [trio.Event()]
    checkpoint: Checkpoint = store_module._checkpoint

    def watched(connection: apsw.Connection, mode: int) -> store_module.Folded:
        done = checkpoint(connection, mode)
        trio.from_thread.run_sync(events[-1].set)
        return done

    monkeypatch.setattr(store_module, "_checkpoint", watched)
    return events


async def without_log(path: Path) -> list[Event]:
    """What the database has got without its log."""
    with TemporaryDirectory() as folder:
        async with opened_for_reading(Path(shutil.copy(path, folder))) as store:
            return await everything(store)


@contextmanager
def reader(path: Path) -> Iterator[apsw.Connection]:
    """Somebody who reads for long, so that no checkpoint can finish."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.execute("BEGIN; SELECT count(*) FROM event").fetchall()
    yield connection
    connection.close()


@pytest.mark.usefixtures("checkpoint_soon")
async def test_a_grown_log_is_folded_back_while_the_store_goes_on(path: Path, folded: list[trio.Event]) -> None:
    events = [ALICE.event(f"{number}{BIG}") for number in range(5)]
    async with opened(path) as store:
        sizes = []
        for number, event in enumerate(events, 1):
            await store.save_many([event])
            await folded[-1].wait()
            folded.append(trio.Event())
            assert await without_log(path) == events[:number]
            sizes.append(store.statistics().wal_bytes)
        # Once folded back the log is written from its start again.
        assert max(sizes) < 2 * sizes[0]


async def test_a_short_log_is_left_alone(path: Path, folded: list[trio.Event]) -> None:
    async with opened(path) as store:
        before = content(path)
        await store.save_many([ALICE.event()])
        await trio.testing.wait_all_tasks_blocked()
        assert not folded[-1].is_set()
        assert content(path) == before


@pytest.mark.usefixtures("checkpoint_inside")
async def test_a_log_that_grows_too_long_is_folded_back_before_the_save_ends(path: Path) -> None:
    event = ALICE.event()
    async with opened(path) as store:
        await store.save_many([event])
        assert await without_log(path) == [event]


@pytest.mark.usefixtures("checkpoint_inside")
async def test_a_save_waits_for_readers_when_the_log_has_grown_too_long(path: Path) -> None:
    event = ALICE.event()
    async with opened(path) as store:
        with reader(path) as connection:
            waited: list[int] = []

            def wait(times: int) -> bool:
                waited.append(times)
                connection.close()
                return True

            inside(store).connection.set_busy_handler(wait)
            await store.save_many([event])
        assert waited == [0]
        assert await without_log(path) == [event]


@pytest.mark.usefixtures("checkpoint_inside", "checkpoint_soon")
async def test_a_reader_that_stays_holds_no_save_up(path: Path) -> None:
    events = [ALICE.event(f"{number}{BIG}") for number in range(5)]
    async with opened(path) as store:
        inside(store).connection.set_busy_timeout(0)
        with reader(path):
            for event in events:
                assert await store.save_many([event]) == [Saved.STORED]
        assert await everything(store) == events


@pytest.mark.usefixtures("checkpoint_inside")
async def test_what_a_long_reader_made_of_the_log_is_given_back_to_the_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a backup: else the file would be as long until the relay stops."""
    monkeypatch.setattr(store_module, "LOG_BYTES_KEPT", 200_000)
    async with opened(path) as store:
        inside(store).connection.set_busy_timeout(0)
        with reader(path):
            for number in range(30):
                await store.save_many([ALICE.event(f"{number}{BIG}")])
            assert store.statistics().wal_bytes > 600_000
        for number in range(30, 60):
            await store.save_many([ALICE.event(f"{number}{BIG}")])
        assert store.statistics().wal_bytes <= 200_000
        assert len(await everything(store)) == 60


@pytest.mark.usefixtures("checkpoint_inside")
async def test_a_reader_that_stays_makes_waiting_checkpoints_rare(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them costs the writer its patience, so the log has to grow by a quarter before the next."""
    attempts: list[int] = []
    checkpoint: Checkpoint = store_module._checkpoint

    def counted(connection: apsw.Connection, mode: int) -> store_module.Folded:
        attempts.append(mode)
        return checkpoint(connection, mode)

    monkeypatch.setattr(store_module, "_checkpoint", counted)
    async with opened(path) as store:
        inside(store).connection.set_busy_timeout(0)
        await store.save_many([ALICE.event()])
        with reader(path):
            for number in range(30):
                await store.save_many([ALICE.event(f"{number}{BIG}")])
            beside_reader = len(attempts)
        for number in range(30, 60):
            await store.save_many([ALICE.event(f"{number}{BIG}")])
    assert beside_reader < 20
    assert set(attempts[:-1]) == {apsw.SQLITE_CHECKPOINT_RESTART}
    # Once the log is whole again it is folded back after each save.
    assert len(attempts) - beside_reader > 20


class Failing:
    """Stands for a connection whose first checkpoint finds the disk full."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.attempts = 0
        self._connection = connection
        self.close = connection.close

    def wal_checkpoint(self, *, mode: int) -> None:
        self.attempts += 1
        if self.attempts == 1:
            raise apsw.FullError("database or disk is full")
        self._connection.wal_checkpoint(mode=mode)


@pytest.mark.usefixtures("checkpoint_inside")
async def test_a_save_whose_checkpoint_fails_is_a_save_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[structlog.typing.EventDict]
) -> None:
    """The events are committed: a `StoreError` would say that they are not."""
    event = ALICE.event()
    async with opened(path) as store:
        monkeypatch.setattr(store, "_connection", Failing(inside(store).connection))
        assert await store.save_many([event]) == [Saved.STORED]
        assert await everything(store) == [event]
    assert logged == [{"event": "checkpoint failed", "error": "database or disk is full", "log_level": "warning"}]


@pytest.mark.usefixtures("checkpoint_soon", "inline_threads")
async def test_a_checkpoint_that_fails_beside_the_writer_is_tried_again_a_second_later(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    logged: list[structlog.typing.EventDict],
    mock_clock: trio.testing.MockClock,
) -> None:
    """The clock stands still unless told: the writer works in a thread, which it cannot see."""
    async with opened(path) as store:
        checkpointer = Failing(inside(store).checkpointer)
        monkeypatch.setattr(store, "_checkpointer", checkpointer)
        for number in range(2):
            await store.save_many([ALICE.event(f"{number}{BIG}")])
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(0.4)
            await trio.testing.wait_all_tasks_blocked()
        assert checkpointer.attempts == 1
        assert logged == [{"event": "checkpoint failed", "error": "database or disk is full", "log_level": "warning"}]
        mock_clock.jump(0.15)
        await trio.testing.wait_all_tasks_blocked()
        assert checkpointer.attempts == 1
        mock_clock.jump(0.1)
        await trio.testing.wait_all_tasks_blocked()
        assert checkpointer.attempts == 2
    assert len(logged) == 1


async def test_closing_with_a_full_disk_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[structlog.typing.EventDict]
) -> None:
    event = ALICE.event()
    async with opened(path) as store:
        await store.save_many([event])
        monkeypatch.setattr(store, "_connection", Failing(inside(store).connection))
    assert [entry["event"] for entry in logged] == ["checkpoint failed"]
    async with opened(path) as store:
        assert await everything(store) == [event]


async def test_closing_leaves_all_in_the_database_and_no_log(path: Path) -> None:
    events = [ALICE.event(f"{number}{BIG}") for number in range(5)]
    async with opened(path) as store:
        await store.save_many(events)
    assert not exists(Path(f"{path}-wal"))
    assert await without_log(path) == events
