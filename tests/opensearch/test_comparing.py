"""What is wrong in an index is found: documents that are not what their event makes."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from tests.support.backends import everything
from tests.support.indices import made, options_for
from tests.support.keys import ALICE, BOB, NOW
from trio_relay import Filter, Saved
from trio_relay.nostr import event as events
from trio_relay.store import inspection
from trio_relay.store.opensearch import documents

NOTE = ALICE.event("words", created_at=NOW, tags=[["t", "tea"], ["expiration", str(NOW * 2)]])
OTHER = BOB.event("others", created_at=NOW + 1)
Aspect = inspection.Aspect


def put(node: str, prefix: str, slot: str, **changes: Any) -> None:
    """Replace the document of a note by another one of it."""
    document = msgspec.to_builtins(documents.document(NOTE, 5)) | changes
    answer = httpx.put(f"{node}/{prefix}-events/_doc/{slot}?refresh=true", json=document, timeout=30.0)
    assert answer.status_code in (200, 201), answer.text


@pytest.mark.parametrize(
    ("aspect", "changes"),
    [
        (Aspect.COLUMNS, {"kind": "7"}),
        (Aspect.COLUMNS, {"created_at": 5}),
        (Aspect.COLUMNS, {"pubkey": BOB.pubkey}),
        (Aspect.COLUMNS, {"id": OTHER.id}),
        (Aspect.TAGS, {"tags": []}),
        (Aspect.TAGS, {"tags": ["t:tea", "t:coffee"]}),
        (Aspect.TAGS, {"marks": ["vote:up"]}),
        (Aspect.EXPIRY, {"expires": 5}),
        (Aspect.EVENT, {"event": "{}"}),
        (Aspect.EVENT, {"event": documents.document(OTHER, 5).event.replace("others", "otters")}),
    ],
)
async def test_a_document_that_is_not_what_its_event_makes_is_named(
    node: str, prefix: str, aspect: Aspect, changes: dict[str, Any]
) -> None:
    async with made(options_for(node, prefix)) as store:
        await store.save_many([NOTE, OTHER])
        put(node, prefix, documents.slot_of(NOTE))
        assert [portion.faults async for portion in store.inspect() if portion.faults] == []
        put(node, prefix, documents.slot_of(NOTE), **changes)
        [fault] = [fault async for portion in store.inspect() for fault in portion.faults]
        assert fault.aspect is aspect
        assert fault.where == (changes.get("id", NOTE.id) if aspect is Aspect.EVENT else NOTE.id)


@pytest.mark.parametrize("changes", [{"kind": "7"}, {"tags": []}, {"expires": 5}, {"pubkey": BOB.pubkey}])
async def test_it_is_written_anew_from_its_event(node: str, prefix: str, changes: dict[str, Any]) -> None:
    async with made(options_for(node, prefix)) as store:
        await store.save_many([NOTE, OTHER])
        put(node, prefix, documents.slot_of(NOTE), **changes)
        moved: list[inspection.Fault] = []
        done = await store.mend(lambda _json, fault: moved.append(fault))
        assert (done.written_anew, done.moved_out, done.left, moved) == (1, 0, 0, [])
        assert [portion.faults async for portion in store.inspect() if portion.faults] == []
        assert {event.id for event in await everything(store)} == {NOTE.id, OTHER.id}
        assert await store.count([Filter(tags=(("t", frozenset({"tea"})),))]) == 1


async def test_what_is_broken_or_has_no_place_is_moved_out(node: str, prefix: str) -> None:
    async with made(options_for(node, prefix)) as store:
        await store.save_many([NOTE, OTHER])
        put(node, prefix, documents.slot_of(OTHER))
        put(node, prefix, documents.slot_of(NOTE), event="{}")
        moved: dict[bytes, inspection.Aspect] = {}
        done = await store.mend(lambda json, fault: moved.update({json: fault.aspect}))
        assert (done.written_anew, done.moved_out) == (0, 2)
        assert moved == {b"{}": Aspect.EVENT, events.encode(NOTE): Aspect.TWICE}
        assert await everything(store) == []
        assert await store.save_many([NOTE, OTHER]) == [Saved.STORED] * 2


async def test_a_document_in_the_place_of_another_is_named(node: str, prefix: str) -> None:
    async with made(options_for(node, prefix)) as store:
        await store.save_many([NOTE])
        put(node, prefix, documents.slot_of(OTHER))
        [fault] = [fault async for portion in store.inspect() for fault in portion.faults]
        assert (fault.aspect, fault.where) == (Aspect.TWICE, NOTE.id)
