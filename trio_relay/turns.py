"""Turns of the event loop: a task with much work lets others run after two milliseconds."""

from __future__ import annotations

import trio

SECONDS: float = 0.002  # not Final: tests set another one, where this is compiled, too


class Turn:
    """The time since other tasks could run; ask `is_over` after each small piece of work.

    Args:
        now: the time by Trio's clock, if the caller has just read it.
    """

    __slots__ = ("_began",)

    def __init__(self, now: float | None = None) -> None:
        self._began = trio.current_time() if now is None else now

    @property
    def is_over(self) -> bool:
        """True once the turn has lasted `SECONDS`."""
        return trio.current_time() - self._began > SECONDS

    def is_over_at(self, now: float) -> bool:
        """Return the same for a caller that has just read the clock, which costs more than everything else here."""
        return now - self._began > SECONDS

    async def give(self) -> None:
        """Let other tasks run, and begin a new turn; the task can be cancelled here."""
        await trio.lowlevel.checkpoint()
        self._began = trio.current_time()

    async def give_shielded(self) -> None:
        """Let other tasks run, without being cancelled, where nothing may be left half done."""
        await trio.lowlevel.cancel_shielded_checkpoint()
        self._began = trio.current_time()
