"""How late the event loop is: what takes long there has everybody wait, whatever they ask for."""

from __future__ import annotations

from typing import Final

import trio

from trio_relay.pipeline.histogram import SECONDS, Histogram
from trio_relay.pipeline.statistics import Distribution

LOOK_SECONDS: Final = 0.25
"""Between two looks."""


class LoopLag:
    """Sleeps, and sees how long after its time it runs again."""

    def __init__(self) -> None:
        self._late = Histogram(SECONDS)

    async def measure(self) -> None:
        """Look every `LOOK_SECONDS`, until cancelled."""
        while True:
            due = trio.current_time() + LOOK_SECONDS
            await trio.sleep_until(due)
            self._late.observe(trio.current_time() - due)

    def statistics(self) -> Distribution:
        """What was seen so far, in seconds."""
        return self._late.statistics()
