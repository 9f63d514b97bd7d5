"""Which stored events go, by the rules of `retention`: exact, in one or two walks over the store, newest first. Pure.

A walk remembers sums, and one counter for each key where a rule has `max_per_key`, never events. Each rule keeps the
newest of what it governs: once something does not fit, nothing older does. Bounds of the whole store need to know how
much there is before the first event goes: a first walk, the census, sums up what the rules leave, by standing;
`rooms_of` shares the room out, the least deserving going first; a second walk finds what has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Protocol

from trio_relay.nostr.event import MAX_TIME, is_hex64
from trio_relay.nostr.kinds import WRAPS
from trio_relay.policy.retention import MOST_KEYS, Floors, RetentionRule
from trio_relay.policy.rules import Rules

_NO_BOUND: Final = 2**62
WHOLE_STORE: Final = -1
"""Where the place of a rule would stand: it goes for a bound of the whole store."""
_NEARLY_FULL: Final = 0.99
"""Of a bound: from there on what is older than all that is kept stays out, else it would come and go for ever."""


class Governable(Protocol):
    """What a rule looks at in an event."""

    @property
    def pubkey(self) -> str:
        """Of its author."""
        ...

    @property
    def kind(self) -> int:
        """The number."""
        ...

    @property
    def created_at(self) -> int:
        """Seconds since 1970."""
        ...

    @property
    def tags(self) -> list[list[str]]:
        """All of them; may be left out for kinds that are not of `Retention.tagged_kinds`."""
        ...


class Weighable(Governable, Protocol):
    """A stored event, as a walk sees it."""

    @property
    def bytes(self) -> int:
        """Of its JSON; may be 0 where `Retention.weighs` nothing."""
        ...


class Standing(IntEnum):
    """Who goes first when the whole store has no more room: the lowest."""

    OTHERS = 0
    TRUSTED = 1
    KNOWN = 2
    """Members, and keys that the operator has listed."""
    EXEMPT = 3
    """Never goes for that: admins, the relay itself, and what a rule keeps for ever."""


@dataclass(slots=True)
class Amount:
    """So many events, and their bytes as JSON."""

    events: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        """Count one more."""
        self.events += 1
        self.bytes += size


@dataclass(slots=True)
class Forgotten(Amount):
    """What goes for one reason, and between which times, in seconds since 1970."""

    newest: int = 0
    oldest: int = 0

    def take(self, created_at: int, size: int) -> None:
        """Count one more; they come newest first."""
        self.newest = self.newest or created_at
        self.oldest = created_at
        self.add(size)


@dataclass(slots=True)
class _Share(Amount):
    """What is kept of one rule, or of one standing: the newest, as many as there is room for."""

    room: Amount | None = None
    is_full: bool = False
    oldest: int | None = None
    by_key: dict[bytes, int] = field(default_factory=dict)
    full_keys: dict[bytes, int] = field(default_factory=dict)

    def takes(self, created_at: int, size: int) -> bool:
        """Keep one more if it fits; then nothing older ever does."""
        room = self.room
        if room is not None and (self.is_full or self.events >= room.events or self.bytes + size > room.bytes):
            self.is_full = True
            return False
        self.add(size)
        self.oldest = created_at
        return True


def keys_of(event: Governable) -> list[str]:
    """Return whose event it is: its author's, or for a gift wrap, which a random key has signed, its recipients'."""
    if event.kind not in WRAPS:
        return [event.pubkey]
    return [tag[1] for tag in event.tags if len(tag) > 1 and tag[0] == "p" and is_hex64(tag[1])]


def standing_of(event: Governable, rules: Rules, now: float) -> Standing:
    """Return how much an event deserves to stay; for a gift wrap, as the best of its recipients."""
    return max((_standing(key, rules, now) for key in keys_of(event)), default=Standing.OTHERS)


def _standing(key: str, rules: Rules, now: float) -> Standing:
    if key in rules.admins or key == rules.signer:
        return Standing.EXEMPT
    if rules.is_member(key, now) or rules.is_listed(key, now):
        return Standing.KNOWN
    return Standing.TRUSTED if rules.is_trusted(key) else Standing.OTHERS


def governing(event: Governable, rules: Rules, now: float) -> int | None:
    """Return the place of the rule that governs an event; None if none does, as of all that the relay itself signs."""
    if event.pubkey == rules.signer:
        return None
    for place, rule in rules.retention.of_kind(event.kind):
        if (rule.authors == "all" or _is_by(event, rule, rules, now)) and (not rule.tags or _carries(event, rule)):
            return place
    return None


def _is_by(event: Governable, rule: RetentionRule, rules: Rules, now: float) -> bool:
    keys = keys_of(event)
    match rule.authors:
        case "members":
            return any(rules.is_member(key, now) for key in keys)
        case "listed":
            return any(rules.is_listed(key, now) for key in keys)
        case "trusted":
            return any(map(rules.is_trusted, keys))
        case _:
            return not any(rules.is_known(key, now) for key in keys)


def _carries(event: Governable, rule: RetentionRule) -> bool:
    return all(
        any(len(tag) > 1 and tag[0] == name and tag[1] in values for tag in event.tags)
        for name, values in rule.tags.items()
    )


class Walk:
    """One walk over all that is stored, newest first, and the lower id first where times are equal.

    Args:
        rules: what is kept.
        now: seconds since 1970.
        rooms: what each standing has room for, from `rooms_of`; None: as much as there is.
    """

    def __init__(self, rules: Rules, now: int, rooms: Mapping[Standing, Amount | None] | None = None) -> None:
        self.forgotten: dict[int, Forgotten] = {}
        """What goes, by the place of the rule, or `WHOLE_STORE`."""
        self._rules = rules
        self._now = now
        self._retention = rules.retention
        self._shares = [_Share(room=_room_of(rule)) for rule in rules.retention.rules]
        self._full_keys = 0
        self._standings = {each: _Share(room=(rooms or {}).get(each)) for each in Standing}

    @property
    def newest_that_may_go(self) -> int | None:
        """The newest `created_at` that has to be looked at; None: all have to."""
        return self._now - self._retention.least_age - 1 if self._retention.least_age else None

    @property
    def kept(self) -> Mapping[Standing, Amount]:
        """What stays, by standing; all of it is EXEMPT unless the whole store has a bound."""
        return self._standings

    def goes(self, event: Weighable) -> bool:
        """Return True if this event, which is not newer than the last one, goes."""
        place = governing(event, self._rules, self._now)
        standing = Standing.EXEMPT
        if place is not None:
            rule = self._retention.rules[place]
            if not self._keeps(place, rule, event):
                return self._forget(place, event)
            is_bound = self._retention.bounds_all and not rule.keeps_for_ever
        else:
            is_bound = self._retention.bounds_all
        if is_bound:
            standing = standing_of(event, self._rules, self._now)
        if not self._standings[standing].takes(event.created_at, event.bytes):
            return self._forget(WHOLE_STORE, event)
        return False

    def _keeps(self, place: int, rule: RetentionRule, event: Weighable) -> bool:
        if rule.max_age_seconds and event.created_at < self._now - rule.max_age_seconds:
            return False
        if not rule.counts:
            return True
        share = self._shares[place]
        if not rule.max_per_key:
            return share.takes(event.created_at, event.bytes)
        key = bytes.fromhex(event.pubkey)
        held = share.by_key.get(key, 0)
        if held >= rule.max_per_key or not share.takes(event.created_at, event.bytes):
            return False
        share.by_key[key] = held + 1
        if held + 1 == rule.max_per_key and self._full_keys < MOST_KEYS:
            self._full_keys += 1
            share.full_keys[key] = event.created_at
        return True

    def _forget(self, reason: int, event: Weighable) -> bool:
        self.forgotten.setdefault(reason, Forgotten()).take(event.created_at, event.bytes)
        return True

    def floors(self) -> Floors:
        """Return what has no more room, once all was seen."""
        by_rule = {place: floor for place, share in enumerate(self._shares) if (floor := _floor(share)) is not None}
        retention, kept = self._retention, self._standings.values()
        cut = {int(each): floor for each, share in self._standings.items() if (floor := _floor(share)) is not None}
        events = sum(share.events for share in kept) / (retention.max_events or _NO_BOUND)
        size = sum(share.bytes for share in kept) / (retention.max_bytes or _NO_BOUND)
        if not cut and max(events, size) >= _NEARLY_FULL:
            cut = dict(self._next_to_go())
        by_key = {place: share.full_keys for place, share in enumerate(self._shares) if share.full_keys}
        return Floors(by_rule, cut, "store.max_events" if events >= size else "store.max_bytes", by_key)

    def _next_to_go(self) -> Iterable[tuple[int, int]]:
        for standing, share in self._standings.items():
            if share.oldest is not None and standing is not Standing.EXEMPT:
                yield int(standing), share.oldest
                return


def _room_of(rule: RetentionRule) -> Amount | None:
    if not (rule.max_events or rule.max_bytes):
        return None
    return Amount(rule.max_events or _NO_BOUND, rule.max_bytes or _NO_BOUND)


def _floor(share: _Share) -> int | None:
    """Return from when on something is kept of what is full, or nearly; None where there is room."""
    room = share.room
    if room is None or not (
        share.is_full or share.events >= room.events * _NEARLY_FULL or share.bytes >= room.bytes * _NEARLY_FULL
    ):
        return None
    return MAX_TIME + 1 if share.oldest is None else share.oldest


def rooms_of(kept: Mapping[Standing, Amount], max_events: int, max_bytes: int) -> dict[Standing, Amount | None]:
    """Share the room of the whole store out: what each standing keeps, None for all of it.

    Args:
        kept: what the rules leave, by standing, from the census.
        max_events: of the whole store; 0: no bound.
        max_bytes: of the whole store; 0: no bound.
    """
    events = sum(amount.events for amount in kept.values()) - max_events if max_events else 0
    size = sum(amount.bytes for amount in kept.values()) - max_bytes if max_bytes else 0
    rooms: dict[Standing, Amount | None] = {}
    for standing in (Standing.OTHERS, Standing.TRUSTED, Standing.KNOWN):
        held = kept[standing]
        if events <= 0 and size <= 0:
            break
        rooms[standing] = Amount(_left(held.events, events), _left(held.bytes, size))
        events -= held.events
        size -= held.bytes
    return rooms


def _left(held: int, excess: int) -> int:
    return max(held - excess, 0) if excess > 0 else _NO_BOUND
