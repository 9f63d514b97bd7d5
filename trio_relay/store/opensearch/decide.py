"""Between registers and judging: what a batch depends on, and what a ruling makes of the registers. Pure."""

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
    """True if nothing but its own register decides what becomes of it, and it decides nothing else."""
    return event.kind not in REQUESTS and address_of(event) is None and len(claimants(event)) == 1


def touched(event: Event) -> set[str]:
    """The slots of all registers that decide what becomes of an event, or that it may change."""
    slots = {slot_of(event)}
    if event.kind == DELETION:
        ids, addresses = deletion_targets(event)
        slots |= {id_slot(target, event.pubkey) for target in ids}
        slots |= {address_slot(address) for address in addresses}
    elif event.kind == VANISH:
        slots.add(vanish_slot(event.pubkey))
    else:
        slots |= {id_slot(event.id, one) for one in claimants(event)}  # where its deletion would stand
    return slots


def searched_targets(batch: Iterable[Event], known: Mapping[str, Record]) -> set[tuple[str, str]]:
    """(id, who asks) of what deletions name and no register of theirs holds.

    It may stand in an address's register, or be a gift wrap, which stands in a register of its author's.
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
    """What `judge` has to know of these registers.

    Args:
        batch: the events.
        known: the registers of all slots that the batch touches and of those in `found`.
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
            # One that an older layout kept like a note was not carried out, and is if it comes again.
            if known[vanish_slot(event.pubkey)].until >= event.created_at:
                _look_at(facts, known[request_slot(event.id)])
        else:
            for one in claimants(event):
                _look_at_id(facts, known, event.id, one)
            if (own := address_of(event)) is not None:
                _look_at_address(facts, known, own)
    for slot in found:
        _look_at(facts, known[slot])
    facts.vanished = {one: vanished[one] for event in batch for one in claimants(event) if one in vanished}
    for event in batch:
        if event.kind == VANISH:
            _look_at_vanished(facts, known[vanish_slot(event.pubkey)], event)
    return facts


def _look_at(facts: Facts, register: Record) -> None:
    if register.event is not None:
        version = version_of(register.event)
        facts.stored[version.id] = version
        if version.address is not None:
            facts.heads[version.address] = version


def _look_at_address(facts: Facts, known: Mapping[str, Record], address: str) -> None:
    register = known[address_slot(address)]
    _look_at(facts, register)
    if register.until >= 0:
        facts.buried_addresses[address] = register.until


def _look_at_id(facts: Facts, known: Mapping[str, Record], event_id: str, pubkey: str) -> None:
    register = known[id_slot(event_id, pubkey)]
    if register.grave:
        facts.buried_ids.add((event_id, pubkey))
    _look_at(facts, register)


def _look_at_vanished(facts: Facts, register: Record, request: Event) -> None:
    until = max(register.until, facts.vanished.pop(request.pubkey, -1))
    # One that is known and not stored was interrupted: it is carried out again.
    was_interrupted = register.vanished == vanished_by(request) and request.id not in facts.stored
    if until > request.created_at or (until >= 0 and not was_interrupted):
        facts.vanished[request.pubkey] = until


def vanished_by(request: Event) -> str:
    """What a register says of the request to vanish that it is about; see `Document`."""
    return f"{request.pubkey}:{request.id}"


def changes(ruling: Ruling, known: Mapping[str, Record], arrivals: Mapping[str, int], now: int) -> dict[str, Write]:
    """By slot, the writes that a ruling asks for.

    Args:
        ruling: what was decided.
        known: the registers that it was decided by.
        arrivals: by event id, its `Document.arrived`.
        now: `Document.arrived` of the first that is no event; of each further one it is one more.
    """
    times = count(now)
    writes = _tombstones(ruling, known, times)
    for event_id, pubkey in sorted(ruling.bury_ids):
        slot = id_slot(event_id, pubkey)
        register = known[slot]
        if not register.grave:
            writes[slot] = Write(slot, register, Document(next(times), grave=f"{event_id}:{pubkey}"))
    events: dict[str, Event | None] = {}
    untils = {address_slot(address): until for address, until in ruling.bury_addresses.items()}
    for slot, register in known.items():
        if register.event is not None and register.event.id in ruling.remove and slot not in writes:
            events[slot] = None
    for event in ruling.insert.values():
        events[slot_of(event)] = event
    for slot in sorted(events.keys() | untils.keys()):
        register = known[slot]
        new = events.get(slot, register.event)
        until = max(untils.get(slot, -1), register.until)
        if new is register.event and until == register.until:
            continue
        if new is None:
            made = Document(next(times), until=until)
        elif new is register.event:
            # That older versions are deleted doesn't make the one that stands arrive anew.
            made = document(new, register.arrived, until, next(times))
        else:
            made = document(new, arrivals[new.id], until)
        writes[slot] = Write(slot, register, made)
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
