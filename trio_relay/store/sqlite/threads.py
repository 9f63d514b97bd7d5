"""Blocking work in a thread that a cancelled task can end, instead of abandoning it or waiting it out."""

from __future__ import annotations

from collections.abc import Callable
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
