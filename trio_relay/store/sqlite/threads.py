"""Blocking work in threads: interrupted when its task is cancelled, or piece after piece in a thread of its own."""

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
    """Run `work` in a thread; on cancellation call `interrupt` until the thread comes back.

    `trio.to_thread` offers only to wait for the whole work or to abandon the thread. Here the thread is always over
    when this returns, so what it used, a database connection say, may be used by others at once.

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
                # Again and again: it does nothing to a connection that has not begun yet, or is between two statements.
                interrupt()
                with trio.move_on_after(_SECONDS_BETWEEN_INTERRUPTS):
                    await over.wait()
        raise
    return results[0].unwrap()


class Worker:
    """One thread that does one piece of work after another; `close` ends it.

    A commit is short, and a lone event waits for it: this hop costs half of `trio.to_thread`'s, which takes a thread
    from a cache, names it, copies a context, and comes back through a queue that wakes the loop twice.
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
        """Have a piece of work done, and wait for it to its end, even when cancelled."""
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
        except BaseException as error:  # a scope around the first try would cost as much again
            with trio.CancelScope(shield=True):
                await trio.lowlevel.wait_readable(self._done)
            if not isinstance(error, trio.Cancelled):  # KeyboardInterrupt comes but once
                raise
        finally:
            os.read(self._done, 1)

    def close(self) -> None:
        """End the thread, after what it is doing; blocks. Nothing may wait in `run`."""
        self._jobs.put(None)
        self._thread.join()
        os.close(self._done)
        os.close(self._tell)

    def _work(self) -> None:
        while (work := self._jobs.get()) is not None:
            self._outcome = outcome.capture(work)
            os.write(self._tell, b"!")
