"""Looking for what is wrong: nothing is found in what a store has made itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from hypothesis import given, settings

from tests.support.backends import Backend
from tests.support.keys import ALICE, BOB, NOW
from tests.support.marks import examples
from tests.support.strategies import histories
from trio_relay import Event, Store
from trio_relay.store import inspection

REAL = [
    ALICE.event("words", created_at=NOW, tags=[["t", "tea"], ["expiration", str(NOW * 2)]]),
    BOB.event('{"nip05":"bob@relay.example"}', kind=0, created_at=NOW),
    BOB.event("", kind=5, created_at=NOW + 1, tags=[["e", "e" * 64]]),
]


async def found(store: Store, verify: inspection.Verify | None = None) -> tuple[int, list[inspection.Fault]]:
    portions = [portion async for portion in store.inspect(verify)]
    return sum(one.events for one in portions), [fault for one in portions for fault in one.faults]


@pytest.mark.slow
def test_nothing_is_wrong_with_any_history_but_ids_that_were_made_up(backend: Backend) -> None:
    @settings(max_examples=examples(backend.examples // 5 + 1))
    @given(histories())
    def check(history: Sequence[Event]) -> None:
        async def main() -> None:
            async with backend.open() as store:
                for start in range(0, len(history), 7):
                    await store.save_many(history[start : start + 7])
                _, faults = await found(store)
                assert {fault.aspect for fault in faults} <= {inspection.Aspect.EVENT}

        trio.run(main)

    check()


async def test_all_is_looked_at_and_signatures_where_somebody_verifies(store: Store) -> None:
    await store.save_many(REAL)
    assert await found(store) == (3, [])
    number, [fault] = await found(store, lambda events: [event.kind != 0 for event in events])
    assert (number, fault.aspect, fault.where) == (3, inspection.Aspect.EVENT, REAL[1].id)
    assert str(fault) == f"event: {REAL[1].id}: its signature is wrong"
