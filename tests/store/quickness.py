"""Searches on the loop, and a clock that tells whether they are late: for the tests of the quick reader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.support.keys import made_up
from trio_relay import Filter
from trio_relay.store.sqlite import loop_reader
from trio_relay.store.sqlite.loop_reader import LoopReader

DEADLINES: Final = {"MOST_SECONDS": loop_reader.MOST_SECONDS, "COLD_SECONDS": loop_reader.COLD_SECONDS}
"""As users have them; everywhere else tests have longer ones, see `conftest.patience`."""
EVENTS: Final = [made_up(str(number)) for number in range(500)]
IDS: Final = [event.id for event in EVENTS]
SOME_IDS: Final = IDS[:64]
EVERYTHING: Final = Filter(limit=5_000)
KIND: Final = Filter(kinds=frozenset([1]), limit=5_000)
SMALL: Final = Filter(ids=frozenset(IDS[:1]), limit=1)


class Clock:
    """Seconds that pass only while somebody looks: `per_look` of them each time."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.per_look = 0.0
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        self.now += self.per_look
        return self.now


class Speed:
    """Lets searches of some kind be late or in time, and tells what they gave.

    Who only looks whether a search may be tried looks once at the clock.
    """

    def __init__(self, reader: LoopReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    def late(self, search: Callable[[LoopReader], object]) -> bool:
        """Make a search be late; False if it was not even tried."""
        return self._looks(search, 0.003) > 1

    def in_time(self, search: Callable[[LoopReader], object]) -> bool:
        """Give a search all the time it needs; False if it was not even tried."""
        return self._looks(search, 0.0) > 1

    def _looks(self, search: Callable[[LoopReader], object], per_look: float) -> int:
        self._clock.per_look, before = per_look, self._clock.looks
        found = search(self._reader)
        self._clock.per_look = 0.0
        looks = self._clock.looks - before
        assert (found is None) == (per_look > 0 or looks == 1)
        return looks


def all_events(reader: LoopReader) -> object:
    return reader.query([EVERYTHING])


def of_a_kind(reader: LoopReader) -> object:
    return reader.query([KIND])


def known(reader: LoopReader) -> object:
    return reader.known(SOME_IDS)


def lone_known(reader: LoopReader) -> object:
    return reader.known(IDS[:1])
