"""`queryarchive`: operators read what has gone, and nobody else does."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.contract.test_archive import BY_ID, LOST, NOTE, ON, ONE, THREE, TWO, Clock
from tests.support.backends import Backend
from tests.support.keys import ALICE, NOW
from tests.support.operators import managed, operator
from trio_relay import MemoryStore
from trio_relay.nostr import event as nostr_event

ALL: list[object] = [{}]


def as_json(event: nostr_event.Event) -> Any:
    return msgspec.json.decode(nostr_event.encode(event))


def told(event: nostr_event.Event, reason: str, by: nostr_event.Event | None) -> dict[str, Any]:
    return {"event": as_json(event), "reason": reason, "at": NOW + 1_000, "by": None if by is None else by.id}


async def test_operators_are_told_what_has_gone_and_why(backend: Backend) -> None:
    async with backend.open(ON, Clock()) as store, managed(store) as door, operator(door) as admin:
        for event in (ONE, TWO, THREE, NOTE, BY_ID, LOST):
            await store.save_many([event])
        await store.sweep()
        everything = [
            told(LOST, "expired", None),
            told(NOTE, "deleted", BY_ID),
            told(TWO, "replaced", THREE),
            told(ONE, "replaced", TWO),
        ]
        assert await admin.call("queryarchive", {}) == everything
        assert await admin.call("queryarchive", {}, 2) == everything[:2]
        assert await admin.call("queryarchive", {"limit": 1}, 2) == everything[:1]
        assert await admin.call("queryarchive", {"kinds": [0], "authors": [ALICE.pubkey]}) == everything[2:]


async def test_the_answer_is_bounded(backend: Backend) -> None:
    async with backend.open(ON, Clock()) as store, managed(store) as door, operator(door) as admin:
        large = [ALICE.event("x" * 900_000, kind=0, created_at=NOW + at) for at in range(4)]
        await store.save_many(large)
        assert [one["event"] for one in await admin.call("queryarchive", {})] == [as_json(large[2]), as_json(large[1])]
        small = [ALICE.event(str(at), kind=10_002, created_at=NOW + at) for at in range(120)]
        await store.save_many(small)
        assert len(await admin.call("queryarchive", {"kinds": [10_002]})) == 100
        assert len(await admin.call("queryarchive", {"kinds": [10_002]}, 110)) == 110


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ([], "invalid: parameter 1 of queryarchive must be a filter"),
        ([[{}]], "invalid: parameter 1 of queryarchive must be a filter"),
        ([{"kind": 1}], "unsupported: filter key 'kind' is not known here"),
        ([{}, 0], "invalid: parameter 2 of queryarchive must be a limit, an integer from 1 to 500"),
        ([{}, 501], "invalid: parameter 2 of queryarchive must be a limit, an integer from 1 to 500"),
        ([{}, 1, 1], "invalid: queryarchive takes 2 parameters at most"),
    ],
)
async def test_what_cannot_be_read_is_refused(params: list[object], error: str) -> None:
    async with managed(MemoryStore()) as door, operator(door) as admin:
        assert await admin.refusal("queryarchive", *params) == error


async def test_who_is_no_operator_is_told_nothing() -> None:
    async with managed(MemoryStore()) as door, operator(door, ALICE) as stranger:
        assert (await stranger.ask("queryarchive", {})).status == 403
