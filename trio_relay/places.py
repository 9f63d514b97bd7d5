"""Places of which the longest idle makes room where all are taken (pure, no I/O)."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

from trio_relay.shares import Elsewhere, Lack, Shares

T = TypeVar("T")

_PART: Final = 32
"""One look at all who have a place finds who makes room for so many parts of them in turn, since a look takes long."""


class Places(Generic[T]):
    """Who has a place, and who is to make room for a newcomer.

    Those of the origin that holds most come first, and among them the one that has been idle longest; then those of
    the origin that holds most by then. Where an origin holds all that it may have, one of its own makes room.

    What is taken elsewhere counts for the bounds, and for who is a crowd; who makes room is one who has its place here.

    Args:
        most: places in all.
        most_of_one: places of one origin; 0: no limit.
        idle_since: since when somebody has been idle; None while it is not, so that it keeps its place.
        least_idle: who has been idle for less keeps its place.
        crowd: the places from which on an origin is not spared by `least_idle`.
        elsewhere: where places count too; None: nowhere.
    """

    def __init__(
        self,
        most: int,
        most_of_one: int,
        idle_since: Callable[[T], float | None],
        least_idle: float = 0.0,
        crowd: float = math.inf,
        elsewhere: Elsewhere[str] | None = None,
    ) -> None:
        self._shares: Shares[str] = Shares(most, most_of_one, elsewhere)
        self._origins: dict[T, str | None] = {}
        self._idle_since = idle_since
        self._least_idle = least_idle
        self._crowd = crowd
        self._at_a_time = max(1, most // _PART)
        self._line: dict[T, float] = {}
        """Who is to make room next, the first one last, each with what it was idle since."""
        self._in_vain_until = -math.inf
        """Before this time nobody can have been idle for long enough."""

    def bound(self, most: int, most_of_one: int) -> None:
        """Have other bounds hold from now on; whoever has a place keeps it."""
        self._shares.bound(most, most_of_one)
        self._at_a_time = max(1, most // _PART)

    @property
    def held(self) -> int:
        """Places that are taken here."""
        return self._shares.held

    def lack(self, origin: str | None) -> Lack | None:
        """Why there is no free place for somebody of this origin; None if there is one."""
        return self._shares.lack(origin)

    def take(self, one: T, origin: str | None) -> None:
        """Give somebody a place, whether there is a free one or not."""
        self._origins[one] = origin
        self._shares.take(origin)

    def give_back(self, one: T) -> None:
        """Somebody needs its place no more; nothing happens if it has made room already."""
        if one in self._origins:
            self._shares.give_back(self._origins.pop(one))
            self._line.pop(one, None)

    def put_out(self, origin: str | None, now: float) -> T | None:
        """Take the place of whoever is to make room for a newcomer of this origin; None if nobody is.

        To be called where `lack` finds no free place; the caller ends what it gets.
        """
        one = self._idlest_of(origin, now) if self.lack(origin) is Lack.ONE else self._next(now)
        if one is not None:
            self.give_back(one)
        return one

    def put_out_of_crowd(self, origin: str | None, most: int, since: Callable[[T], float | None]) -> T | None:
        """Take the place of one of an origin that has more than so many, for a newcomer of another; None if there is
        no such crowd.

        Args:
            origin: of the newcomer.
            most: places, here and elsewhere.
            since: the one of whom this tells the least makes room; None: not this one.
        """
        crowd = self._shares.greediest()
        if crowd is None or crowd == origin or self._shares.held_everywhere_by(crowd) <= most:
            return None
        one = self._least(crowd, since)
        if one is not None:
            self.give_back(one)
        return one

    def _idlest_of(self, origin: str | None, now: float) -> T | None:
        return self._least(origin, lambda one: self._idle(one, now))

    def _least(self, origin: str | None, since: Callable[[T], float | None]) -> T | None:
        """The one of this origin of whom this tells the least, if it tells anything of one."""
        least: tuple[float, T] | None = None
        for one, its_origin in self._origins.items():
            if its_origin == origin and (told := since(one)) is not None and (least is None or told < least[0]):
                least = (told, one)
        return None if least is None else least[1]

    def _idle(self, one: T, now: float) -> float | None:
        """Since when somebody has been idle, if for long enough to make room."""
        since = self._idle_since(one)
        if since is None or (now - since < self._least_idle and not self._is_of_crowd(one)):
            return None
        return since

    def _is_of_crowd(self, one: T) -> bool:
        if self._crowd == math.inf:
            return False
        origin = self._origins[one]
        return (1 if origin is None else self._shares.held_everywhere_by(origin)) >= self._crowd

    def _held_with(self, one: T) -> int:
        """How many places the origin of somebody holds here; who counts under none counts for itself."""
        origin = self._origins[one]
        return 1 if origin is None else self._shares.held_by(origin)

    def _next(self, now: float) -> T | None:
        while True:
            while self._line:
                one, since = self._line.popitem()
                if self._idle_since(one) == since:
                    return one
            if now < self._in_vain_until:
                return None
            self._line_up(now)
            if not self._line:
                return None

    def _line_up(self, now: float) -> None:
        idle: dict[object, list[tuple[float, int, T]]] = {}
        soonest = now + self._least_idle
        for order, (one, origin) in enumerate(self._origins.items()):
            since = self._idle(one, now)
            if since is not None:
                idle.setdefault(one if origin is None else origin, []).append((since, order, one))
            elif (began := self._idle_since(one)) is not None:
                soonest = min(soonest, began + self._least_idle)
        self._in_vain_until = soonest if not idle and self._crowd == math.inf else -math.inf
        crowds = []
        for line in idle.values():
            line.sort(reverse=True)
            since, order, one = line.pop()
            crowds.append((-self._held_with(one), since, order, one, line))
        heapify(crowds)
        chosen: list[tuple[float, T]] = []
        while crowds and len(chosen) < self._at_a_time:
            held, since, _, one, line = heappop(crowds)
            chosen.append((since, one))
            if line:
                since, order, one = line.pop()
                heappush(crowds, (held + 1, since, order, one, line))
        self._line = {one: since for since, one in reversed(chosen)}
