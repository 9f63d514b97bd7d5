"""The writer's own thread: one work after another, each waited for to its end, nothing of one left for the next."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from functools import partial

import pytest
import trio

from tests.store.test_closing import descriptors
from trio_relay.store.sqlite.threads import Worker


@pytest.fixture
def worker() -> Iterator[Worker]:
    """One at work."""
    worker = Worker("a worker")
    yield worker
    worker.close()


class Gate:
    """Work that waits in its thread until it is let go."""

    def __init__(self, result: object = None) -> None:
        self.begun = trio.Event()
        self.go = threading.Event()
        self.ended = False
        self._result = result
        self._token = trio.lowlevel.current_trio_token()

    def __call__(self) -> object:
        self._token.run_sync_soon(self.begun.set)
        assert self.go.wait(timeout=60)
        self.ended = True
        if isinstance(self._result, BaseException):
            raise self._result
        return self._result


async def let_go_later(gate: Gate) -> None:
    await trio.testing.wait_all_tasks_blocked()
    assert not gate.ended
    gate.go.set()


async def test_work_gives_its_value(worker: Worker) -> None:
    assert [await worker.run(partial(int, text)) for text in ("1", "2", "3")] == [1, 2, 3]


async def test_an_exception_comes_out_and_the_next_work_is_done(worker: Worker) -> None:
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await worker.run(lambda: 1 / 0)
        assert await worker.run(lambda: 42) == 42


async def test_all_work_is_done_in_one_thread_of_that_name(worker: Worker) -> None:
    threads = [await worker.run(threading.current_thread) for _ in range(3)]
    assert {thread.name for thread in threads} == {"a worker"}
    assert len(set(threads)) == 1
    assert threads[0] is not threading.current_thread()


async def test_others_go_on_while_it_works(worker: Worker) -> None:
    gate = Gate()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run, gate)
            await gate.begun.wait()
            assert not gate.ended
            gate.go.set()
    assert gate.ended


async def test_work_of_many_tasks_is_done_one_at_a_time_in_their_order(worker: Worker) -> None:
    gate, log = Gate(), list[int]()
    results: dict[int, object] = {}

    async def run(number: int) -> None:
        def work() -> int:
            log.append(number)
            return number

        results[number] = await worker.run(work)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run, gate)
            await gate.begun.wait()
            for number in range(5):
                nursery.start_soon(run, number)
                await trio.testing.wait_all_tasks_blocked()
            assert log == []
            gate.go.set()
    assert log == [0, 1, 2, 3, 4]
    assert results == {number: number for number in range(5)}


@pytest.mark.parametrize("result", ["done", ZeroDivisionError()], ids=["finishes", "fails"])
async def test_a_cancelled_task_waits_for_its_work_and_leaves_nothing_for_the_next(
    worker: Worker, result: object
) -> None:
    gate = Gate(result)
    got: list[object] = []

    async def run() -> None:
        try:
            got.append(await worker.run(gate))
        except ZeroDivisionError as error:
            got.append(error)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await gate.begun.wait()
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await let_go_later(gate)
    assert gate.ended
    assert got == [result]
    for number in range(3):
        gate = Gate(number)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(let_go_later, gate)
            # Were a byte left over from before, it would come back before its work was done.
            assert await worker.run(gate) == number
            assert gate.ended


async def test_work_of_a_cancelled_task_is_not_begun_and_the_next_gets_its_turn(worker: Worker) -> None:
    begun: list[int] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        await worker.run(partial(begun.append, 1))
    assert scope.cancelled_caught
    assert begun == []
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run, partial(begun.append, 2))
    assert begun == [2]


async def test_work_whose_task_is_cancelled_while_it_waits_for_its_turn_is_not_begun(worker: Worker) -> None:
    gate, begun = Gate(), list[int]()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run, gate)
            await gate.begun.wait()
            with trio.move_on_after(0) as scope:
                await worker.run(partial(begun.append, 1))
            assert scope.cancelled_caught
            gate.go.set()
    assert await worker.run(lambda: 42) == 42
    assert begun == []


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt, as in a terminal: in the background of a script, or under nohup, it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_from_the_keyboard_waits_for_the_work_and_comes_out() -> None:
    async def main() -> None:
        worker, gate = Worker("a worker"), Gate()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(interrupt_and_let_go, gate)
                with pytest.raises(KeyboardInterrupt):
                    await worker.run(gate)
                assert gate.ended
            assert await worker.run(lambda: 42) == 42
        finally:
            worker.close()

    trio.run(main)


@trio.lowlevel.enable_ki_protection
async def interrupt_and_let_go(gate: Gate) -> None:
    """Protected, so that the interrupt goes to the main task."""
    await gate.begun.wait()
    await trio.testing.wait_all_tasks_blocked()
    signal.raise_signal(signal.SIGINT)
    await let_go_later(gate)


async def test_closing_ends_the_thread_and_gives_the_descriptors_back() -> None:
    before = descriptors()
    worker = Worker("a worker")
    thread = await worker.run(threading.current_thread)
    worker.close()
    assert not thread.is_alive()
    assert descriptors() == before


async def test_closing_waits_for_what_is_being_done() -> None:
    """Of a task that is gone: nobody waits any more."""
    worker = Worker("a worker")
    gate = Gate()
    worker._jobs.put(gate)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, worker.close)
            await gate.begun.wait()
            await let_go_later(gate)
    assert gate.ended
