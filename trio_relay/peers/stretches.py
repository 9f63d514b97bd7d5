"""Stretches of time that are compared or asked for at once, and how they are halved where one is too much."""

from __future__ import annotations

from typing import NamedTuple

from trio_relay.nostr.event import MAX_TIME
from trio_relay.nostr.filter import parse_filter
from trio_relay.nostr.negentropy.items import RECORD_SIZE, Items
from trio_relay.peers.messages import FilterJson

_TIME_SIZE = 8


class TimeSpan(NamedTuple):
    """From `since` to `until`, both included, seconds since 1970; None: without an end on that side."""

    since: int | None = None
    until: int | None = None

    @property
    def is_one_second(self) -> bool:
        """True if it cannot be halved."""
        return (self.since or 0) >= (MAX_TIME if self.until is None else self.until)

    def halves(self, items: Items, now: int) -> tuple[TimeSpan, TimeSpan]:
        """The older and the newer half: by what this relay has there, or else by time.

        Args:
            items: that this relay has in it.
            now: after which not much is expected.
        """
        first = self.since or 0
        last = MAX_TIME if self.until is None else self.until
        middle = time_of(items.record(len(items) // 2)) if len(items) > 1 else last
        if not first <= middle < last:
            middle = (first + (now if first < now < last else last)) // 2
        return TimeSpan(self.since, middle), TimeSpan(middle + 1, self.until)


def time_of(record: bytes) -> int:
    """The `created_at` of a record of a set."""
    assert len(record) == RECORD_SIZE
    return int.from_bytes(record[:_TIME_SIZE], "big")


def stretch_of(filter_: FilterJson) -> TimeSpan:
    """The whole time that a filter asks for.

    Raises:
        Rejected: it is no filter.
    """
    parsed = parse_filter(dict(filter_), all_of=True)
    return TimeSpan(parsed.since, parsed.until)


def within(filter_: FilterJson, stretch: TimeSpan) -> dict[str, object]:
    """The same filter for a stretch of the time that it asks for."""
    ends = {"since": stretch.since, "until": stretch.until}
    return {**filter_, **{name: end for name, end in ends.items() if end is not None}}
