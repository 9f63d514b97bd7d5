"""Conditions: different filters, each once however many subscriptions have it, found by the values that they ask for.

A condition stands under some keys of a table. A key with one condition, as most have, leads straight to it; for a few
there is a tuple, for many a crowd (pure, no I/O).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final, Generic, TypeAlias, TypeVar

import msgspec

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


class Condition(msgspec.Struct, Generic[S], gc=False, eq=False):
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


class Crowd(dict[Condition[S], None]):
    """Many conditions under one key.

    Attributes:
        shares: who has how many of them, once there are so many that it matters.
    """

    __slots__ = ("shares",)

    shares: Shares[str] | None

    def __init__(self, conditions: Iterable[Condition[S]]) -> None:
        super().__init__()
        self.update(dict.fromkeys(conditions))
        self.shares = None

    def enter(self, condition: Condition[S]) -> Lack | None:
        """Let one more stand here, or tell why it cannot."""
        if self.shares is None:
            self.shares = Shares(MOST_UNDER_KEY, MOST_OF_ONE_UNDER_KEY)
            for other in self:
                self.shares.take(other.origin)
        if (lack := self.shares.lack(condition.origin)) is None:
            self.shares.take(condition.origin)
            self[condition] = None
        return lack

    def leave(self, condition: Condition[S], shares: Shares[str]) -> None:
        """Take one out, if it is here, and give its place in the shares back."""
        if condition in self:
            del self[condition]
            shares.give_back(condition.origin)
            if len(self) < MOST_OF_ONE_UNDER_KEY // 2:
                self.shares = None


Found: TypeAlias = Condition[S] | tuple[Condition[S], ...] | Crowd[S]
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
            if type(found) is Crowd:
                if found.shares is None and len(found) < MOST_OF_ONE_UNDER_KEY:
                    found[condition] = None
                elif (lack := found.enter(condition)) is not None:
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
            elif type(found) is Crowd:
                if found.shares is None:
                    found.pop(condition, None)
                else:
                    found.leave(condition, found.shares)
                if len(found) <= _FEW:
                    shard[key] = tuple(found)
            elif type(found) is tuple:
                rest = tuple([one for one in found if one is not condition])
                shard[key] = rest if len(rest) > 1 else rest[0]


def _beside(found: Found[S], condition: Condition[S]) -> Found[S]:
    """Return what a key leads to with one more condition."""
    if type(found) is not tuple:
        return (found, condition)  # type: ignore[return-value]  # a crowd is none of the two that come here
    return (*found, condition) if len(found) < _FEW else Crowd((*found, condition))
