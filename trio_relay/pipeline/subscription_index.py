"""Which subscriptions want an event: an inverted index over filters (pure, no I/O).

Each different filter is a `Condition`, which stands under the values of one of its keys, the one that rules out most
events; what an event finds under its own values is then matched in full, each condition once. So an event looks at the
few filters that could want it, not at all of them, and at equal ones as if they were one.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Hashable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Final, Generic, Protocol, TypeVar

from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.event import Event, tag_values
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import MAX_KIND
from trio_relay.pipeline.conditions import (
    MOST_OF_ONE_UNDER_KEY,
    MOST_UNDER_KEY,
    SHARD,
    Condition,
    Found,
    Table,
    all_of,
)
from trio_relay.shares import Lack


class HasFilters(Hashable, Protocol):
    """What can be subscribed: anything with filters, told apart by identity."""

    @property
    def filters(self) -> Sequence[Filter]:
        """An event is wanted if any of these matches."""
        ...

    @property
    def origin(self) -> str | None:
        """The address that its filters count under; None: none."""
        ...


S = TypeVar("S", bound=HasFilters)

_ANY: Final = MAX_KIND + 1
"""Beside the kinds: the key of filters that name neither ids, authors, tags nor kinds; each event looks at them."""
_ALL: Final = frozenset({_ANY})
_PIECE: Final = 500
"""Keys that are entered or left in one piece: less than a fifth of a millisecond."""


class SubscriptionIndex(Generic[S]):
    """The open subscriptions, found by event.

    Ids and pubkeys are texts of 64 characters and cannot be mixed up in practice: a filter found under the wrong one
    still has to match.
    """

    def __init__(self) -> None:
        self._conditions: dict[S, tuple[Condition[S], ...]] = {}
        """Of each subscription; more may be on their way."""
        self._arriving: dict[S, tuple[Filter, ...]] = {}
        """Those that are on their way in, each compared with every event; their filters that can match."""
        self._equal: dict[tuple[object, ...], Condition[S]] = {}
        """Conditions without ids, authors and tags, by what they ask for: many clients ask for the same."""
        self._texts: Table[str, S] = Table()
        self._kinds: Table[int, S] = Table()
        self._letters: dict[str, Table[str, S]] = {}

    def __len__(self) -> int:
        return len(self._conditions)

    @property
    def keys(self) -> int:
        """How many different ids, authors, kinds and values of tags lead to a filter; counted when it is asked for."""
        return len(self._texts) + len(self._kinds) + sum(map(len, self._letters.values()))

    def add(self, subscription: S, oldest: int = 0) -> Rejected | None:
        """Let a subscription take part in `match`, once only; or tell why there is no room, and leave it out.

        Args:
            subscription: whose filters do not change.
            oldest: the least `created_at` that an event can have; filters that end before it are left out.
        """
        self._conditions[subscription] = ()
        for filter_ in subscription.filters:
            if not _is_in_vain(filter_, oldest):
                table, keys = self._place(filter_)
                if (condition := self._new_condition(subscription, filter_)) is None:
                    continue
                if (lack := table.enter(keys, condition)) is not None:
                    self.remove(subscription)
                    return _crowded(lack)
                self._let_join(condition)
        return None

    def remove(self, subscription: S) -> None:
        """Take a subscription out, or what there is of it."""
        for condition in self._let_go(subscription):
            table, keys = self._place(condition.filter)
            table.leave(keys, condition)

    def adding(self, subscription: S, oldest: int = 0) -> Generator[None, None, Rejected | None]:
        """Do the same as `add` in pieces, yielding after each; all of it takes part in `match` from the first on.

        It ends early, and gives None, once the subscription is being removed.
        """
        self._conditions[subscription] = ()
        hopeful = tuple([filter_ for filter_ in subscription.filters if not _is_in_vain(filter_, oldest)])
        self._arriving[subscription] = hopeful
        for filter_ in hopeful:
            table, keys = self._place(filter_)
            condition = self._new_condition(subscription, filter_)
            if condition is None:
                continue
            for some in _pieces(keys):
                if (lack := table.enter(some, condition)) is not None:
                    yield from self.removing(subscription)
                    return _crowded(lack)
                yield
                if subscription not in self._conditions:
                    return None
            self._let_join(condition)
        del self._arriving[subscription]
        return None

    def removing(self, subscription: S) -> Iterator[None]:
        """Do the same as `remove` in pieces, yielding after each; from the first on, the subscription is not found."""
        gone = self._let_go(subscription)
        yield
        for condition in gone:
            table, keys = self._place(condition.filter)
            for some in _pieces(keys):
                table.leave(some, condition)
                yield

    def match(self, event: Event) -> list[S]:
        """The subscriptions that want this event, each once."""
        wanted: dict[S, None] = {}
        carried: dict[str, set[str]] | None = None
        for found in self._found_by(event):
            for condition in all_of(found):
                one, many = condition.one, condition.many
                if one in wanted or (one is None and many is None):
                    continue
                if carried is None:  # most events are wanted by nobody
                    carried = tag_values(event)
                if condition.filter.matches(event, carried):
                    if many is not None:
                        wanted.update(many)
                    elif one is not None:
                        wanted[one] = None
        for one, filters in self._arriving.items():
            if one not in wanted:
                if carried is None:
                    carried = tag_values(event)
                if any(filter_.matches(event, carried) for filter_ in filters):
                    wanted[one] = None
        return list(wanted)

    def _found_by(self, event: Event) -> list[Found[S]]:
        """What stands under the values of an event, no condition twice."""
        texts, kinds = self._texts.shards, self._kinds.shards
        event_id, pubkey, kind = event.id, event.pubkey, event.kind
        found: list[Found[S]] = []
        if (one := texts[hash(event_id) & SHARD].get(event_id)) is not None:
            found.append(one)
        if (one := texts[hash(pubkey) & SHARD].get(pubkey)) is not None:
            found.append(one)
        if (one := kinds[kind & SHARD].get(kind)) is not None:
            found.append(one)
        if (one := kinds[_ANY & SHARD].get(_ANY)) is not None:
            found.append(one)
        if letters := self._letters:
            tagged: dict[int, Found[S]] = {}  # a tag may be repeated ten thousand times
            for tag in event.tags:
                if len(tag) > 1 and (table := letters.get(tag[0])) is not None:
                    value = tag[1]
                    one = table.shards[hash(value) & SHARD].get(value)
                    if one is not None:
                        tagged[id(one)] = one
            if tagged:
                found += tagged.values() if len(tagged) == 1 else [_each_once(tagged.values())]
        return found

    def _new_condition(self, subscription: S, filter_: Filter) -> Condition[S] | None:
        """The condition that a filter is, yet to be entered; None if it was there, and the subscription has it now."""
        held = self._conditions[subscription]
        if (asked := _asked(filter_)) is not None and (equal := self._equal.get(asked)) is not None:
            if equal not in held:
                equal.join(subscription)
                self._conditions[subscription] = (*held, equal)
            return None
        condition = Condition(filter_, subscription.origin, subscription)
        self._conditions[subscription] = (*held, condition)
        return condition

    def _let_join(self, condition: Condition[S]) -> None:
        """Have equal filters be this condition from now on: before, it may yet come to nothing."""
        if (asked := _asked(condition.filter)) is not None:
            self._equal.setdefault(asked, condition)

    def _let_go(self, subscription: S) -> list[Condition[S]]:
        """Have a subscription found no more, and give the conditions that nobody has now."""
        gone = []
        self._arriving.pop(subscription, None)
        for condition in self._conditions.pop(subscription, ()):
            if condition.leave(subscription):
                gone.append(condition)
                asked = _asked(condition.filter)
                if asked is not None and self._equal.get(asked) is condition:
                    del self._equal[asked]
        return gone

    def _place(self, filter_: Filter) -> tuple[Table[Any, S], Collection[Any]]:
        """Where a filter stands: under each value of its most telling key."""
        if filter_.ids is not None:
            return self._texts, filter_.ids
        if filter_.tags and (filter_.authors is None or _narrowest(filter_) < len(filter_.authors)):
            letter, values = min(filter_.tags, key=_width)
            if (table := self._letters.get(letter)) is None:
                table = self._letters[letter] = Table()
            return table, values
        if filter_.authors is not None:
            return self._texts, filter_.authors
        return self._kinds, _ALL if filter_.kinds is None else filter_.kinds


def _each_once(several: Iterable[Found[S]]) -> Found[S]:
    """Put together what stands under several keys: a condition may stand under all of them."""
    return tuple(dict.fromkeys(chain.from_iterable(map(all_of, several))))


def _pieces(keys: Collection[Any]) -> Iterator[Collection[Any]]:
    rest = iter(keys)
    while some := tuple(islice(rest, _PIECE)):
        yield some


def _is_in_vain(filter_: Filter, oldest: int) -> bool:
    """True if no event that comes from now on can match."""
    return (
        filter_.is_hopeless
        or (filter_.until is not None and filter_.until < oldest)
        or (filter_.search is not None and filter_.search.domain is not None)  # that is asked of profiles in the store
    )


def _asked(filter_: Filter) -> tuple[object, ...] | None:
    """What is equal where two filters without ids, authors and tags match the same events; None for other filters."""
    if filter_.ids is not None or filter_.authors is not None or filter_.tags:
        return None
    return (filter_.kinds, filter_.since, filter_.until, filter_.search)


def _crowded(lack: Lack) -> Rejected:
    most = f"{MOST_OF_ONE_UNDER_KEY} of one address" if lack is Lack.ONE else f"{MOST_UNDER_KEY} of all clients"
    return Rejected(
        Prefix.ERROR, f"too many different filters ask for the same author, tag or kind: at most {most} may"
    )


def _narrowest(filter_: Filter) -> int:
    return len(filter_.tags[0][1]) if len(filter_.tags) == 1 else min(map(_width, filter_.tags))


def _width(tag: tuple[str, frozenset[str]]) -> int:
    return len(tag[1])
