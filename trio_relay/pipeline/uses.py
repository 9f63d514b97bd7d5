"""How much each holder has used of late, in seconds that fade: half of them are forgotten after a while (pure)."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from statistics import median_low
from typing import Final

_MOST_HOLDERS: Final = 10_000
"""So many are remembered; of more, the half that has used least is forgotten, and loses nothing by it."""
_MOST_HALF_LIVES: Final = 64
"""After so many, scores are written anew, before they become too large for a float."""


class Use:
    """What one holder has used, and what it has at work.

    Attributes:
        score: the seconds used, each the heavier the later it was, so that time changes no order.
        running: its steps that are at work.
        held: who counts on this record besides, so that it stays.
    """

    __slots__ = ("held", "running", "score")

    def __init__(self) -> None:
        self.score = 0.0
        self.running = 0
        self.held = 0


class Uses:
    """The records of all holders: addresses, keys, or connections that have no address.

    Args:
        half_life: seconds after which a second of use counts for half of one.
        heavy_seconds: who has used so much of late is heavy.
        most_holders: see `_MOST_HOLDERS`.
    """

    __slots__ = ("_epoch", "_half_life", "_heavy_seconds", "_most", "_most_holders", "_of", "total")

    def __init__(self, half_life: float, heavy_seconds: float, most_holders: int = _MOST_HOLDERS) -> None:
        self._half_life = half_life
        self._heavy_seconds = heavy_seconds
        self._of: dict[Hashable, Use] = {}
        self._most = self._most_holders = most_holders
        self._epoch = 0.0
        self.total = Use()
        """What all have used together."""

    def __len__(self) -> int:
        return len(self._of)

    def of(self, holders: Iterable[Hashable]) -> tuple[Use, ...]:
        """The records of these, made where there are none; hold them if they are to be used later."""
        if len(self._of) > self._most:
            self._forget_lightest()
        found = []
        for holder in holders:
            use = self._of.get(holder)
            if use is None:
                use = self._of[holder] = Use()
            found.append(use)
        return tuple(found)

    def charge(self, uses: Sequence[Use], seconds: float, now: float) -> None:
        """Each of these has used so much more, all of them together."""
        more = seconds * self._weight(now)
        for use in uses:
            use.score += more
        self.total.score += more

    def seconds(self, use: Use, now: float) -> float:
        """What it has used of late."""
        return use.score / self._weight(now)

    def is_heavy(self, score: float, now: float) -> bool:
        """True for the score of a holder that has used much of late."""
        return score >= self._heavy_seconds * self._weight(now)

    def age(self, now: float) -> bool:
        """Write all scores anew if it is time, before they are used; True if it was: old ones compare with none."""
        if now - self._epoch <= _MOST_HALF_LIVES * self._half_life:
            return False
        faded = math.exp2((self._epoch - now) / self._half_life)
        self._epoch = now
        for use in (*self._of.values(), self.total):
            use.score *= faded
        self._of = {holder: use for holder, use in self._of.items() if use.held or use.running or use.score > 1e-6}
        return True

    def _weight(self, now: float) -> float:
        return math.exp2((now - self._epoch) / self._half_life)

    def _forget_lightest(self) -> None:
        middle = median_low([use.score for use in self._of.values()])
        self._of = {holder: use for holder, use in self._of.items() if use.held or use.running or use.score > middle}
        self._most = max(self._most_holders, 2 * len(self._of))  # those that wait or are at work cannot be forgotten
