"""Random histories and random filters: a store says and answers what the naive twins say and answer."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.backends import Backend, ask, everything
from tests.support.marks import examples
from tests.support.oracles import NaiveStore, naive_query
from tests.support.strategies import filters, histories, wide_filters
from trio_relay import Event, Filter

pytestmark = pytest.mark.slow


@st.composite
def batches(draw: st.DrawFn) -> list[list[Event]]:
    """A history, cut anywhere."""
    history = draw(histories())
    cuts = sorted(draw(st.lists(st.integers(0, len(history)), max_size=6)))
    return [history[start:end] for start, end in zip([0, *cuts], [*cuts, len(history)], strict=True)]


@st.composite
def questions(draw: st.DrawFn) -> tuple[list[Event], list[list[Filter]]]:
    """A history and several REQs about it."""
    history = draw(histories(20))
    one = filters(history) | wide_filters(history)
    return history, draw(st.lists(st.lists(one, min_size=1, max_size=3), min_size=1, max_size=6))


def test_any_history_in_any_batches_ends_as_the_naive_store_says(backend: Backend) -> None:
    @settings(max_examples=examples(backend.examples))
    @given(batches())
    def check(history: list[list[Event]]) -> None:
        twin = NaiveStore()

        async def main() -> None:
            async with backend.open() as store:
                for batch in history:
                    outcomes = [outcome.name.lower() for outcome in await store.save_many(batch)]
                    assert outcomes == [twin.save(event) for event in batch]
                    assert await everything(store) == twin.standing
                ids = {event.id for batch in history for event in batch}
                assert await store.known(sorted(ids)) == {event.id for event in twin.standing}

        trio.run(main)

    check()


def test_any_filters_find_what_the_naive_query_finds(backend: Backend) -> None:
    @settings(max_examples=examples(backend.examples))
    @given(questions())
    def check(drawn: tuple[list[Event], list[list[Filter]]]) -> None:
        history, asked = drawn

        async def main() -> None:
            async with backend.open() as store:
                await store.save_many(history)
                kept = await everything(store)
                for request in asked:
                    assert await ask(store, *request) == naive_query(request, kept)

        trio.run(main)

    check()
