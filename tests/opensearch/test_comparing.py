"""What is wrong in an index is found: documents that are not what their event makes."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from tests.support.indices import made, options_for
from tests.support.keys import ALICE, BOB, NOW
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


async def test_a_document_in_the_place_of_another_is_named(node: str, prefix: str) -> None:
    async with made(options_for(node, prefix)) as store:
        await store.save_many([NOTE])
        put(node, prefix, documents.slot_of(OTHER))
        [fault] = [fault async for portion in store.inspect() for fault in portion.faults]
        assert (fault.aspect, fault.where) == (Aspect.TWICE, NOTE.id)
