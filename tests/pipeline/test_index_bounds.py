"""What the index of subscriptions may cost: work for each event, and memory for each value, whatever filters ask."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.support.keys import ALICE, NOW
from trio_relay import Filter
from trio_relay.nostr import search
from trio_relay.pipeline import subscription_index

HERE, THERE = "192.0.2.1", "192.0.2.2"
EVENT = ALICE.event("hi", kind=1, tags=[["t", "tea"], ["e", "e" * 64]])
OF_ONE = "error: too many different filters ask for the same author, tag or kind: at most 300 of one address may"
OF_ALL = "error: too many different filters ask for the same author, tag or kind: at most 10000 of all clients may"


@dataclass(frozen=True, eq=False)
class Wish:
    filters: tuple[Filter, ...]
    origin: str | None = None


def empty() -> subscription_index.SubscriptionIndex[Wish]:
    return subscription_index.SubscriptionIndex()


SHAPES: dict[str, Callable[[int], Filter]] = {
    "times alone": lambda number: Filter(until=number),
    "one kind": lambda number: Filter(kinds=frozenset({1}), until=number),
    "one kind among others": lambda number: Filter(kinds=frozenset({1, 2 + number}), since=NOW + 1),
    "one author": lambda number: Filter(authors=frozenset({ALICE.pubkey}), kinds=frozenset({2 + number})),
    "one tag": lambda number: Filter(tags=(("t", frozenset({"tea"})),), until=number),
    "one tag among others": lambda number: Filter(tags=(("e", frozenset({"e" * 64, f"{number:064x}"})),), until=number),
    "one id": lambda number: Filter(ids=frozenset({EVENT.id}), until=number),
}


@pytest.mark.parametrize("make", SHAPES.values(), ids=SHAPES)
def test_an_event_is_compared_with_so_many_different_filters_of_one_address(
    make: Callable[[int], Filter], asked: list[Filter]
) -> None:
    """Of 6,000, as 300 subscriptions of 20 filters have them."""
    index = empty()
    refused = [str(index.add(Wish((make(number),), HERE))) for number in range(6_000)]
    assert refused == ["None"] * 300 + [OF_ONE] * 5_700
    assert index.match(EVENT) == []
    assert len(asked) == len(index) == 300


def test_an_address_that_has_too_many_is_in_nobodys_way() -> None:
    index = empty()
    crowd = [Wish((Filter(until=number),), HERE) for number in range(300)]
    for wish in crowd:
        index.add(wish)
    other, hers = Wish((Filter(since=1),), THERE), Wish((Filter(since=1),), HERE)
    assert index.add(other) is None
    assert index.add(hers) is None, "it is compared anyway"
    assert str(index.add(Wish((Filter(since=2),), HERE))) == OF_ONE
    assert index.match(EVENT) == [other, hers]
    index.remove(crowd[7])
    assert index.add(Wish((Filter(since=2),), HERE)) is None


def test_a_request_with_one_filter_too_many_leaves_nothing_behind() -> None:
    index = empty()
    wish = Wish((Filter(authors=frozenset({"a" * 64})), *(Filter(until=number) for number in range(301))), HERE)
    assert str(index.add(wish)) == OF_ONE
    assert (len(index), index.keys) == (0, 0)
    assert index.add(Wish(wish.filters[:301], HERE)) is None


@pytest.mark.slow
def test_whoever_has_no_address_counts_in_all_alone(asked: list[Filter]) -> None:
    """Also under several keys, of which each has a bound."""
    index = empty()
    for number in range(10_000):
        assert index.add(Wish((Filter(until=number),))) is None
    assert str(index.add(Wish((Filter(until=10_000),)))) == OF_ALL
    assert str(index.add(Wish((Filter(until=10_000),), HERE))) == OF_ALL
    assert index.add(Wish((Filter(kinds=frozenset({1})),))) is None
    index.match(EVENT)
    assert len(asked) == 10_001


def test_equal_filters_are_compared_once_for_all_who_have_them(asked: list[Filter]) -> None:
    index = empty()
    wishes = [
        Wish((Filter(kinds=frozenset({1}), since=5, limit=number, is_clamped=number > 5),), HERE)
        for number in range(1_000)
    ]
    for wish in wishes:
        assert index.add(wish) is None
    assert index.match(EVENT) == wishes
    assert len(asked) == 1
    for wish in wishes[1:]:
        index.remove(wish)
    assert index.match(EVENT) == wishes[:1]
    index.remove(wishes[0])
    assert index.keys == 0


def test_equal_filters_of_one_request_are_one() -> None:
    index = empty()
    wish = Wish((Filter(until=1), Filter(until=1, limit=3), Filter(until=1)))
    index.add(wish)
    index.remove(wish)
    assert (len(index), index.keys, index.match(EVENT)) == (0, 0, [])


def test_a_filter_that_an_event_meets_under_a_thousand_keys_is_compared_once(asked: list[Filter]) -> None:
    index = empty()
    values = [str(number) for number in range(1_000)]
    for _ in range(3):
        index.add(Wish((Filter(tags=(("t", frozenset(values)),), until=1),)))
    assert index.match(ALICE.event(tags=[["t", value] for value in values])) == []
    assert len(asked) == 3


@pytest.mark.parametrize(
    "one",
    [
        Filter(since=NOW + 1, until=NOW),
        Filter(kinds=frozenset({1}), until=NOW - 101),
        Filter(kinds=frozenset()),
        Filter(search=search.parse_search("domain:example.com")),
        Filter(search=search.parse_search("🤙")),
    ],
)
def test_what_no_event_can_match_any_more_is_in_no_index(one: Filter) -> None:
    index = empty()
    index.add(Wish((one,)), oldest=NOW - 100)
    assert (len(index), index.keys) == (1, 0)


def test_an_event_from_long_ago_is_found_where_such_events_are_taken() -> None:
    index = empty()
    wish = Wish((Filter(until=NOW - 100),))
    index.add(wish, oldest=NOW - 100)
    assert index.match(ALICE.event(created_at=NOW - 100)) == [wish]
    assert index.match(ALICE.event(created_at=NOW - 99)) == []


@pytest.mark.slow
@pytest.mark.parametrize("alike", [1, 2, 17, 22])
def test_a_place_in_the_index_takes_few_bytes(alike: int) -> None:
    """Of each value, whether one filter asks for it, or some do; texts and sets are the filter's own."""
    values = [frozenset(f"{number:064x}" for number in range(first, first + 1_500)) for first in (0, 1_500)]
    wishes = [Wish((Filter(authors=some, kinds=frozenset({kind})),)) for some in values for kind in range(alike)]
    index = empty()
    tracemalloc.start()
    for wish in wishes:
        index.add(wish)
    gc.collect()  # Python keeps some thousand tuples for the next who needs one
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert index.keys == 3_000
    assert held / (3_000 * alike) <= 60
