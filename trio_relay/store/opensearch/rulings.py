"""Between registers and judging: what a batch depends on, and what a ruling makes of the registers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Final

from trio_relay.nostr.event import DELETION, Event, address_of, deletion_targets
from trio_relay.store.judge import Facts, Ruling, Version
from trio_relay.store.opensearch.bulk import Write
from trio_relay.store.opensearch.documents import (
    Document,
    Register,
    address_slot,
    document,
    id_slot,
    request_slot,
    slot_of,
)

NEVER_WRITTEN: Final = Register()


def is_plain(event: Event) -> bool:
    """True if nothing but its own register decides what becomes of it, and it decides nothing else."""
    return event.kind != DELETION and address_of(event) is None


def touched(event: Event) -> set[str]:
    """The slots of all registers that decide what becomes of an event, or that it may change."""
    slots = {slot_of(event)}
    if event.kind == DELETION:
        ids, addresses = deletion_targets(event)
        slots |= {id_slot(target, event.pubkey) for target in ids}
        slots |= {address_slot(address) for address in addresses}
    else:
        slots.add(id_slot(event.id, event.pubkey))  # where its deletion would stand
    return slots


def searched_targets(batch: Iterable[Event], known: Mapping[str, Register]) -> set[tuple[str, str]]:
    """(id, author) of what deletions name and no register of its own holds: it may stand in an address's."""
    return {
        (target, event.pubkey)
        for event in batch
        if event.kind == DELETION
        for target in deletion_targets(event)[0]
        if known[id_slot(target, event.pubkey)].event is None
    }


def facts_of(batch: Sequence[Event], known: Mapping[str, Register], heads: Iterable[Event]) -> Facts:
    """What `judge` has to know of these registers.

    Args:
        batch: the events.
        known: the registers of all slots that the batch touches and of those that `heads` stand in.
        heads: of the `searched_targets`, those that were found.
    """
    facts = Facts()

    def look(slot: str, address: str | None) -> None:
        if (event := known[slot].event) is None:
            return
        version = Version(event.id, event.pubkey, event.kind, event.created_at, address)
        facts.stored[event.id] = version
        if address is not None:
            facts.heads[address] = version

    def look_at_address(address: str) -> None:
        slot = address_slot(address)
        look(slot, address)
        if known[slot].until >= 0:
            facts.buried_addresses[address] = known[slot].until

    def look_at_id(event_id: str, pubkey: str) -> None:
        register = known[id_slot(event_id, pubkey)]
        if register.exists and register.event is None:
            facts.buried_ids.add((event_id, pubkey))
        look(id_slot(event_id, pubkey), None)

    for event in batch:
        if event.kind == DELETION:
            look(request_slot(event.id), None)
            ids, addresses = deletion_targets(event)
            for target in ids:
                look_at_id(target, event.pubkey)
            for address in addresses:
                look_at_address(address)
        else:
            look_at_id(event.id, event.pubkey)
            if (own := address_of(event)) is not None:
                look_at_address(own)
    for head in heads:
        if (own := address_of(head)) is not None:
            look_at_address(own)
    return facts


def changes(ruling: Ruling, known: Mapping[str, Register], arrivals: Mapping[str, int], now: int) -> dict[str, Write]:
    """By slot, the writes that a ruling asks for.

    Args:
        ruling: what was decided.
        known: the registers that it was decided by.
        arrivals: by event id, its `Document.arrived`.
        now: `Document.arrived` of the first that is no event; of each further one it is one more.
    """
    times = count(now)
    writes: dict[str, Write] = {}
    for event_id, pubkey in sorted(ruling.bury_ids):
        slot = id_slot(event_id, pubkey)
        register = known[slot]
        if not register.exists or register.event is not None:
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
