"""Turns of the loop: whoever has much to do lets others go on after two milliseconds."""

from __future__ import annotations

from typing import Final

import trio

SECONDS: Final = 0.002


class Turn:
    """The time since others had their turn; ask `is_over` after each small piece of work.

    Args:
        now: by Trio's clock, for who has just looked at it.
    """

    __slots__ = ("_began",)

    def __init__(self, now: float | None = None) -> None:
        self._began = trio.current_time() if now is None else now

    @property
    def is_over(self) -> bool:
        """True once the turn has lasted `SECONDS`."""
        return trio.current_time() - self._began > SECONDS

    def is_over_at(self, now: float) -> bool:
        """The same for who has just looked at the clock: a look costs more than all else here."""
        return now - self._began > SECONDS

    async def give(self) -> None:
        """Let others go on, and begin a new turn; this is where whoever works can be cancelled."""
        await trio.lowlevel.checkpoint()
        self._began = trio.current_time()

    async def give_shielded(self) -> None:
        """The same where nothing may be left half done: not to be cancelled here."""
        await trio.lowlevel.cancel_shielded_checkpoint()
        self._began = trio.current_time()
