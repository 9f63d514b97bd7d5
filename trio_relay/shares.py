"""Places that many share: so many in all, so many of one holder, so that nobody takes all of them (pure, no I/O)."""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Lack(Enum):
    """Why there is no room: all places are taken, or all that one holder may have."""

    ALL = "all"
    ONE = "one"


class Shares(Generic[K]):
    """How many places are taken, and by whom.

    A holder is whoever a bound is meant for: an address, a key, a reporter. None holds places that count in all but in
    nobody's share: those of trusted proxies, and of peers without an address.

    Args:
        most: places in all.
        most_of_one: places of one holder; 0: no limit.
    """

    __slots__ = ("_most", "_most_of_one", "_of_one", "held")

    def __init__(self, most: int, most_of_one: int = 0) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._of_one: dict[K, int] = {}
        self.held = 0
        """Places that are taken."""

    def lack(self, holder: K | None, size: int = 1) -> Lack | None:
        """Why this holder cannot take so many more, its own share first, which others cannot widen; None if it can."""
        if self._most_of_one and holder is not None and self._of_one.get(holder, 0) + size > self._most_of_one:
            return Lack.ONE
        if self.held + size > self._most:
            return Lack.ALL
        return None

    def take(self, holder: K | None, size: int = 1) -> None:
        """Give the holder so many places, whether there is room or not: `lack` tells that."""
        self.held += size
        if holder is not None:
            self._of_one[holder] = self._of_one.get(holder, 0) + size

    def give_back(self, holder: K | None, size: int = 1) -> None:
        """Take so many places back that the holder has."""
        self.held -= size
        if holder is not None:
            self._of_one[holder] -= size
            if not self._of_one[holder]:
                del self._of_one[holder]  # or there would be one for each that ever came

    def held_by(self, holder: K) -> int:
        """How many places the holder has."""
        return self._of_one.get(holder, 0)

    def greediest(self) -> K | None:
        """Who holds most; None if nobody that has a share holds any. It looks at all holders."""
        return max(self._of_one, key=self._of_one.__getitem__, default=None)
