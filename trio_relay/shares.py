"""Places that many share: so many in all, so many of one holder, so that nobody takes all of them (pure, no I/O)."""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum
from typing import Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)
Holder = TypeVar("Holder", contravariant=True)


class Lack(Enum):
    """Why there is no room: all places are taken, or all that one holder may have."""

    ALL = "all"
    ONE = "one"


class Elsewhere(Protocol[Holder]):
    """The same places, as other processes give them; they are told what is given here."""

    @property
    def held(self) -> int:
        """Places that are taken there."""

    def held_by(self, holder: Holder) -> int:
        """How many of them this holder has."""

    def note(self, held: int, holder: Holder | None, of_one: int) -> None:
        """So many places are taken here, so many of them by this holder; None: nobody's share has changed."""


class Shares(Generic[K]):
    """How many places are taken, and by whom.

    A holder is whoever a bound is meant for: an address, a key, a reporter. None holds places that count in all but in
    nobody's share: those of trusted proxies, and of peers without an address.

    Args:
        most: places in all.
        most_of_one: places of one holder; 0: no limit.
        elsewhere: where places count too; None: nowhere.
    """

    __slots__ = ("_elsewhere", "_most", "_most_of_one", "_of_one", "held")

    def __init__(self, most: int, most_of_one: int = 0, elsewhere: Elsewhere[K] | None = None) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._elsewhere = elsewhere
        self._of_one: dict[K, int] = {}
        self.held = 0
        """Places that are taken here."""

    def bound(self, most: int, most_of_one: int) -> None:
        """Have other bounds hold from now on; whoever has more than these allow keeps it."""
        self._most = most
        self._most_of_one = most_of_one

    def lack(self, holder: K | None, size: int = 1) -> Lack | None:
        """Why this holder cannot take so many more, its own share first, which others cannot widen; None if it can."""
        elsewhere = self._elsewhere
        if self._most_of_one and holder is not None:
            room = self._most_of_one - self._of_one.get(holder, 0) - size
            if room < 0 or (elsewhere is not None and room < elsewhere.held_by(holder)):
                return Lack.ONE
        room = self._most - self.held - size
        if room < 0 or (elsewhere is not None and room < elsewhere.held):
            return Lack.ALL
        return None

    def take(self, holder: K | None, size: int = 1) -> None:
        """Give the holder so many places, whether there is room or not: `lack` tells that."""
        self.held += size
        if holder is not None:
            self._of_one[holder] = self._of_one.get(holder, 0) + size
        if self._elsewhere is not None:
            self._tell(self._elsewhere, holder)

    def give_back(self, holder: K | None, size: int = 1) -> None:
        """Take so many places back that the holder has."""
        self.held -= size
        if holder is not None:
            self._of_one[holder] -= size
            if not self._of_one[holder]:
                del self._of_one[holder]  # or there would be one for each that ever came
        if self._elsewhere is not None:
            self._tell(self._elsewhere, holder)

    def _tell(self, elsewhere: Elsewhere[K], holder: K | None) -> None:
        elsewhere.note(self.held, holder, 0 if holder is None else self._of_one.get(holder, 0))

    def held_by(self, holder: K) -> int:
        """How many places the holder has here."""
        return self._of_one.get(holder, 0)

    def held_everywhere(self) -> int:
        """Places that are taken here and elsewhere."""
        return self.held if self._elsewhere is None else self.held + self._elsewhere.held

    def held_everywhere_by(self, holder: K) -> int:
        """How many places the holder has here and elsewhere."""
        held = self._of_one.get(holder, 0)
        return held if self._elsewhere is None else held + self._elsewhere.held_by(holder)

    def greediest(self) -> K | None:
        """Who holds most here; None if nobody that has a share holds any. It looks at all holders."""
        return max(self._of_one, key=self._of_one.__getitem__, default=None)
