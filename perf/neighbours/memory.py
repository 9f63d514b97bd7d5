"""What all kinds of neighbours leave in the relay's memory: minutes of them in turn, and a minute without any."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from perf.neighbours.rounds import House
from perf.report import verdict
from perf.results import Verdict

MINUTES: Final = 4.0
_AFTER: Final = 60.0
_LOOK: Final = 5.0
MOST: Final = 300e6
MOST_LEFT: Final = 60e6
"""Bytes above those of the start, a minute after the last hostile client has gone."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Resident bytes of the relay.

    Attributes:
        start: once honest clients have been served for some seconds.
        by_kind: at the end of each kind's time.
        after: every five seconds from then on, for a minute.
    """

    start: int
    by_kind: dict[str, int]
    after: list[int]

    @property
    def verdicts(self) -> list[Verdict]:
        """Both bars."""
        most, left = max(self.by_kind.values(), default=self.start), self.after[-1] - self.start
        return [
            Verdict(bar=f"at most {MOST / 1e6:g} MB", value=most / 1e6, is_reached=most <= MOST),
            Verdict(
                bar=f"a minute later at most {MOST_LEFT / 1e6:g} MB more than at the start",
                value=left / 1e6,
                is_reached=left <= MOST_LEFT,
            ),
        ]


def remember(house: House, kinds: Sequence[str], hostile: int, tell: Callable[[str], None]) -> Memory:
    """Each kind for its part of four minutes, honest clients beside all of them.

    Raises:
        Failed: the relay has ended, or an honest client was refused.
    """
    house.alone()
    start = house.server.rss()
    tell(f"start: {start / 1e6:.0f} MB")
    by_kind: dict[str, int] = {}
    for kind in kinds:
        house.beside(kind, hostile, 60 * MINUTES / len(kinds))
        by_kind[kind] = house.server.rss()
        tell(f"after {kind}: {by_kind[kind] / 1e6:.0f} MB")
    after = []
    ends = time.monotonic() + _AFTER * house.scale
    while time.monotonic() < ends:
        time.sleep(min(_LOOK, max(0.0, ends - time.monotonic())))
        after.append(house.server.rss())
    tell(f"a minute later: {after[-1] / 1e6:.0f} MB")
    return Memory(start=start, by_kind=by_kind, after=after)


def report(memory: Memory) -> str:
    """Both bars."""
    return "\n".join(map(verdict, memory.verdicts))
