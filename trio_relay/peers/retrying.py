"""Waits that grow: a second first, then twice as long each time, up to a bound.

A `Backoff` tells one link how long it waits before it tries again. A `Pause` holds back all who ask one relay that has
said `rate-limited:`, on one connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

_FIRST_SECONDS: Final = 1.0
STEADY_SECONDS: Final = 60.0
"""A link that stood for so long was good: the next try comes after a second again."""
_LONGEST_PAUSE: Final = 60.0
_MOST_PAUSES: Final = 8
"""In a row, over some three minutes."""


class Backoff:
    """The waits of one link.

    Each is cut by chance to a part between a half and all of it, so that relays which lost the same one at the same
    time do not all come back at once.

    Args:
        most: seconds that it waits at most.
        chance: gives a number from 0 to below 1.
    """

    def __init__(self, most: float, chance: Callable[[], float]) -> None:
        self._most = most
        self._chance = chance
        self._next = _FIRST_SECONDS

    def wait(self, stood: float = 0.0) -> float:
        """Seconds until the next try.

        Args:
            stood: seconds for which the link was there; 0 if no connection came about.
        """
        if stood >= STEADY_SECONDS:
            self._next = _FIRST_SECONDS
        seconds = min(self._next, self._most)
        self._next = min(2 * seconds, self._most)
        return seconds * (0.5 + self._chance() / 2)


class Pause:
    """What is held back for everybody who asks the same relay; exact, since nobody else is told when it ends."""

    def __init__(self) -> None:
        self._pauses = 0
        self._next = _FIRST_SECONDS
        self._until = 0.0

    async def over(self) -> None:
        """Wait until it may be asked again."""
        await trio.sleep_until(self._until) if trio.current_time() < self._until else await trio.lowlevel.checkpoint()

    def begin(self) -> bool:
        """It has had enough; False if that has been so too often to be asked again. Several at once count as one."""
        if trio.current_time() >= self._until:
            self._pauses += 1
            self._until = trio.current_time() + self._next
            self._next = min(2 * self._next, _LONGEST_PAUSE)
        return self._pauses <= _MOST_PAUSES

    def end(self) -> None:
        """It has taken something."""
        self._pauses = 0
        self._next = _FIRST_SECONDS
