"""The store as such: what is saved is there at once, in order of arrival, in pages, and known by its id."""

from __future__ import annotations

from contextlib import aclosing
from functools import cache

import trio

from tests.support.backends import ask, everything, lines
from tests.support.keys import ALICE, NOW, made_up
from trio_relay import Filter
from trio_relay.nostr.event import Event, encode
from trio_relay.store.base import Saved, Store, id_of

MANY = 2_300


@cache
def many() -> list[Event]:
    """Thousands of events, the newest first."""
    return [made_up(created_at=at) for at in range(NOW + MANY, NOW, -1)]


async def test_what_is_saved_is_found_at_once(store: Store) -> None:
    for number in range(20):
        event = ALICE.event(str(number), tags=[["t", str(number)]])
        assert await store.save_many([event]) == [Saved.STORED]
        assert await ask(store, Filter(ids=frozenset([event.id]))) == [event]
        assert await ask(store, Filter(tags=(("t", frozenset([str(number)])),))) == [event]
        assert await store.known([event.id]) == {event.id}


async def test_what_is_removed_is_gone_at_once(store: Store) -> None:
    for number in range(20):
        event = ALICE.event(str(number), kind=1, tags=[["t", "x"]])
        await store.save_many([event])
        await store.save_many([ALICE.event(kind=5, tags=[["e", event.id]])])
        assert await ask(store, Filter(kinds=frozenset([1])), Filter(tags=(("t", frozenset(["x"])),))) == []
        assert await store.known([event.id]) == set()


async def test_known_tells_stored_ids_from_others(store: Store) -> None:
    one, two, other = (ALICE.event(text) for text in "abc")
    await store.save_many([one, two])
    assert await store.known([]) == set()
    assert await store.known([other.id]) == set()
    assert await store.known([one.id, other.id, two.id, one.id]) == {one.id, two.id}


async def test_an_answer_of_thousands_comes_whole_and_in_order(store: Store) -> None:
    await store.save_many(many()[::-1])
    assert await ask(store, Filter()) == many()
    assert await ask(store, Filter(limit=1_234)) == many()[:1_234]
    assert await ask(store, Filter(limit=700), Filter(until=NOW + 900)) == many()[:700] + many()[-900:]
    assert await store.known([event.id for event in many()]) == {event.id for event in many()}


async def test_events_are_found_in_any_order_in_which_they_came(store: Store) -> None:
    shuffled = sorted(many()[:600], key=lambda event: event.id)
    await store.save_many(shuffled)
    assert await ask(store, Filter()) == many()[:600]


async def test_a_scan_gives_everything_in_the_order_in_which_it_came(store: Store) -> None:
    for start in range(0, MANY, 500):
        await store.save_many(many()[start : start + 500])
    assert await everything(store) == many()


async def test_a_scan_leaves_out_what_is_gone(store: Store) -> None:
    await store.save_many(many()[:1_500])
    tags = [["e", event.id] for event in many()[:1_500] if event.created_at % 3]
    request = Event("d" * 64, many()[0].pubkey, NOW, 5, tags, "", "5" * 128)
    await store.save_many([request])
    assert await everything(store) == [*(event for event in many()[:1_500] if event.created_at % 3 == 0), request]


async def test_a_scan_of_an_empty_store_ends(store: Store) -> None:
    assert await everything(store) == []


async def test_an_id_stands_where_id_slice_says(store: Store) -> None:
    event = ALICE.event("hello")
    await store.save_many([event])
    async with aclosing(store.query([Filter(limit=1)])) as pages:
        (line,) = lines([page async for page in pages])
    assert id_of(line).decode() == event.id


async def test_a_query_that_nobody_reads_on_holds_nothing_up(store: Store) -> None:
    """More of them than a backend may have connections."""
    await store.save_many(many())
    begun = [store.query([Filter(limit=MANY)]) for _ in range(10)]
    first = [await anext(pages) for pages in begun]
    event = ALICE.event("new", created_at=NOW + MANY + 1)
    assert await store.save_many([event]) == [Saved.STORED]
    assert await ask(store, Filter(limit=1)) == [event]
    for pages, page in zip(begun, first, strict=True):
        assert page[0] == encode(many()[0])
        await pages.aclose()


async def test_many_tasks_may_ask_while_one_saves(store: Store) -> None:
    answers: list[list[Event]] = []

    async def reader() -> None:
        answers.extend([await ask(store, Filter()) for _ in range(5)])

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(reader)
        for start in range(0, 400, 20):
            await store.save_many(many()[start : start + 20])

    assert len(answers) == 40
    # Each answer is a state between two batches, whole ones only.
    assert [answer for answer in answers if len(answer) % 20 or answer != many()[: len(answer)]] == []
    assert await ask(store, Filter()) == many()[:400]


async def test_a_save_that_is_cancelled_before_it_begins_does_nothing(store: Store) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.save_many(many()[:50])
    assert scope.cancelled_caught
    assert await everything(store) == []


async def test_a_save_that_is_cancelled_at_work_happens_whole_or_not_at_all(store: Store) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.save_many, many()[:50])
        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    left = await everything(store)
    assert left in ([], many()[:50])
    again = Saved.DUPLICATE if left else Saved.STORED
    assert await store.save_many(many()[:50]) == [again] * 50


async def test_a_probe_leaves_nothing_behind(store: Store) -> None:
    event = ALICE.event()
    await store.save_many([event])
    await store.probe()
    await store.probe()
    assert await everything(store) == [event]


async def test_a_store_describes_itself_in_one_line(store: Store) -> None:
    statistics = store.statistics()
    assert store.description.startswith(statistics.backend)
    assert "\n" not in store.description
    assert min(statistics.disk_bytes, statistics.wal_bytes) >= 0
