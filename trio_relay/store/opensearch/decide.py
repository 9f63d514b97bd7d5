"""Translates between records and judging: what a batch depends on, and the writes of a ruling. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Final

from trio_relay.nostr.event import Event, address_of, claimants, deletion_targets
from trio_relay.nostr.kinds import DELETION, VANISH
from trio_relay.store.judge import Facts, Ruling, version_of
from trio_relay.store.opensearch.bulk import Write
from trio_relay.store.opensearch.documents import (
    REQUESTS,
    Document,
    Record,
    address_slot,
    document,
    id_slot,
    request_slot,
    slot_of,
    vanish_slot,
)

NEVER_WRITTEN: Final = Record()


def is_plain(event: Event) -> bool:
    """Return True if the event depends on its own record alone and changes no other."""
    return event.kind not in REQUESTS and address_of(event) is None and len(claimants(event)) == 1


def touched(event: Event) -> set[str]:
    """Return the slots of all records that an event depends on or may change."""
    slots = {slot_of(event)}
    if event.kind == DELETION:
        ids, addresses = deletion_targets(event)
        slots |= {id_slot(target, event.pubkey) for target in ids}
        slots |= {address_slot(address) for address in addresses}
    elif event.kind == VANISH:
        slots.add(vanish_slot(event.pubkey))
    else:
        slots |= {id_slot(event.id, claimant) for claimant in claimants(event)}  # where its tombstone would be
    return slots


def searched_targets(batch: Iterable[Event], known: Mapping[str, Record]) -> set[tuple[str, str]]:
    """Return (id, who asks) for targets of deletions that are not in the record of the id.

    Such a target may be in the record of an address, or be a gift wrap, which is in the record of its author's id.
    """
    return {
        (target, event.pubkey)
        for event in batch
        if event.kind == DELETION
        for target in deletion_targets(event)[0]
        if known[id_slot(target, event.pubkey)].event is None
    }


def facts_of(
    batch: Sequence[Event], known: Mapping[str, Record], found: Iterable[str], vanished: Mapping[str, int]
) -> Facts:
    """Return what `judge` has to know of these records.

    Args:
        batch: the events.
        known: the records of all slots that the batch touches and of those in `found`.
        found: where `searched_targets` were found.
        vanished: by pubkey, until when what belongs to it has vanished, as far as this relay knows.
    """
    facts = Facts()
    for event in batch:
        if event.kind == DELETION:
            ids, addresses = deletion_targets(event)
            _look_at(facts, known[request_slot(event.id)])
            for target in ids:
                _look_at_id(facts, known, target, event.pubkey)
            for address in addresses:
                _look_at_address(facts, known, address)
        elif event.kind == VANISH:
            # An older layout stored such requests like notes, not carried out; they are if they come again.
            if known[vanish_slot(event.pubkey)].until >= event.created_at:
                _look_at(facts, known[request_slot(event.id)])
        else:
            for claimant in claimants(event):
                _look_at_id(facts, known, event.id, claimant)
            if (own := address_of(event)) is not None:
                _look_at_address(facts, known, own)
    for slot in found:
        _look_at(facts, known[slot])
    facts.vanished = {
        claimant: vanished[claimant] for event in batch for claimant in claimants(event) if claimant in vanished
    }
    for event in batch:
        if event.kind == VANISH:
            _look_at_vanished(facts, known[vanish_slot(event.pubkey)], event)
    return facts


def _look_at(facts: Facts, record: Record) -> None:
    if record.event is not None:
        version = version_of(record.event)
        facts.stored[version.id] = version
        if version.address is not None:
            facts.heads[version.address] = version


def _look_at_address(facts: Facts, known: Mapping[str, Record], address: str) -> None:
    record = known[address_slot(address)]
    _look_at(facts, record)
    if record.until >= 0:
        facts.address_tombstones[address] = record.until


def _look_at_id(facts: Facts, known: Mapping[str, Record], event_id: str, pubkey: str) -> None:
    record = known[id_slot(event_id, pubkey)]
    if record.tombstone:
        facts.id_tombstones.add((event_id, pubkey))
    _look_at(facts, record)


def _look_at_vanished(facts: Facts, record: Record, request: Event) -> None:
    until = max(record.until, facts.vanished.pop(request.pubkey, -1))
    # A request with a tombstone that is not stored was interrupted: it is carried out again.
    was_interrupted = record.vanished == vanished_by(request) and request.id not in facts.stored
    if until > request.created_at or (until >= 0 and not was_interrupted):
        facts.vanished[request.pubkey] = until


def vanished_by(request: Event) -> str:
    """Return what the record of a vanished key says of its request; see `Document`."""
    return f"{request.pubkey}:{request.id}"


def changes(ruling: Ruling, known: Mapping[str, Record], arrivals: Mapping[str, int], now: int) -> dict[str, Write]:
    """Return the writes that a ruling asks for, by slot.

    Args:
        ruling: what was decided.
        known: the records that it was decided by.
        arrivals: `Document.arrived` by event id.
        now: `Document.arrived` of the first document without an event; each further one gets one more.
    """
    times = count(now)
    writes = _tombstones(ruling, known, times)
    for event_id, pubkey in sorted(ruling.id_tombstones):
        slot = id_slot(event_id, pubkey)
        record = known[slot]
        if not record.tombstone:
            writes[slot] = Write(slot, record, Document(next(times), tombstone=f"{event_id}:{pubkey}"))
    events: dict[str, Event | None] = {}
    untils = {address_slot(address): until for address, until in ruling.address_tombstones.items()}
    for slot, record in known.items():
        if record.event is not None and record.event.id in ruling.remove and slot not in writes:
            events[slot] = None
    for event in ruling.insert.values():
        events[slot_of(event)] = event
    for slot in sorted(events.keys() | untils.keys()):
        record = known[slot]
        new = events.get(slot, record.event)
        until = max(untils.get(slot, -1), record.until)
        if new is record.event and until == record.until:
            continue
        if new is None:
            made = Document(next(times), until=until)
        elif new is record.event:
            # The event was stored before, so it keeps its time of arrival.
            made = document(new, record.arrived, until, next(times))
        else:
            made = document(new, arrivals[new.id], until)
        writes[slot] = Write(slot, record, made)
    return writes


def _tombstones(ruling: Ruling, known: Mapping[str, Record], times: Iterator[int]) -> dict[str, Write]:
    writes: dict[str, Write] = {}
    for event in ruling.insert.values():
        if event.kind == VANISH:
            slot = vanish_slot(event.pubkey)
            until = max(ruling.vanish[event.pubkey], known[slot].until)
            made = Document(next(times), until=until, vanished=vanished_by(event))
            writes[slot] = Write(slot, known[slot], made)
    return writes
