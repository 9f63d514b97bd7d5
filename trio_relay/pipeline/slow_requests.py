"""The slowest requests of the last hour, for operators to look at; those that are answered at once cost nothing here.

It stays interpreted, so that msgspec sees what its records hold.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from heapq import heappush, heapreplace
from itertools import count
from operator import attrgetter
from typing import Final

from trio_relay.frozen import Frozen
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.filter_json import shown
from trio_relay.policy.identity import Identity

LEAST_SECONDS: Final = 0.02
"""What takes less is not slow."""
MOST_SLOW: Final = 100
"""Requests that are told, and that are kept of each half an hour."""
GIVEN_UP: Final = "given_up"
"""The outcome of a request whose client has closed it, or has left."""
_HOUR: Final = 3_600
_PERIOD: Final = _HOUR // 2
_MOST_VALUES: Final = 100
"""Values of filters that are kept of a request."""
_MOST_KEYS: Final = 8


class SlowRequest(Frozen, frozen=True):
    """A request that was slow.

    Attributes:
        at: when it ended, seconds since 1970.
        seconds: that the store took, and the turns that the request waited for; what the client took to read is no
            part of it.
        address: of the client; empty where there is none.
        keys: that it had authenticated, the first 8.
        verb: REQ or COUNT.
        filters: see `filter_json.shown`.
        left_out: how many of their values are missing there.
        outcome: as the metrics name it, or `GIVEN_UP`.
        found: events that were sent, or counted.
    """

    at: int
    seconds: float
    address: str
    keys: list[str]
    verb: str
    filters: list[dict[str, object]]
    left_out: int
    outcome: str
    found: int


class SlowRequests:
    """Keeps the slowest requests of this half an hour and of the two before.

    Args:
        now: seconds since 1970.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._numbers = count()
        self._periods: deque[tuple[int, list[tuple[float, int, SlowRequest]]]] = deque(maxlen=_HOUR // _PERIOD + 1)
        """The number of each half an hour with anything slow, and a heap of that."""

    def note(
        self, verb: str, filters: Sequence[Filter], who: Identity | None, seconds: float, outcome: str, found: int
    ) -> None:
        """Keep a request that has ended, if it is one of the slowest; for those of `LEAST_SECONDS` and more."""
        now = self._now()
        if not self._periods or self._periods[-1][0] != now // _PERIOD:
            self._periods.append((now // _PERIOD, []))
        slowest = self._periods[-1][1]
        if len(slowest) >= MOST_SLOW and seconds <= slowest[0][0]:
            return
        json, left_out = shown(filters, _MOST_VALUES)
        address, keys = ("", []) if who is None else (who.address, sorted(who.keys)[:_MOST_KEYS])
        record = SlowRequest(now, round(seconds, 6), address, keys, verb, json, left_out, outcome, found)
        kept = (seconds, next(self._numbers), record)
        if len(slowest) < MOST_SLOW:
            heappush(slowest, kept)
        else:
            heapreplace(slowest, kept)

    def slowest(self) -> list[SlowRequest]:
        """Those of the last hour, the slowest first."""
        oldest = self._now() - _HOUR
        return slowest_of(record for _, kept in self._periods for _, _, record in kept if record.at > oldest)


def slowest_of(requests: Iterable[SlowRequest]) -> list[SlowRequest]:
    """The slowest of these, as many as are told; the slowest first."""
    return sorted(requests, key=attrgetter("seconds"), reverse=True)[:MOST_SLOW]
