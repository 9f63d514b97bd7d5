"""Histories into an index that loses answers and is busy now and then: nothing shows of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.opensearch.cluster import Index, standing
from tests.opensearch.test_writing import relay_on
from tests.support.marks import examples
from tests.support.strategies import histories
from trio_relay import Event, MemoryStore, Saved
from trio_relay.store.opensearch.documents import slot_of

faults = st.lists(st.sampled_from([None, Index.LOST, 429, 503]), max_size=6)
cuts = st.lists(st.integers(1, 8), min_size=1, max_size=8)


@pytest.mark.slow
@given(histories(most=15), cuts, faults, faults, st.lists(st.sampled_from([429, 503]), max_size=3), st.booleans())
@settings(max_examples=examples(100))
def test_what_is_lost_or_busy_for_a_while_changes_no_outcome(
    history: list[Event],
    sizes: Sequence[int],
    writing: list[int | Exception | None],
    reading: list[int | Exception | None],
    single: list[int],
    is_refreshed: bool,
) -> None:
    async def main() -> None:
        index, twin = Index(), MemoryStore()
        index.is_refreshed = is_refreshed
        index.faults = {"_bulk": deque(writing), "_mget": deque(reading)}
        if history:
            index.item_faults = {slot_of(history[0]): deque(single)}
        async with relay_on(index) as relay:
            relay.bulk._seconds = relay.records._seconds = 1_000.0
            left = list(history)
            for size in [*sizes, len(left)]:
                batch, left = left[:size], left[size:]
                outcomes, expected = await relay.save(*batch), await twin.save_many(batch)
                for event, outcome, twins in zip(batch, outcomes, expected, strict=True):
                    # Of versions that came together the last one may be all that was ever written.
                    is_gone = twins in (Saved.STORED, Saved.DUPLICATE) and event.id not in twin._events
                    assert outcome is twins or (is_gone and outcome in (Saved.SUPERSEDED, Saved.DELETED))
                assert relay.known(*history) <= set(twin._events)
        assert index.events == standing(twin._events.values())
        recent = {state.event.id for layer in relay.overlay._layers for state in layer.states.values() if state.event}
        assert recent == set(twin._events)

    trio.run(main, clock=MockClock(autojump_threshold=0))
