"""What becomes of each event of a batch: duplicate, replaced, deleted or stored (NIP-01, NIP-09). Pure.

A backend looks up the `Facts` that a batch depends on (`questions` says which), asks `judge`, and carries out the
`Ruling` in one transaction. So every backend decides alike, and a batch is decided in its own order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from trio_relay.nostr.event import DELETION, Event, address_of, deletion_targets, supersedes
from trio_relay.store.base import Saved


class Version(NamedTuple):
    """A stored event, as far as judging another one needs to know it."""

    id: str
    pubkey: str
    kind: int
    created_at: int
    address: str | None


@dataclass(frozen=True, slots=True)
class Questions:
    """Whose facts a batch depends on, beside its own events (deleted by their author?).

    Ids: stored? Addresses: which version stands, and until when are they deleted?
    """

    ids: set[str]
    addresses: set[str]


@dataclass(slots=True)
class Facts:
    """What is stored before the batch; `judge` keeps it true as it goes through the batch."""

    stored: dict[str, Version] = field(default_factory=dict)
    """By id: the stored ones among the ids in question."""
    heads: dict[str, Version] = field(default_factory=dict)
    """By address: the version that stands."""
    buried_ids: set[tuple[str, str]] = field(default_factory=set)
    """(id, pubkey): that author has asked to delete that id."""
    buried_addresses: dict[str, int] = field(default_factory=dict)
    """By address: versions up to this time are deleted."""


@dataclass(slots=True)
class Ruling:
    """What the store has to do and says of each event. First `remove`, then `insert`: an id may be in both."""

    outcomes: list[Saved] = field(default_factory=list)
    insert: dict[str, Event] = field(default_factory=dict)
    remove: set[str] = field(default_factory=set)
    bury_ids: set[tuple[str, str]] = field(default_factory=set)
    bury_addresses: dict[str, int] = field(default_factory=dict)


def questions(batch: Sequence[Event]) -> Questions:
    """What has to be looked up before `judge` can decide this batch."""
    asked = Questions({event.id for event in batch}, set())
    for event in batch:
        if (address := address_of(event)) is not None:
            asked.addresses.add(address)
        elif event.kind == DELETION:
            ids, addresses = deletion_targets(event)
            asked.ids.update(ids)
            asked.addresses.update(addresses)
    return asked


def judge(batch: Sequence[Event], facts: Facts) -> Ruling:
    """Decide a batch in its order; `facts` holds what `questions` asked for, and is used up."""
    ruling = Ruling()
    for event in batch:
        ruling.outcomes.append(_judge_one(event, facts, ruling))
    return ruling


def _judge_one(event: Event, facts: Facts, ruling: Ruling) -> Saved:
    if event.id in facts.stored:
        return Saved.DUPLICATE
    # A deletion cannot be deleted (NIP-09, "Deletion request against a deletion request").
    if event.kind != DELETION and (event.id, event.pubkey) in facts.buried_ids:
        return Saved.DELETED
    address = address_of(event)
    if address is not None:
        if event.created_at <= facts.buried_addresses.get(address, -1):
            return Saved.DELETED
        head = facts.heads.get(address)
        if head is not None:
            if not supersedes(event.created_at, event.id, head.created_at, head.id):
                return Saved.SUPERSEDED
            _drop(head, facts, ruling)
    version = Version(event.id, event.pubkey, event.kind, event.created_at, address)
    facts.stored[event.id] = version
    ruling.insert[event.id] = event
    if address is not None:
        facts.heads[address] = version
    elif event.kind == DELETION:
        _bury(event, facts, ruling)
    return Saved.STORED


def _bury(request: Event, facts: Facts, ruling: Ruling) -> None:
    ids, addresses = deletion_targets(request)
    for target in ids:
        # The target may be unknown, or another's: who asked is kept beside it, and decides when it arrives.
        facts.buried_ids.add((target, request.pubkey))
        ruling.bury_ids.add((target, request.pubkey))
        stored = facts.stored.get(target)
        if stored is not None and stored.pubkey == request.pubkey and stored.kind != DELETION:
            _drop(stored, facts, ruling)
    for address in addresses:
        until = max(request.created_at, facts.buried_addresses.get(address, -1))
        facts.buried_addresses[address] = ruling.bury_addresses[address] = until
        head = facts.heads.get(address)
        if head is not None and head.created_at <= request.created_at:
            _drop(head, facts, ruling)


def _drop(version: Version, facts: Facts, ruling: Ruling) -> None:
    facts.stored.pop(version.id, None)
    if ruling.insert.pop(version.id, None) is None:
        ruling.remove.add(version.id)
    head = facts.heads.get(version.address) if version.address is not None else None
    if head is not None and head.id == version.id and version.address is not None:
        del facts.heads[version.address]
