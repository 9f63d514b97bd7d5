"""How long a link waits before it tries again (pure): a second first, then twice as long each time, up to a bound.

Each wait is cut by chance to a part between a half and all of it, so that relays which lost the same one at the same
time do not all come back at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_FIRST_SECONDS: Final = 1.0
STEADY_SECONDS: Final = 60.0
"""A link that stood for so long was good: the next try comes after a second again."""


class Backoff:
    """The waits of one link.

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
