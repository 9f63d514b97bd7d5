"""A time between two rounds that may change while somebody waits for the next one."""

from __future__ import annotations

from collections.abc import Callable

import trio


class Interval:
    """Waits for the next of many rounds, by the time between them as it is then; whoever changes that says so.

    Args:
        seconds: tells the time between two rounds; `math.inf`: there is no next one.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._changed = trio.Event()
        self.ends: float | None = None
        """When the round comes that is waited for, by Trio's clock; None while none is."""

    def changed(self) -> None:
        """Have who waits look again how long it has to, from the last round on; sync."""
        self._changed.set()
        self._changed = trio.Event()

    async def wait(self) -> None:
        """Wait from now on for as long as the time between two rounds is."""
        began, is_over = trio.current_time(), False
        try:
            while not is_over:
                self.ends = began + self._seconds()
                with trio.move_on_at(self.ends) as patience:
                    await self._changed.wait()
                is_over = patience.cancelled_caught
        finally:
            self.ends = None
