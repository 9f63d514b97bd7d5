"""What a store answers at once is what it would answer to who waits, and never older than the last save."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.test_query import ALL, ONE_FILTER, UNIONS
from tests.support.backends import Backend, ask_at_once, everything
from tests.support.keys import ALICE, NOW, made_up
from tests.support.marks import examples
from tests.support.oracles import NaiveStore, naive_query
from tests.support.strategies import filters, histories, wide_filters
from trio_relay import Event, Filter, Saved, Store

OLD, NEW = (ALICE.event(kind=0, created_at=NOW + age, tags=[["t", "x"]]) for age in range(2))
NOTE = ALICE.event("note", tags=[["t", "x"]])
REQUEST = ALICE.event(kind=5, tags=[["e", NOTE.id]])
BY_TAG = Filter(tags=(("t", frozenset("x")),))
BY_ID = Filter(ids=frozenset([NOTE.id]))


@pytest.mark.parametrize(("one", "expected"), ONE_FILTER.values(), ids=ONE_FILTER)
async def test_a_filter_finds_the_same_at_once(store: Store, one: Filter, expected: list[Event]) -> None:
    await store.save_many(ALL)
    assert ask_at_once(store, one) in (expected, None)


@pytest.mark.parametrize(("asked", "expected"), UNIONS.values(), ids=UNIONS)
async def test_several_filters_find_the_same_at_once(store: Store, asked: list[Filter], expected: list[Event]) -> None:
    await store.save_many(ALL)
    assert ask_at_once(store, *asked) in (expected, None)


@pytest.mark.parametrize(
    "hopeless", [[], [Filter(limit=0)], [Filter(ids=frozenset()), Filter(since=2, until=1)]], ids=["none", "0", "empty"]
)
async def test_what_can_find_nothing_is_answered_at_once(store: Store, hopeless: list[Filter]) -> None:
    await store.save_many(ALL)
    assert ask_at_once(store, *hopeless) == []


async def test_known_ids_are_told_from_others_at_once(store: Store) -> None:
    one, two, other = (ALICE.event(text) for text in "abc")
    await store.save_many([one, two])
    assert store.known_nowait([]) == set()
    assert store.known_nowait([one.id]) == {one.id}
    assert store.known_nowait([other.id]) == set()
    assert store.known_nowait([one.id, other.id, two.id, one.id]) == {one.id, two.id}


@pytest.mark.slow
def test_any_filters_find_at_once_what_the_naive_query_finds(backend: Backend) -> None:
    @settings(max_examples=examples(backend.examples // 2))
    @given(st.data(), histories(15))
    def check(data: st.DataObject, history: list[Event]) -> None:
        one = filters(history) | wide_filters(history)
        asked = data.draw(st.lists(st.lists(one, min_size=1, max_size=3), min_size=1, max_size=4))
        cut = data.draw(st.integers(0, len(history)))
        twin = NaiveStore()

        async def main() -> None:
            async with backend.open() as store:
                for batch in (history[:cut], history[cut:]):
                    await store.save_many(batch)
                    for event in batch:
                        twin.save(event)
                    for request in asked:
                        assert ask_at_once(store, *request) in (naive_query(request, twin.standing), None)
                    standing = {event.id for event in twin.standing}
                    assert store.known_nowait([event.id for event in history]) == standing
                    assert [store.known_nowait([event.id]) for event in history] == [
                        standing & {event.id} for event in history
                    ]

        trio.run(main)

    check()


async def test_what_is_saved_is_told_at_once(store: Store) -> None:
    """Asked before each save too: what was answered then must not be answered again."""
    for number in range(20):
        event = ALICE.event(str(number), tags=[["t", str(number)]])
        asked = Filter(tags=(("t", frozenset([str(number)])),))
        assert store.known_nowait([event.id]) == set()
        assert ask_at_once(store, asked) in ([], None)
        assert await store.save_many([event]) == [Saved.STORED]
        assert store.known_nowait([event.id]) == {event.id}
        assert ask_at_once(store, asked) in ([event], None)


async def test_what_is_replaced_or_deleted_is_gone_at_once(store: Store) -> None:
    steps = [
        ([OLD, NOTE], [NOTE, OLD] if NOTE.id < OLD.id else [OLD, NOTE], {NOTE.id}),
        ([NEW], [NEW, NOTE], {NOTE.id}),
        ([REQUEST], [NEW], set()),
        ([NOTE, OLD], [NEW], set()),
    ]
    for batch, left, known in steps:
        await store.save_many(batch)
        assert ask_at_once(store, BY_TAG) in (left, None)
        assert store.known_nowait([NOTE.id]) == known
        assert ask_at_once(store, BY_ID) in ([event for event in left if event.id in known], None)


@pytest.mark.parametrize("probe_first", [True, False])
async def test_a_probe_beside_a_save_hides_nothing_of_it(store: Store, probe_first: bool) -> None:
    """The end of the one must not keep alive what was seen before the end of the other."""
    events = [ALICE.event(str(number)) for number in range(20)]

    async def save(event: Event) -> None:
        await store.save_many([event])
        assert store.known_nowait([event.id]) == {event.id}
        assert ask_at_once(store, Filter(ids=frozenset([event.id]))) in ([event], None)

    async def probe(event: Event) -> None:
        await store.probe()
        store.known_nowait([event.id])

    for event in events:
        assert store.known_nowait([event.id]) == set()
        async with trio.open_nursery() as nursery:
            for work in (probe, save) if probe_first else (save, probe):
                nursery.start_soon(work, event)
                await trio.lowlevel.checkpoint()
                store.known_nowait([event.id])
        assert store.known_nowait([event.id]) == {event.id}
    assert await everything(store) == events


async def test_what_is_seen_at_once_while_saves_go_on_is_never_older_than_the_last(store: Store) -> None:
    """A save may be seen before it returns, whole, and is from then on."""
    batches = [[made_up(f"{number} {index}") for index in range(3)] for number in range(21)]
    everyone = [event.id for batch in batches for event in batch]
    saved: set[str] = set()
    seen: list[set[str]] = [set()]
    asked = 0

    async def look() -> None:
        nonlocal asked
        while len(saved) < len(everyone):
            known = store.known_nowait(everyone)
            assert known is not None
            assert known >= saved | seen[-1]
            assert len(known) % 3 == 0
            seen.append(known)
            asked += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        for batch in batches:
            await store.save_many(batch)
            saved |= {event.id for event in batch}
    assert asked > 10
    assert store.known_nowait(everyone) == set(everyone)
