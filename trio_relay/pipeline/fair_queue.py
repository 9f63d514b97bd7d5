"""Whose step comes next: who has used little of late comes before who has used much (pure, no I/O).

A step is a page of an answer, or a count. It is charged to its holders, an address and the keys that have
authenticated, and ranks by the one that has used most. So nobody gains by many connections, nor by many addresses with
one key, and a long answer goes to the back between its pages.

Nobody knows how long a step will take, so three rules keep a newcomer from waiting for strangers' long ones:

- one holder has half of the places at most;
- heavy steps have all but a quarter of the places, one at least: the others are kept for light ones. Of a store on this
  machine they have one place less than there are cores, or the loop and the writer would wait for one. Heavy are those
  of holders that have used much, and those that have turned out to be long;
- while a light step waits and all places are taken, light ones at work have to yield after a quantum, except as many as
  there is room for among the heavy ones. Who had to yield begins anew later, and after the second time is heavy, and at
  work until it is done.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final, Generic, TypeAlias, TypeVar

from trio_relay.pipeline.uses import Use, Uses

HALF_LIFE: Final = 60.0
"""Long enough that two hundred addresses, one step of seconds each, do not come back before all of it has faded."""
HEAVY_SECONDS: Final = 1.0
QUANTUM: Final = 0.02
"""Seconds that a light step may take while others wait, before it has to yield."""
LONG_QUANTUM: Final = 0.06
"""The same for one that has yielded before. One that has lost so much is long."""
_LEAST_SECONDS: Final = 0.001
"""What each step costs, paid when it begins: of two newcomers the one that has a step at work comes second."""
_MOST_EMPTY: Final = 64


class QueryStep:
    """One step, waiting or at work.

    Args:
        holders: who is charged, none for what is not to be charged to anybody.
        may_yield: it can be ended and begun anew.
        lost: seconds it was at work before it had to yield.
    """

    __slots__ = ("began", "is_heavy", "is_running", "line", "lost", "may_yield", "number", "uses", "yields_at")

    def __init__(self, holders: frozenset[Hashable], *, may_yield: bool = False, lost: float = 0.0) -> None:
        self.line = holders, lost >= LONG_QUANTUM
        """Where it waits: with those of the same holders, long ones apart, so that no light one waits behind them."""
        self.may_yield = may_yield
        self.lost = lost
        self.number = 0
        """In the order in which they came."""
        self.uses: tuple[Use, ...] = ()
        self.is_running = False
        self.is_heavy = False
        """It counts among the places that heavy holders may have."""
        self.began = 0.0
        self.yields_at = math.inf
        """When it has to yield, if it is still at work then."""


S = TypeVar("S", bound=QueryStep)
Key: TypeAlias = tuple[frozenset[Hashable], bool]
"""Of a line: whose steps wait there, and whether they are long."""


class _Line(Generic[S]):
    """Steps of the same holders that wait, in order."""

    __slots__ = ("steps", "uses")

    def __init__(self, uses: tuple[Use, ...]) -> None:
        self.uses = uses
        self.steps: dict[int, S] = {}

    @property
    def rank(self) -> tuple[float, int]:
        """What it is ordered by. It only grows, until scores are written anew, so a heap may be behind with it."""
        return max((use.score for use in self.uses), default=0.0), next(iter(self.steps))


class FairQueue(Generic[S]):
    """The steps that wait and those at work; times are seconds of any clock that does not go back.

    Args:
        places: steps that are at work at a time.
        cores: that these steps share with the loop; heavy ones leave it one.
    """

    def __init__(self, places: int, cores: int | None = None) -> None:
        self.places = places
        self.most_of_one = max(1, places // 2)
        self.most_heavy = places - max(1, places // 4) if places > 1 else 1
        if cores is not None:
            self.most_heavy = min(self.most_heavy, max(1, cores - 1))
        self.waiting = 0
        self._uses = Uses(HALF_LIFE, HEAVY_SECONDS)
        self._lines: dict[Key, _Line[S]] = {}
        self._heap: list[tuple[float, int, Key]] = []
        """One entry for each line, those that have become empty included."""
        self._running: dict[int, S] = {}
        self._heavy = 0
        self._number = 0
        self._is_pressed = False

    @property
    def running(self) -> int:
        """Steps that are at work."""
        return len(self._running)

    @property
    def lines(self) -> int:
        """Sets of holders that wait, some that have just left included."""
        return len(self._lines)

    def add(self, step: S, now: float) -> None:
        """This step waits from now on."""
        self._age(now)
        self._number += 1
        step.number = self._number
        line = self._lines.get(step.line)
        if line is None:
            line = self._lines[step.line] = _Line(self._uses.of(step.line[0]))
            for use in line.uses:
                use.held += 1
            line.steps[step.number] = step
            heappush(self._heap, (*line.rank, step.line))
        else:
            line.steps[step.number] = step
        step.uses = line.uses
        self.waiting += 1

    def withdraw(self, step: S) -> None:
        """A step that waits does so no more."""
        line = self._lines[step.line]
        del line.steps[step.number]
        self.waiting -= 1
        if not line.steps and len(self._lines) > self.waiting + _MOST_EMPTY:
            self._order_anew()

    def start_next(self, now: float) -> S | None:
        """The step that goes to work now; None if there is none, or no place for it."""
        if not self.waiting or self.running >= self.places:
            return None
        found = self._lightest()
        if found is None:
            return None
        score, number, key = found
        is_heavy = key[1] or self._uses.is_heavy(score, now)
        if is_heavy and self._heavy >= self.most_heavy:
            return None
        step = self._lines[key].steps.pop(number)
        self.waiting -= 1
        self._start(step, now, is_heavy=is_heavy)
        return step

    def start_at_once(self, step: S, now: float) -> bool:
        """Let a step that has just come go to work, if none waits and there is a place for it; else `add` it."""
        if self.waiting or self.running >= self.places:
            return False
        self._age(now)
        holders, is_long = step.line
        uses = self._uses.of(holders)
        is_heavy = is_long or any(self._uses.is_heavy(use.score, now) for use in uses)
        if (is_heavy and self._heavy >= self.most_heavy) or any(use.running >= self.most_of_one for use in uses):
            return False
        self._number += 1
        step.number, step.uses = self._number, uses
        self._start(step, now, is_heavy=is_heavy)
        return True

    def _start(self, step: S, now: float, *, is_heavy: bool) -> None:
        step.is_running, step.is_heavy, step.began = True, is_heavy, now
        self._running[step.number] = step
        self._heavy += is_heavy
        for use in step.uses:
            use.running += 1
        self._uses.charge(step.uses, _LEAST_SECONDS, now)

    def finish(self, step: S, now: float) -> None:
        """A step that was at work has come to its end, or has yielded, or was cancelled."""
        self._age(now)
        del self._running[step.number]
        self._heavy -= step.is_heavy
        step.is_running = False
        for use in step.uses:
            use.running -= 1
        self._uses.charge(step.uses, max(0.0, now - step.began - _LEAST_SECONDS), now)

    def charge(self, holders: frozenset[Hashable], seconds: float, now: float) -> None:
        """These have used so much without a step."""
        self._age(now)
        self._uses.charge(self._uses.of(holders), seconds, now)

    def press(self, now: float) -> list[S]:
        """The steps at work for which it has changed when they have to yield; to be asked after each change."""
        if not self.waiting and not self._is_pressed:
            return []
        light = sorted(
            (step for step in self._running.values() if not step.is_heavy),
            key=lambda step: (step.may_yield, step.began),
        )
        if self._holds_up_light(now):
            room = self.most_heavy - self._heavy
            for step in light[:room]:
                step.is_heavy = True
                self._heavy += 1
        self._is_pressed = self._holds_up_light(now)  # long ones wait for room among the heavy ones
        changed = []
        for step in light:
            yields = self._is_pressed and step.may_yield and not step.is_heavy
            at = step.began + (LONG_QUANTUM if step.lost else QUANTUM) if yields else math.inf
            if at != step.yields_at:
                step.yields_at = at
                changed.append(step)
        return changed

    def _holds_up_light(self, now: float) -> bool:
        """True if only the number of places keeps a step of a light holder from its work."""
        if self.running < self.places or (found := self._lightest()) is None:
            return False
        return not self._uses.is_heavy(found[0], now)

    def _lightest(self) -> tuple[float, int, Key] | None:
        """The entry of the line that comes first, of those whose next step may have one more place."""
        heap, found = self._heap, None
        full = []
        while heap and found is None:
            score, number, key = heap[0]
            line = self._lines[key]
            if not line.steps:
                heappop(heap)
                self._forget(key)
            elif (rank := line.rank) != (score, number):
                heapreplace(heap, (*rank, key))
            elif any(use.running >= self.most_of_one for use in line.uses) or (
                key[1] and self._heavy >= self.most_heavy
            ):
                full.append(heappop(heap))
            else:
                found = heap[0]
        for entry in full:
            heappush(heap, entry)
        return found

    def _age(self, now: float) -> None:
        if self._uses.age(now):
            self._order_anew()

    def _forget(self, key: Key) -> None:
        for use in self._lines.pop(key).uses:
            use.held -= 1

    def _order_anew(self) -> None:
        for key in [key for key, line in self._lines.items() if not line.steps]:
            self._forget(key)
        self._heap = [(*line.rank, key) for key, line in self._lines.items()]
        heapify(self._heap)
