"""The cache of events by itself: what it keeps, what it lets go first, and how much memory that takes."""

from __future__ import annotations

import tracemalloc
from sys import getsizeof
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_relay.store.sqlite.event_cache import ENTRY_BYTES, EventCache

JSON = b"x" * 100
COST = ENTRY_BYTES + getsizeof("1") + getsizeof(JSON)
"""Of an event under a number of one digit."""


def filled(events: int, most: int) -> EventCache:
    """A cache with room for `most` events that got so many, numbered from 0."""
    cache = EventCache(most * COST)
    for number in range(events):
        cache.put([(str(number), JSON)])
    return cache


def there(cache: EventCache, numbers: range) -> list[int]:
    """Which of these it has; asking makes them young."""
    return [number for number in numbers if cache.some_of([str(number)])]


def test_what_was_put_in_is_there_in_the_order_asked_for() -> None:
    cache = EventCache(10_000)
    cache.put([("7", b"seven"), ("8", b"eight")])
    assert cache.all_of(["8", "7", "8"]) == [b"eight", b"seven", b"eight"]
    assert cache.all_of(["8", "9"]) is None
    assert cache.some_of(["8", "9"]) == {"8": b"eight"}
    found = cache.statistics()
    assert (found.events, found.hits, found.misses) == (2, 4, 1)


def test_the_oldest_go_first() -> None:
    assert there(filled(9, most=6), range(9)) == [3, 4, 5, 6, 7, 8]


def test_what_was_asked_for_since_it_was_due_stays() -> None:
    cache = filled(6, most=5)  # 0 has left, and 1 to 4 are due
    assert cache.some_of(["1", "3"]) == {"1": JSON, "3": JSON}
    for number in (6, 7):
        cache.put([(str(number), JSON)])
    assert there(cache, range(8)) == [1, 3, 5, 6, 7]


def test_putting_in_what_is_there_costs_nothing() -> None:
    cache = filled(6, most=5)
    before = cache.statistics()
    cache.put([(str(number), JSON) for number in (1, 3, 5)])
    assert cache.statistics() == before


def test_an_event_larger_than_the_room_is_not_kept() -> None:
    cache = EventCache(1_000)
    cache.put([("1", b"x" * 1_000)])
    assert (cache.statistics().events, cache.statistics().bytes) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=60), st.integers(0, 5))
def test_it_never_holds_more_than_it_may_and_counts_exactly(steps: list[tuple[int, bool]], room: int) -> None:
    cache = EventCache(room * COST)
    for number, asks in steps:
        if asks:
            assert cache.some_of([str(number)]) in ({}, {str(number): JSON})
        else:
            cache.put([(str(number), JSON)])
        held = cache.statistics()
        assert held.bytes == held.events * COST <= room * COST
    held = cache.statistics()
    assert len(there(cache, range(10))) == held.events


@pytest.mark.parametrize("most", [1_000_000, 1_500_000, 2_200_000])
def test_what_it_counts_is_no_less_than_the_memory_that_it_takes(most: int) -> None:
    """Of the smallest events that there are, for which the tables count most, at every moment."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        cache = EventCache(most)
        for number in range(10_000):
            cache.put([(str(10**9 + number), b"%0300d" % number)])
            if number % 100 == 0:
                assert tracemalloc.get_traced_memory()[0] - before < max(cache.statistics().bytes, 10_000) + 2_000
        assert cache.statistics().bytes > 0.95 * most
    finally:
        tracemalloc.stop()


def test_threads_that_use_it_at_once_find_what_is_true_and_leave_its_counts_right() -> None:
    cache = EventCache(50 * COST)
    wrong: list[str] = []

    def use(first: int) -> None:
        for turn in range(1_000):
            number = str((first + turn * 7) % 100)
            if cache.some_of([number]) not in ({}, {number: number.encode() * 50}):
                wrong.append(number)
            cache.put([(number, number.encode() * 50)])

    threads = [Thread(target=use, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    held = cache.statistics()
    found = cache.some_of([str(number) for number in range(100)])
    assert len(found) == held.events
    assert held.bytes == sum(ENTRY_BYTES + getsizeof(number) + getsizeof(json) for number, json in found.items())
