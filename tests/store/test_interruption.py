"""Blocking work that a cancelled task ends: the thread is over, the connection is free, and nothing is left running."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import apsw
import pytest
import trio

from tests.store.files import opened
from tests.store.inside import readers
from tests.support.backends import everything
from tests.support.keys import ALICE
from trio_relay.store.sqlite.threads import run_interruptibly

# Some seconds of counting, so that a test whose query is not interrupted fails instead of hanging.
LONG: Final = """
WITH RECURSIVE number(n) AS (VALUES (started()) UNION ALL SELECT n + 1 FROM number WHERE n < 20000000)
SELECT count(n) FROM number
"""


class LongQuery:
    """A query that takes long, says when it runs, and keeps what became of it."""

    def __init__(self) -> None:
        self.runs = trio.Event()
        self.ended: object = None
        self._token = trio.lowlevel.current_trio_token()

    def __call__(self, connection: apsw.Connection) -> None:
        connection.create_scalar_function("started", self._started)
        try:
            self.ended = connection.execute(LONG).get
        except apsw.Error as error:
            self.ended = type(error)
            raise

    def _started(self, *_: object) -> int:
        self._token.run_sync_soon(self.runs.set)
        return 0


async def test_cancelling_a_query_interrupts_it_and_leaves_the_connection_usable(path: Path) -> None:
    event = ALICE.event()
    async with opened(path, readers=1) as store:
        await store.save_many([event])
        query = LongQuery()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(readers(store).read, query)
            await query.runs.wait()
            nursery.cancel_scope.cancel()
        assert query.ended is apsw.InterruptError
        assert await everything(store) == [event]


async def test_a_query_cancelled_before_its_first_step_is_interrupted_too(path: Path) -> None:
    """An interrupt does nothing to a connection that isn't at work yet, so one alone may come too early."""
    async with opened(path, readers=1) as store:
        query, cancelled = LongQuery(), threading.Event()

        def begin_late(connection: apsw.Connection) -> None:
            cancelled.wait()
            query(connection)

        connection = readers(store).idle[0]

        def interrupt() -> None:
            connection.interrupt()
            cancelled.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_interruptibly, partial(begin_late, connection), interrupt)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert query.ended is apsw.InterruptError
        assert await everything(store) == []


async def test_a_query_that_waits_for_a_connection_gets_it_when_another_is_cancelled(path: Path) -> None:
    async with opened(path, readers=1) as store:
        query = LongQuery()
        async with trio.open_nursery() as nursery:
            running = trio.CancelScope()

            async def run() -> None:
                with running:
                    await readers(store).read(query)

            nursery.start_soon(run)
            await query.runs.wait()
            nursery.start_soon(everything, store)
            await trio.testing.wait_all_tasks_blocked()
            running.cancel()
        assert running.cancelled_caught
        assert query.ended is apsw.InterruptError


async def test_a_query_that_waits_for_a_connection_can_be_cancelled(path: Path) -> None:
    async with opened(path, readers=1) as store:
        query = LongQuery()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(readers(store).read, query)
            await query.runs.wait()
            with trio.CancelScope() as waiting:
                waiting.cancel()
                await everything(store)
            assert waiting.cancelled_caught
            assert query.ended is None
            nursery.cancel_scope.cancel()


async def test_as_many_queries_run_at_once_as_there_are_readers_and_one_of_the_relay_itself(path: Path) -> None:
    async with opened(path, readers=2) as store:
        queries = [LongQuery() for _ in range(4)]
        async with trio.open_nursery() as nursery:
            for query in queries[:3]:
                nursery.start_soon(readers(store).read, query)
                await query.runs.wait()
            nursery.start_soon(readers(store).read, queries[3])
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert [query.ended for query in queries] == [apsw.InterruptError] * 3 + [None]


def nothing() -> None: ...


@pytest.fixture
def release() -> threading.Event:
    """For work in a thread to wait for."""
    return threading.Event()


async def test_work_gives_its_value_or_raises_its_exception() -> None:
    assert await run_interruptibly(lambda: 42, nothing) == 42
    with pytest.raises(ZeroDivisionError):
        await run_interruptibly(lambda: 1 / 0, nothing)


async def test_work_runs_in_a_thread_while_others_go_on(release: threading.Event) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_interruptibly, release.wait, nothing)
        await trio.testing.wait_all_tasks_blocked()
        release.set()
    assert await run_interruptibly(threading.get_ident, nothing) != threading.get_ident()


async def test_work_of_a_cancelled_task_is_not_begun() -> None:
    begun: list[int] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        await run_interruptibly(partial(begun.append, 1), nothing)
    assert scope.cancelled_caught
    assert begun == []


@pytest.mark.parametrize("ending", [lambda: "done", lambda: 1 / 0], ids=["finishes", "fails"])
async def test_a_cancelled_task_waits_for_its_work_and_is_cancelled_although_it(
    release: threading.Event, ending: Callable[[], object]
) -> None:
    """Named on by its parameters."""
    log: list[str] = []

    def work() -> object:
        release.wait()
        log.append("worked")
        return ending()

    def interrupt() -> None:
        if not log:
            log.append("interrupted")
            release.set()

    async with trio.open_nursery() as nursery:

        async def run() -> None:
            try:
                await run_interruptibly(work, interrupt)
            except trio.Cancelled:
                log.append("cancelled")
                raise

        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert log == ["interrupted", "worked", "cancelled"]


async def test_work_that_is_done_is_not_interrupted() -> None:
    interrupts: list[int] = []
    for _ in range(20):
        assert await run_interruptibly(lambda: 1, partial(interrupts.append, 1)) == 1
    assert interrupts == []


async def test_what_is_known_is_told_while_queries_hold_all_readers(path: Path) -> None:
    """Else one client's slow queries would hold up everybody's events."""
    event = ALICE.event()
    async with opened(path, readers=1) as store, trio.open_nursery() as nursery:
        await store.save_many([event])
        query = LongQuery()
        nursery.start_soon(readers(store).read, query)
        await query.runs.wait()
        assert await store.known([event.id]) == {event.id}
        assert query.ended is None
        nursery.cancel_scope.cancel()
