"""Judging: decides for each event of a batch: duplicate, replaced, deleted, vanished or stored. Pure.

NIP-01 says what replaces what, NIP-09 and NIP-59 who may delete, NIP-62 what a request to vanish removes.

A backend looks up the `Facts` that a batch depends on (`questions` says which), asks `judge`, and carries out the
`Ruling` in one transaction. So all backends decide alike, and a batch is decided in its own order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from msgspec.structs import replace

from trio_relay.nostr.event import Event, address_of, claimants, deletion_targets, supersedes
from trio_relay.nostr.kinds import DELETION, GIFT_WRAP, VANISH
from trio_relay.store.archive import Departure, DepartureCause
from trio_relay.store.base import Saved

_REQUESTS: Final = frozenset({DELETION, VANISH})
"""No deletion deletes these (NIP-09, "Deletion request against a deletion request"; NIP-62)."""


class Version(NamedTuple):
    """A stored event, as far as judging other events needs to know it."""

    id: str
    pubkey: str
    kind: int
    created_at: int
    address: str | None
    """A store need not tell the address of an event that is looked up by its id, unless the batch depends on it."""
    claimants: tuple[str, ...] = ()
    """`event.claimants` of a gift wrap; empty for other events, which only their pubkey may delete."""

    @property
    def belongs_to(self) -> tuple[str, ...]:
        """The pubkeys whose requests to delete it, or to vanish, it obeys."""
        return self.claimants or (self.pubkey,)


def version_of(event: Event) -> Version:
    """Make the version of an event."""
    several = tuple(claimants(event)) if event.kind == GIFT_WRAP else ()
    return Version(event.id, event.pubkey, event.kind, event.created_at, address_of(event), several)


@dataclass(frozen=True, slots=True)
class Questions:
    """What a batch depends on, besides tombstones of its own events.

    Ids: are they stored? Addresses: which version stands, and until when are they deleted? Pubkeys: vanished until
        when?
    """

    ids: set[str]
    addresses: set[str]
    pubkeys: set[str]


@dataclass(slots=True)
class Facts:
    """What is stored before the batch; `judge` keeps it true as it goes through the batch."""

    stored: dict[str, Version] = field(default_factory=dict)
    """By id: those of the ids in question that are stored."""
    heads: dict[str, Version] = field(default_factory=dict)
    """By address: the version that is stored."""
    id_tombstones: set[tuple[str, str]] = field(default_factory=set)
    """(id, pubkey): that author has asked to delete that id."""
    address_tombstones: dict[str, int] = field(default_factory=dict)
    """By address: no version up to this time comes back, since one that stood was deleted or has expired."""
    vanished: dict[str, int] = field(default_factory=dict)
    """By pubkey: what belongs to it up to this time has vanished."""

    def bar(self, address: str, until: int) -> int:
        """Let no version of an address come back that is as old as this, or older; returns up to when none does."""
        until = max(until, self.address_tombstones.get(address, -1))
        self.address_tombstones[address] = until
        return until


@dataclass(slots=True)
class Ruling:
    """The decision on a batch: the outcome of each event, and what the store has to do.

    First `remove` and `vanish` are carried out, then `insert`: ids may be in both. `vanish` is by pubkey: everything
    that was stored before this batch, belongs to the key and is as old as the time or older goes, requests of any kind
    included. What of it is among the facts is in `remove`, too.

    Of `deleted`, events that were deleted by their ids, the store bars the addresses up to their times, if it has not
    told their addresses (see `Version`); those that it told are in `address_tombstones`.

    Of what goes otherwise than by vanishing, `departed` says why, by id and in the order in which it goes; what of it
    came with this batch, and so is not in the store, is in `passed`. An archive keeps that.
    """

    outcomes: list[Saved] = field(default_factory=list)
    insert: dict[str, Event] = field(default_factory=dict)
    remove: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    id_tombstones: set[tuple[str, str]] = field(default_factory=set)
    address_tombstones: dict[str, int] = field(default_factory=dict)
    vanish: dict[str, int] = field(default_factory=dict)
    departed: dict[str, DepartureCause] = field(default_factory=dict)
    passed: dict[str, Event] = field(default_factory=dict)


_Leaving: TypeAlias = dict[str, dict[str, Version]]
"""By pubkey that asks to vanish in this batch: what belongs to it, by id, in the facts and so far in the batch."""


def questions(batch: Sequence[Event]) -> Questions:
    """Return what has to be looked up before `judge` can decide this batch."""
    asked = Questions({event.id for event in batch}, set(), set())
    for event in batch:
        asked.pubkeys.add(event.pubkey)
        if event.kind == GIFT_WRAP:
            asked.pubkeys.update(claimants(event))
        if (address := address_of(event)) is not None:
            asked.addresses.add(address)
        elif event.kind == DELETION:
            ids, addresses = deletion_targets(event)
            asked.ids.update(ids)
            asked.addresses.update(addresses)
    return asked


def by_itself(event: Event) -> Event:
    """Return what decides the outcome of an event by itself: what a deletion deletes plays no part."""
    return replace(event, tags=[]) if event.kind == DELETION else event


def judge(batch: Sequence[Event], facts: Facts) -> Ruling:
    """Decide a batch in its order; `facts` holds what `questions` asked for, and is used up."""
    ruling = Ruling()
    leaving = _leaving(batch, facts)
    for event in batch:
        ruling.outcomes.append(_judge_one(event, facts, ruling, leaving))
    return ruling


def _leaving(batch: Sequence[Event], facts: Facts) -> _Leaving:
    leaving: _Leaving = {event.pubkey: {} for event in batch if event.kind == VANISH}
    if leaving:
        for version in (*facts.stored.values(), *facts.heads.values()):
            _note_owners(version, leaving)
    return leaving


def _note_owners(version: Version, leaving: _Leaving) -> None:
    for owner in version.belongs_to:
        if owner in leaving:
            leaving[owner][version.id] = version


def _judge_one(event: Event, facts: Facts, ruling: Ruling, leaving: _Leaving) -> Saved:
    if event.id in facts.stored:
        if event.kind == VANISH and facts.vanished.get(event.pubkey, -1) < event.created_at:
            # An older version of the relay stored it as an ordinary event. Now it is carried out, and stored again.
            ruling.insert[event.id] = event
            ruling.remove.add(event.id)
            _vanish(event, facts, ruling, leaving)
        return Saved.DUPLICATE
    version = version_of(event)
    # For most batches nothing has vanished and nothing is deleted. For a gift wrap, each claimant may have asked.
    if facts.vanished and any(event.created_at <= facts.vanished.get(claimant, -1) for claimant in version.belongs_to):
        return Saved.VANISHED
    is_deletable = facts.id_tombstones and event.kind not in _REQUESTS
    if is_deletable and any((event.id, claimant) in facts.id_tombstones for claimant in version.belongs_to):
        return Saved.DELETED
    address = version.address
    if address is not None:
        if event.created_at <= facts.address_tombstones.get(address, -1):
            return Saved.DELETED
        head = facts.heads.get(address)
        if head is not None:
            if not supersedes(event.created_at, event.id, head.created_at, head.id):
                return Saved.SUPERSEDED
            _drop(head, facts, ruling, DepartureCause(Departure.REPLACED, event.id))
    facts.stored[event.id] = version
    ruling.insert[event.id] = event
    if leaving:
        _note_owners(version, leaving)
    if address is not None:
        facts.heads[address] = version
    elif event.kind == DELETION:
        _delete(event, facts, ruling)
    elif event.kind == VANISH:
        _vanish(event, facts, ruling, leaving)
    return Saved.STORED


def _delete(request: Event, facts: Facts, ruling: Ruling) -> None:
    ids, addresses = deletion_targets(request)
    cause = DepartureCause(Departure.DELETED, request.id)
    for target in ids:
        # The target may be unknown, or of another author: the tombstone names who asked, and that decides when it
        # comes.
        facts.id_tombstones.add((target, request.pubkey))
        ruling.id_tombstones.add((target, request.pubkey))
        stored = facts.stored.get(target)
        if stored is not None and request.pubkey in stored.belongs_to and stored.kind not in _REQUESTS:
            _drop(stored, facts, ruling, cause)
            ruling.deleted.add(stored.id)
            if stored.address is not None:  # else an older version would come back and stand again
                ruling.address_tombstones[stored.address] = facts.bar(stored.address, stored.created_at)
    for address in addresses:
        ruling.address_tombstones[address] = facts.bar(address, request.created_at)
        head = facts.heads.get(address)
        if head is not None and head.created_at <= request.created_at:
            _drop(head, facts, ruling, cause)


def _vanish(request: Event, facts: Facts, ruling: Ruling, leaving: _Leaving) -> None:
    facts.vanished[request.pubkey] = ruling.vanish[request.pubkey] = request.created_at
    for version in leaving[request.pubkey].values():
        if version.created_at > request.created_at:
            continue
        # What went before the request came is to be nowhere, either.
        ruling.departed.pop(version.id, None)
        ruling.passed.pop(version.id, None)
        if _stands(version, facts) and version.id != request.id:  # the request itself stays, to show why
            _drop(version, facts, ruling)


def _stands(version: Version, facts: Facts) -> bool:
    """Return True if it was not dropped in the meantime."""
    head = facts.heads.get(version.address) if version.address is not None else None
    return version.id in facts.stored or (head is not None and head.id == version.id)


def _drop(version: Version, facts: Facts, ruling: Ruling, cause: DepartureCause | None = None) -> None:
    """Take an event out of what is stored; without a cause it vanishes."""
    facts.stored.pop(version.id, None)
    if cause is not None:
        ruling.departed.setdefault(version.id, cause)
    if (passed := ruling.insert.pop(version.id, None)) is None:
        ruling.remove.add(version.id)
    elif cause is not None:
        ruling.passed[version.id] = passed
    head = facts.heads.get(version.address) if version.address is not None else None
    if head is not None and head.id == version.id and version.address is not None:
        del facts.heads[version.address]
