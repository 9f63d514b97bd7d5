"""Ids of events between their commit and their live delivery: the one thing that writer, broadcaster and answers share.

From before its commit until it has been delivered live, an event may be found in the store by a query whose
subscription will get it live as well. Its id stands here meanwhile, so that the answer knows which of the events that
it sends will come once more, and the subscription skips those (`Subscription`).

    writer       `saving`, before the store is asked; `not_stored` for what the store did not take
    answers      look whether the ids of what they send are here
    broadcaster  `delivered`, in the same turn of the loop as the delivery

What others have stored, other processes or relays on the same store, stands here by `noted`, from before any query can
find it. An event may be on its way from there and from here, and be stored by one: then it stays until that delivery.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet


class PendingIds(set[str]):
    """The ids, in hex: a set, since a look costs less than a call, and answers look at each of their events."""

    __slots__ = ("_of_others",)

    def __init__(self, ids: Iterable[str] = ()) -> None:
        super().__init__(ids)
        self._of_others: set[str] = set()

    def saving(self, ids: AbstractSet[str]) -> set[str]:
        """Note what is about to be saved; gives those that were not here before, which are the caller's to take out."""
        added = set(ids - self)
        self |= added
        return added

    def not_stored(self, ids: AbstractSet[str]) -> None:
        """Take out what will not be delivered: it was not stored, or was stored before."""
        self -= ids - self._of_others if self._of_others else ids

    def noted(self, ids: AbstractSet[str]) -> None:
        """Note what others have stored, and what is to be delivered here."""
        self |= ids
        self._of_others |= ids

    def delivered(self, event_id: str) -> None:
        """Take out what has been delivered: a query that finds it from now on was late for that."""
        self.discard(event_id)
        self._of_others.discard(event_id)
