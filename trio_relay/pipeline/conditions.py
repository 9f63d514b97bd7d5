"""Conditions: different filters, each once however many subscriptions have it, found by the values that they ask for.

A condition stands under some keys of a table. A key with one condition, as most have, leads straight to it; for a few
there is a tuple, for many a crowd (pure, no I/O).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final, Generic, TypeAlias, TypeVar

from trio_relay.frozen import Untracked
from trio_relay.nostr.filter import Filter
from trio_relay.shares import Lack, Shares

S = TypeVar("S", bound=Hashable)

MOST_UNDER_KEY: Final = 10_000
"""Conditions under one key: an event that has this key is compared with all of them."""
MOST_OF_ONE_UNDER_KEY: Final = 300
"""Those of one address, so that nobody makes the events of others slow."""
_FEW: Final = 16
SHARD: Final = 63
"""A table has one dict more. A dict that grows beyond its size is made anew at once: 60 ms at a million keys, 1 ms for
each of these. Keys come to them by their hash, which nobody outside can foresee."""


class Condition(Untracked, Generic[S], eq=False):
    """A filter, and who subscribed to it: nobody any more while it is being taken out, one, or many.

    The garbage collector passes it by, and with it the tables, which lead to nothing else: else each full collection
    would look at every value of every open filter.

    Attributes:
        filter: its `limit` plays no part.
        origin: the address that came with it first, under whose share it counts.
        one: the only subscription.
        many: all of them, where they are several.
    """

    filter: Filter
    origin: str | None
    one: S | None = None
    many: dict[S, None] | None = None

    def join(self, subscription: S) -> None:
        """Let one more subscription have it."""
        if self.many is not None:
            self.many[subscription] = None
        elif self.one is None:
            self.one = subscription
        else:
            self.many = {self.one: None, subscription: None}
            self.one = None

    def leave(self, subscription: S) -> bool:
        """Take one out that has it, and give True if it was the last."""
        if self.many is None:
            self.one = None
            return True
        del self.many[subscription]
        if len(self.many) == 1:
            (self.one,) = self.many
            self.many = None
        return False


class Crowd(Generic[S]):
    """Many conditions under one key.

    Attributes:
        members: they, in the order in which they came.
        shares: who has how many of them, once there are so many that it matters.
    """

    __slots__ = ("members", "shares")

    def __init__(self, conditions: Iterable[Condition[S]]) -> None:
        self.members: dict[Condition[S], None] = dict.fromkeys(conditions)
        self.shares: Shares[str] | None = None

    def enter(self, condition: Condition[S]) -> Lack | None:
        """Let one more stand here, if it does not yet, or tell why it cannot."""
        members, shares = self.members, self.shares
        if shares is None:
            if len(members) < MOST_OF_ONE_UNDER_KEY:
                members[condition] = None
                return None
            shares = self.shares = Shares(MOST_UNDER_KEY, MOST_OF_ONE_UNDER_KEY)
            for other in members:
                shares.take(other.origin)
        if (lack := shares.lack(condition.origin)) is None:
            shares.take(condition.origin)
            members[condition] = None
        return lack

    def leave(self, condition: Condition[S]) -> None:
        """Take one out, if it is here, and give its place in the shares back."""
        members = self.members
        if condition not in members:
            return
        del members[condition]
        if self.shares is not None:
            self.shares.give_back(condition.origin)
            if len(members) < MOST_OF_ONE_UNDER_KEY // 2:
                self.shares = None


Found: TypeAlias = "Condition[S] | tuple[Condition[S], ...] | Crowd[S]"
"""What stands under one key."""
K = TypeVar("K", str, int)


class Table(Generic[K, S]):
    """Conditions by keys of one sort: texts, or numbers.

    Attributes:
        shards: what stands under a key is in `shards[hash(key) & SHARD]`.
    """

    __slots__ = ("shards",)

    def __init__(self) -> None:
        self.shards: list[dict[K, Found[S]]] = [{} for _ in range(SHARD + 1)]

    def __len__(self) -> int:
        return sum(map(len, self.shards))

    def enter(self, keys: Iterable[K], condition: Condition[S]) -> Lack | None:
        """Let a condition stand under these keys, where it does not yet; or tell why there is no room, half done."""
        shards = self.shards
        for key in keys:
            shard = shards[hash(key) & SHARD]
            found = shard.setdefault(key, condition)
            if found is condition:
                continue
            if isinstance(found, Crowd):
                if (lack := found.enter(condition)) is not None:
                    return lack
            else:
                shard[key] = _beside(found, condition)
        return None

    def leave(self, keys: Iterable[K], condition: Condition[S]) -> None:
        """Take a condition out from under those of the keys under which it stands."""
        shards = self.shards
        for key in keys:
            shard = shards[hash(key) & SHARD]
            found = shard.get(key)
            if found is condition:
                del shard[key]
                if not shard:
                    shard.clear()  # a dict that has been large stays so, even if it is empty
            elif isinstance(found, Crowd):
                found.leave(condition)
                if len(found.members) <= _FEW:
                    shard[key] = tuple(found.members)
            elif isinstance(found, tuple):
                rest = tuple([one for one in found if one is not condition])
                shard[key] = rest if len(rest) > 1 else rest[0]


def _beside(found: Condition[S] | tuple[Condition[S], ...], condition: Condition[S]) -> Found[S]:
    """Return what a key leads to with one more condition."""
    if not isinstance(found, tuple):
        return (found, condition)
    return (*found, condition) if len(found) < _FEW else Crowd((*found, condition))


def all_of(found: Found[S]) -> Iterable[Condition[S]]:
    """Return the conditions that stand under a key."""
    if isinstance(found, tuple):
        return found
    return found.members if isinstance(found, Crowd) else (found,)
