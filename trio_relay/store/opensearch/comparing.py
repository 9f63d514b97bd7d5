"""Looks for what is wrong in an index: documents whose fields, or whose place, are not what their event's JSON makes.

Words cannot be compared: the index keeps no texts of them, and a document that has lost the field of its id is no
event for any search.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import trio

from trio_relay.nostr.event import Event, check_shape, decode, encode, id_matches
from trio_relay.store.inspection import Aspect, Fault, Inspected, MoveOut, Verify
from trio_relay.store.opensearch.bulk import Bulk, Write, Wrote
from trio_relay.store.opensearch.cas import Records
from trio_relay.store.opensearch.clear import state_of
from trio_relay.store.opensearch.client import OpenSearchClient
from trio_relay.store.opensearch.documents import Document, document, slot_of
from trio_relay.store.opensearch.pages import Columns, Hit
from trio_relay.store.opensearch.scan import column_scan


async def inspect(client: OpenSearchClient, alias: str, verify: Verify | None) -> AsyncGenerator[Inspected, None]:
    """Compare every event's document with one made anew of its JSON, as the index is at one moment.

    Raises:
        StoreError: from a step, when the cluster could not answer.
    """
    async with aclosing(column_scan(client, alias)) as pages:
        async for hits in pages:
            yield await trio.to_thread.run_sync(_compare, hits, verify)


@dataclass(slots=True)
class Mended:
    """What became of documents that were not as they should be."""

    written_anew: int = 0
    moved_out: int = 0
    left: int = 0
    """That somebody has written meanwhile."""


async def mend(
    client: OpenSearchClient, alias: str, bulk: Bulk, records: Records, move_out: MoveOut, verify: Verify | None
) -> Mended:
    """Write documents anew that are not what their event's JSON makes, and empty those that hold no right event.

    Each is compared and set, so that relays may go on meanwhile.

    Args:
        client: of the cluster.
        alias: of the index.
        bulk: sends writes.
        records: shows this relay's clients what was written.
        move_out: keeps what has no place.
        verify: looks at signatures, too; None: nobody does.

    Raises:
        StoreError: it failed; a part may be mended.
    """
    done = Mended()
    async with aclosing(column_scan(client, alias)) as pages:
        async for hits in pages:
            wrong = await trio.to_thread.run_sync(_wrong, hits, verify)
            if not wrong:
                continue
            arrivals = records.arrivals(len(wrong))
            writes = [_mending(one, arrived) for one, arrived in zip(wrong, arrivals, strict=True)]
            await bulk.carry_out(writes)
            for one, write in zip(wrong, writes, strict=True):
                _note(one, write, records, move_out, done)
    return done


class _Wrong(NamedTuple):
    hit: Hit
    fault: Fault
    event: Event | None
    """What the document should be of; None if it should not be there."""


def _wrong(hits: Sequence[Hit], verify: Verify | None) -> list[_Wrong]:
    found: list[_Wrong] = []
    for hit in hits:
        for fault in islice(_faults([hit], verify), 1):
            event = event_of(hit)
            stays = isinstance(event, Event) and fault.aspect is not Aspect.EVENT and hit.slot == slot_of(event)
            found.append(_Wrong(hit, fault, event if stays and isinstance(event, Event) else None))
    return found


def _mending(one: _Wrong, now: int) -> Write:
    hit, source = one.hit, one.hit.source
    new = Document(now, until=source.until)
    if one.event is not None:
        new = document(one.event, source.arrived, source.until, changed=now)
    return Write(hit.slot, state_of(hit), new)


def _note(one: _Wrong, write: Write, records: Records, move_out: MoveOut, done: Mended) -> None:
    before = one.hit.fields.id
    records.note(write, before[0] if before else None, one.event)
    if write.wrote is not Wrote.DONE:
        done.left += 1
    elif one.event is not None:
        done.written_anew += 1
    else:
        done.moved_out += 1
        move_out(one.hit.source.event.encode(), one.fault)


def _compare(hits: Sequence[Hit], verify: Verify | None) -> Inspected:
    return Inspected(len(hits), tuple(_faults(hits, verify)))


def _faults(hits: Sequence[Hit], verify: Verify | None) -> Iterator[Fault]:
    whole: list[Event] = []
    for hit in hits:
        event = event_of(hit)
        if isinstance(event, str):
            yield Fault(Aspect.EVENT, (hit.fields.id or [hit.slot])[0], event)
            continue
        whole.append(event)
        yield from _differences(hit, event)
    if verify is not None:
        for event, is_right in zip(whole, verify(whole), strict=True):
            if not is_right:
                yield Fault(Aspect.EVENT, event.id, "its signature is wrong")


def event_of(hit: Hit) -> Event | str:
    """The event of a document, or why there is none."""
    try:
        event = decode(hit.source.event)
    except (ValueError, RecursionError):
        return "its JSON is no event"
    if (fault := check_shape(event)) is not None:
        return f"its JSON is no event: {fault}"
    return event if id_matches(event) else "its id is not that of its JSON"


def _differences(hit: Hit, event: Event) -> Iterator[Fault]:
    wanted, found = document(event, hit.source.arrived), hit.fields
    columns = Columns([wanted.kind], [wanted.created_at], [wanted.id], [wanted.pubkey])
    wrong = [name for name in ("kind", "created_at", "id", "pubkey") if getattr(columns, name) != getattr(found, name)]
    if encode(event).decode() != hit.source.event:
        wrong.append("event")
    if wrong:
        yield Fault(Aspect.COLUMNS, event.id, f"not as its JSON says: {', '.join(wrong)}")
    if set(found.tags) != set(wanted.tags) or set(found.marks) != set(wanted.marks):
        yield Fault(Aspect.TAGS, event.id, "its tags or marks are not as its JSON says")
    if found.expires != ([wanted.expires] if wanted.expires >= 0 else []):
        yield Fault(Aspect.EXPIRY, event.id, "it expires at another time than its JSON says")
    if hit.slot != slot_of(event):
        yield Fault(Aspect.TWICE, event.id, "it stands in the place of another event")
