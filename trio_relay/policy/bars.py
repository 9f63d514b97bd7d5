"""Addresses that are barred for a time, because they broke too many rules (pure, no I/O).

Each fault draws on a bucket of its address. When that is empty the address is barred: a minute at first, and twice as
long each time that it has to be again, up to a day. After a day without a fault all of it is forgotten. It stands in
the table of buckets, so its memory is bounded, and all processes of one relay know of it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from trio_relay.policy.rates import BucketTable, TokenBuckets, Word, wait

_DAY: Final = 86_400.0
_MOST_DOUBLINGS: Final = 17


class Tolerance(NamedTuple):
    """How many faults are borne: seconds in which one is forgiven, and in which all are."""

    each: float
    all: float


class BarredAddresses:
    """Counts faults, and knows who is barred.

    Args:
        table: of the buckets.
        tolerance: faults that are borne; None: nobody is ever barred.
        seconds: for how long an address is barred at first.
    """

    def __init__(self, table: BucketTable, tolerance: Tolerance | None, seconds: float) -> None:
        self._table = table
        self._tolerance = tolerance
        self._seconds = seconds

    def fault(self, origin: str, now: float) -> bool:
        """An address broke a rule; True if it is barred from now on.

        Args:
            origin: an IPv4 address or an IPv6 /64 network.
            now: by the clock of the table.
        """
        if self._tolerance is None:
            return False
        buckets = TokenBuckets(self._table, origin)
        if buckets.full_at(Word.FORGIVEN) <= now:
            buckets.put(Word.BARS, 0)
        buckets.put(Word.FORGIVEN, now + _DAY)
        if not wait(buckets.full_at(Word.FAULTS), now, self._tolerance.each, self._tolerance.all):
            buckets.take(Word.FAULTS, self._tolerance.each, now)
            return False
        times = buckets.full_at(Word.BARS)
        until = now + min(self._seconds * 2.0 ** min(times, _MOST_DOUBLINGS), _DAY)
        buckets.put(Word.BARS, times + 1)
        buckets.put(Word.FAULTS, 0.0)  # once it is let in again, it begins anew
        buckets.put(Word.FORGIVEN, until + _DAY)
        buckets.put(Word.BARRED, until)
        self._table.note_bar(until)
        return True

    def seconds(self, origin: str, now: float) -> float:
        """For how long an address is barred yet; 0.0: it is not."""
        if not self.holds_any(now):
            return 0.0
        row = self._table.find(origin)
        return 0.0 if row is None else max(0.0, self._table.words[row + Word.BARRED] - now)

    def holds_any(self, now: float) -> bool:
        """True if anybody at all is barred; costs next to nothing."""
        return self._table.barred_until > now

    @property
    def number(self) -> float:
        """How often anybody was barred: who has seen this number knows of all of them."""
        return self._table.bars
