"""What is wrong in an index is found: documents that are not what their event makes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.backends import everything
from tests.support.indices import json_of, made, options_for, place_of, put_document
from tests.support.keys import ALICE, BOB, NOW
from trio_relay import Filter, Saved
from trio_relay.nostr import event as events
from trio_relay.store import inspection

NOTE = ALICE.event("words", created_at=NOW, tags=[["t", "tea"], ["expiration", str(NOW * 2)]])
OTHER = BOB.event("others", created_at=NOW + 1)
Aspect = inspection.Aspect


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
        (Aspect.EVENT, {"event": json_of(OTHER).replace("others", "otters")}),
    ],
)
async def test_a_document_that_is_not_what_its_event_makes_is_named(
    node: str, prefix: str, aspect: Aspect, changes: dict[str, Any]
) -> None:
    async with made(options_for(node, prefix)) as store:
        await store.save_many([NOTE, OTHER])
        await put_document(node, prefix, place_of(NOTE), NOTE)
        assert [portion.faults async for portion in store.inspect() if portion.faults] == []
        await put_document(node, prefix, place_of(NOTE), NOTE, **changes)
        [fault] = [fault async for portion in store.inspect() for fault in portion.faults]
        assert fault.aspect is aspect
        assert fault.where == (changes.get("id", NOTE.id) if aspect is Aspect.EVENT else NOTE.id)


@pytest.mark.parametrize("changes", [{"kind": "7"}, {"tags": []}, {"expires": 5}, {"pubkey": BOB.pubkey}])
async def test_it_is_written_anew_from_its_event(node: str, prefix: str, changes: dict[str, Any]) -> None:
    async with made(options_for(node, prefix)) as store:
        await store.save_many([NOTE, OTHER])
        await put_document(node, prefix, place_of(NOTE), NOTE, **changes)
        moved: list[inspection.Fault] = []
        done = await store.mend(lambda _json, fault: moved.append(fault))
        assert (done.written_anew, done.moved_out, done.left, moved) == (1, 0, 0, [])
        assert [portion.faults async for portion in store.inspect() if portion.faults] == []
        assert {event.id for event in await everything(store)} == {NOTE.id, OTHER.id}
        assert await store.count([Filter(tags=(("t", frozenset({"tea"})),))]) == 1


async def test_what_is_broken_or_has_no_place_is_moved_out(node: str, prefix: str) -> None:
    async with made(options_for(node, prefix)) as store:
        await store.save_many([NOTE, OTHER])
        await put_document(node, prefix, place_of(OTHER), NOTE)
        await put_document(node, prefix, place_of(NOTE), NOTE, event="{}")
        moved: dict[bytes, inspection.Aspect] = {}
        done = await store.mend(lambda json, fault: moved.update({json: fault.aspect}))
        assert (done.written_anew, done.moved_out) == (0, 2)
        assert moved == {b"{}": Aspect.EVENT, events.encode(NOTE): Aspect.TWICE}
        assert await everything(store) == []
        assert await store.save_many([NOTE, OTHER]) == [Saved.STORED] * 2


async def test_a_document_in_the_place_of_another_is_named(node: str, prefix: str) -> None:
    async with made(options_for(node, prefix)) as store:
        await store.save_many([NOTE])
        await put_document(node, prefix, place_of(OTHER), NOTE)
        [fault] = [fault async for portion in store.inspect() for fault in portion.faults]
        assert (fault.aspect, fault.where) == (Aspect.TWICE, NOTE.id)
