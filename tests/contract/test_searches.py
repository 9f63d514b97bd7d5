"""Random searches on random events: a store finds and counts what the naive twin does."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.backends import Backend, ask, everything
from tests.support.marks import examples
from tests.support.oracles import naive_match, naive_query
from tests.support.strategies import searches, spoken
from trio_relay import Event, Filter

pytestmark = pytest.mark.slow


@st.composite
def questions(draw: st.DrawFn) -> tuple[list[Event], list[list[Filter]]]:
    """Events and several REQs about them."""
    known = draw(st.lists(spoken(), max_size=20))
    return known, draw(st.lists(st.lists(searches(known), min_size=1, max_size=3), min_size=1, max_size=6))


def matching(filter_: Filter, kept: list[Event]) -> list[Event]:
    return [event for event in kept if naive_match(filter_, event, kept)]


def test_any_searches_find_and_count_what_the_naive_twin_does(backend: Backend) -> None:
    @settings(max_examples=examples(backend.examples))
    @given(questions())
    def check(drawn: tuple[list[Event], list[list[Filter]]]) -> None:
        known, asked = drawn

        async def main() -> None:
            async with backend.open() as store:
                await store.save_many(known)
                kept = await everything(store)
                for request in asked:
                    for one in request:
                        check_answer(one, await ask(store, one), kept)
                    each = [await ask(store, one) for one in request]
                    found = await ask(store, *request)
                    if any(one.search for one in request):
                        assert found == in_turn(each)
                    else:
                        assert found == naive_query(request, kept)
                    wanted = {event.id for one in request for event in matching(one, kept)}
                    assert await store.count(request) == len(wanted)

        trio.run(main)

    check()


def check_answer(filter_: Filter, found: list[Event], kept: list[Event]) -> None:
    """As many as there are up to the limit, each once; without words the newest, in their order."""
    wanted = matching(filter_, kept)
    assert len(found) == min(len(wanted), filter_.limit or 0)
    assert len({event.id for event in found}) == len(found)
    assert all(event in wanted for event in found)
    if filter_.search is None or not filter_.search.phrases:
        newest_first = sorted(wanted, key=lambda event: (-event.created_at, event.id))
        assert found == newest_first[: filter_.limit]


def in_turn(answers: list[list[Event]]) -> list[Event]:
    """One answer after the other, each event where it comes first."""
    return list({event.id: event for answer in answers for event in answer}.values())
