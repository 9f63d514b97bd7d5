"""Blocking work in threads: interruptible when its task is cancelled, or one piece after another in one thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, TypeVar

import outcome
import trio

T = TypeVar("T")

_SECONDS_BETWEEN_INTERRUPTS: Final = 0.01


async def run_interruptibly(work: Callable[[], T], interrupt: Callable[[], None]) -> T:
    """Run `work` in a thread; on cancellation call `interrupt` until the thread has ended.

    `trio.to_thread` can only wait for the whole work or abandon the thread. Here the thread has always ended when this
    returns, so what it used, such as a database connection, may be used by others at once.

    Args:
        work: runs in a thread of Trio's cache.
        interrupt: sync, quick, safe to call from the loop while `work` runs; makes `work` end soon, by an exception.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    token = trio.lowlevel.current_trio_token()
    results: list[outcome.Outcome[T]] = []
    over = trio.Event()

    def deliver(result: outcome.Outcome[T]) -> None:
        results.append(result)
        token.run_sync_soon(over.set)

    trio.lowlevel.start_thread_soon(work, deliver)
    try:
        await over.wait()
    except BaseException:  # Cancelled, or KeyboardInterrupt in the main task
        with trio.CancelScope(shield=True):
            while not over.is_set():
                # Again and again: it has no effect before the first statement and between two statements.
                interrupt()
                with trio.move_on_after(_SECONDS_BETWEEN_INTERRUPTS):
                    await over.wait()
        raise
    return results[0].unwrap()


class Worker:
    """A thread that does one piece of work after another; `close` ends it.

    A commit is short, and a lone event waits for it: this costs half of `trio.to_thread`, which takes a thread from a
    cache, names it, copies a context, and comes back through a queue that wakes the loop twice.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._outcome: outcome.Outcome[object] | None = None
        self._turn = trio.Lock()
        self._done, self._tell = os.pipe()
        os.set_blocking(self._done, False)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[], T]) -> T:
        """Run a piece of work in the thread, and wait until it has ended, even when cancelled."""
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self._turn.acquire_nowait()
        except trio.WouldBlock:
            await self._turn.acquire()
        try:
            self._jobs.put(work)
            await self._wait()
            assert self._outcome is not None
            return self._outcome.unwrap()  # type: ignore[return-value]  # it is this work's
        finally:
            self._outcome = None
            self._turn.release()

    async def _wait(self) -> None:
        try:
            await trio.lowlevel.wait_readable(self._done)
        except BaseException as error:  # a cancel scope around the first wait would double its cost
            with trio.CancelScope(shield=True):
                await trio.lowlevel.wait_readable(self._done)
            if not isinstance(error, trio.Cancelled):  # a KeyboardInterrupt is not raised again
                raise
        finally:
            os.read(self._done, 1)

    def close(self) -> None:
        """End the thread after its current work; blocks. No task may be waiting in `run`."""
        self._jobs.put(None)
        self._thread.join()
        os.close(self._done)
        os.close(self._tell)

    def _work(self) -> None:
        while (work := self._jobs.get()) is not None:
            self._outcome = outcome.capture(work)
            os.write(self._tell, b"!")
