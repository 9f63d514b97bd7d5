"""Which subscriptions want an event: an inverted index over filters (pure, no I/O).

Each filter stands under the values of one of its keys, the one that rules out most events; what an event finds under
its own values is then matched in full. So an event looks at the few filters that could want it, not at all of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

from trio_relay.nostr.event import Event, tag_values
from trio_relay.nostr.filter import Filter


class HasFilters(Hashable, Protocol):
    """What can be subscribed: anything with filters, told apart by identity."""

    @property
    def filters(self) -> Sequence[Filter]:
        """An event is wanted if any of these matches."""
        ...


S = TypeVar("S", bound=HasFilters)
_Key: TypeAlias = str | int | tuple[str, str] | None
_ANY: Final[_Key] = None
"""The key of filters that name neither ids, authors, tags nor kinds: each event looks at them."""


class SubscriptionIndex(Generic[S]):
    """The open subscriptions, found by event.

    Ids and pubkeys are texts of 64 characters and cannot be mixed up in practice: a filter found under the wrong one
    still has to match. Tags are (letter, value), kinds numbers.
    """

    def __init__(self) -> None:
        self._buckets: dict[_Key, dict[S, list[Filter]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, subscription: S) -> None:
        """Let a subscription take part in `match`; once only."""
        for filter_ in subscription.filters:
            for key in _keys(filter_):
                self._buckets.setdefault(key, {}).setdefault(subscription, []).append(filter_)
        self._count += 1

    def remove(self, subscription: S) -> None:
        """Take a subscription out that was added; its filters must be the same."""
        for filter_ in subscription.filters:
            for key in _keys(filter_):
                bucket = self._buckets.get(key)
                # A second filter under the same key finds the work done.
                if bucket is not None and bucket.pop(subscription, None) is not None and not bucket:
                    del self._buckets[key]
        self._count -= 1

    def match(self, event: Event) -> list[S]:
        """The subscriptions that want this event, each once."""
        found: dict[S, None] = {}
        carried: dict[str, set[str]] | None = None
        for bucket in self._buckets_of(event):
            if carried is None:  # most events are wanted by nobody
                carried = tag_values(event)
            for subscription, filters in bucket.items():
                if subscription in found:
                    continue
                for filter_ in filters:
                    if filter_.matches(event, carried):
                        found[subscription] = None
                        break
        return list(found)

    def _buckets_of(self, event: Event) -> list[dict[S, list[Filter]]]:
        """Where filters stand that may want the event, each once."""
        buckets = self._buckets
        hits: dict[_Key, dict[S, list[Filter]]] = {}
        for key in (event.id, event.pubkey, event.kind, _ANY):
            if key in buckets:
                hits[key] = buckets[key]
        for tag in event.tags:
            if len(tag) > 1 and (key := (tag[0], tag[1])) in buckets:
                hits[key] = buckets[key]
        return list(hits.values())


def _keys(filter_: Filter) -> Iterator[_Key]:
    """Where a filter stands: under each value of its most telling key."""
    if filter_.is_hopeless:
        return
    if filter_.ids is not None:
        yield from filter_.ids
    elif filter_.tags and (filter_.authors is None or _narrowest(filter_) < len(filter_.authors)):
        letter, values = min(filter_.tags, key=lambda tag: len(tag[1]))
        for value in values:
            yield letter, value
    elif filter_.authors is not None:
        yield from filter_.authors
    elif filter_.kinds is not None:
        yield from filter_.kinds
    else:
        yield _ANY


def _narrowest(filter_: Filter) -> int:
    return min(len(values) for _, values in filter_.tags)
