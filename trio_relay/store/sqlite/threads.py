"""Blocking work in a thread that a cancelled task can end, instead of abandoning it or waiting it out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import outcome
import trio

T = TypeVar("T")


async def run_interruptibly(work: Callable[[], T], interrupt: Callable[[], None]) -> T:
    """Run `work` in a thread; on cancellation call `interrupt` and wait for the thread to come back.

    `trio.to_thread` offers only to wait for the whole work or to abandon the thread. Here the thread is always over
    when this returns, so what it used, a database connection say, may be used by others at once.

    Args:
        work: runs in a thread of Trio's cache.
        interrupt: sync, quick, safe to call from the loop while `work` runs; makes `work` end soon, by an exception.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    task = trio.lowlevel.current_task()
    token = trio.lowlevel.current_trio_token()
    cancelled = False

    def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
        nonlocal cancelled
        cancelled = True
        interrupt()
        return trio.lowlevel.Abort.FAILED  # woken only by the thread's end

    def deliver(result: outcome.Outcome[T]) -> None:
        token.run_sync_soon(trio.lowlevel.reschedule, task, outcome.Value(result))

    trio.lowlevel.start_thread_soon(work, deliver)
    result: outcome.Outcome[T] = await trio.lowlevel.wait_task_rescheduled(abort)
    if cancelled:
        await trio.lowlevel.checkpoint_if_cancelled()
    return result.unwrap()
