"""The inverted index finds exactly the subscriptions that matching all of them one by one finds."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from tests.support import strategies
from tests.support.keys import ALICE, BOB, NOW
from tests.support.oracles import naive_match
from trio_relay import Event, Filter
from trio_relay.pipeline.subscription_index import SubscriptionIndex


@dataclass(frozen=True, eq=False)
class Wish:
    """A subscription, told apart by identity as the real ones are."""

    filters: tuple[Filter, ...]


class IndexBesideBruteForce(RuleBasedStateMachine):
    """Adds, replaces and removes subscriptions, and compares every match with the naive twin's."""

    open_ones = Bundle("open_ones")

    def __init__(self) -> None:
        super().__init__()
        self.index: SubscriptionIndex[Wish] = SubscriptionIndex()
        self.wishes: list[Wish] = []
        self.seen: list[Event] = []

    @rule(target=open_ones, data=st.data())
    def add(self, data: st.DataObject) -> Wish:
        return self.add_it(data)

    @rule(target=open_ones, data=st.data(), old=consumes(open_ones))
    def replace(self, data: st.DataObject, old: Wish) -> Wish:
        self.remove_it(old)
        return self.add_it(data)

    @rule(old=consumes(open_ones))
    def remove(self, old: Wish) -> None:
        self.remove_it(old)

    @rule(event=strategies.events())
    def match(self, event: Event) -> None:
        self.seen.append(event)
        wanted = [wish for wish in self.wishes if any(naive_match(filter_, event) for filter_ in wish.filters)]
        found = self.index.match(event)
        assert sorted(map(id, found)) == sorted(map(id, wanted))

    @invariant()
    def counts_all(self) -> None:
        assert len(self.index) == len(self.wishes)

    def teardown(self) -> None:
        for wish in self.wishes:
            self.index.remove(wish)
        assert self.index._buckets == {}, "what is gone must not take memory"

    def add_it(self, data: st.DataObject) -> Wish:
        wish = Wish(tuple(data.draw(st.lists(strategies.filters(self.seen), min_size=1, max_size=3))))
        self.index.add(wish)
        self.wishes.append(wish)
        return wish

    def remove_it(self, wish: Wish) -> None:
        self.index.remove(wish)
        self.wishes.remove(wish)


TestIndexBesideBruteForce = pytest.mark.slow(IndexBesideBruteForce.TestCase)
TestIndexBesideBruteForce.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)

EVENT = ALICE.event("hi", kind=7, tags=[["e", "e" * 64], ["t", "nostr", "second"], ["T", "Upper"], ["title", "long"]])
OTHER = BOB.event("other", kind=1)


@pytest.mark.parametrize(
    "one",
    [
        Filter(),
        Filter(ids=frozenset({EVENT.id, OTHER.id})),
        Filter(authors=frozenset({ALICE.pubkey, BOB.pubkey})),
        Filter(kinds=frozenset({7, 9})),
        Filter(tags=(("t", frozenset({"nostr", "other"})),)),
        Filter(tags=(("T", frozenset({"Upper"})),)),
        Filter(tags=(("t", frozenset({"nostr"})), ("e", frozenset({"e" * 64, "f" * 64})))),
        Filter(authors=frozenset({ALICE.pubkey}), tags=(("t", frozenset({"nostr", "other"})),)),
        Filter(authors=frozenset({ALICE.pubkey, BOB.pubkey}), tags=(("t", frozenset({"nostr"})),)),
        Filter(authors=frozenset({ALICE.pubkey}), kinds=frozenset({7}), since=NOW, until=NOW),
        Filter(kinds=frozenset({7}), limit=0),
    ],
)
def test_a_filter_finds_its_event_whatever_key_it_stands_under(one: Filter) -> None:
    index: SubscriptionIndex[Wish] = SubscriptionIndex()
    wish = Wish((one,))
    index.add(wish)
    assert index.match(EVENT) == [wish]
    index.remove(wish)
    assert index.match(EVENT) == []


@pytest.mark.parametrize(
    "one",
    [
        Filter(ids=frozenset()),
        Filter(authors=frozenset()),
        Filter(kinds=frozenset()),
        Filter(tags=(("t", frozenset()),)),
        Filter(since=2, until=1),
        Filter(kinds=frozenset({8})),
        Filter(tags=(("t", frozenset({"second"})),)),
        Filter(tags=(("t", frozenset({"Upper"})),)),
        Filter(since=NOW + 1),
        Filter(until=NOW - 1),
        Filter(ids=frozenset({EVENT.pubkey})),
        Filter(authors=frozenset({EVENT.id})),
    ],
)
def test_a_filter_does_not_find_what_it_did_not_ask_for(one: Filter) -> None:
    index: SubscriptionIndex[Wish] = SubscriptionIndex()
    wish = Wish((one,))
    index.add(wish)
    assert index.match(EVENT) == []
    assert len(index) == 1
    index.remove(wish)
    assert len(index) == 0


def test_a_subscription_is_found_once_however_many_of_its_filters_match() -> None:
    index: SubscriptionIndex[Wish] = SubscriptionIndex()
    wish = Wish((Filter(), Filter(kinds=frozenset({7})), Filter(kinds=frozenset({7, 1})), Filter(ids=frozenset())))
    index.add(wish)
    assert index.match(EVENT) == [wish]
    index.remove(wish)
    assert index.match(EVENT) == []


def test_a_tag_that_is_repeated_a_thousand_times_is_looked_at_once() -> None:
    """Else one event could ask for a thousand times as much work as it should."""
    index: SubscriptionIndex[Wish] = SubscriptionIndex()
    nobody = Filter(tags=(("t", frozenset({"a"})), ("e", frozenset({"e" * 64, "f" * 64}))))
    index.add(Wish((nobody,)))
    event = ALICE.event(tags=[["t", "a"], ["t", "a", "more"]] * 1_000)
    assert len(index._buckets_of(event)) == 1
    assert index.match(event) == []


def test_only_buckets_that_exist_are_looked_at_each_once() -> None:
    index: SubscriptionIndex[Wish] = SubscriptionIndex()
    wishes = [Wish((one,)) for one in (Filter(), Filter(kinds=frozenset({7})), Filter(ids=frozenset({EVENT.id})))]
    for wish in wishes:
        index.add(wish)
    assert [list(bucket) for bucket in index._buckets_of(EVENT)] == [[wishes[2]], [wishes[1]], [wishes[0]]]
    assert [list(bucket) for bucket in index._buckets_of(OTHER)] == [[wishes[0]]]


def test_a_tag_without_a_value_or_a_name_is_in_nobodys_way() -> None:
    index: SubscriptionIndex[Wish] = SubscriptionIndex()
    wish = Wish((Filter(tags=(("t", frozenset({"a"})),)),))
    index.add(wish)
    assert index.match(ALICE.event(tags=[[], ["t"], ["t", "a"]])) == [wish]
    assert index.match(ALICE.event(tags=[[], ["t"], ["a"]])) == []


def test_an_event_with_a_repeated_tag_is_delivered_once() -> None:
    index: SubscriptionIndex[Wish] = SubscriptionIndex()
    wish = Wish((Filter(tags=(("t", frozenset({"a", "b"})),)),))
    index.add(wish)
    assert index.match(ALICE.event(tags=[["t", "a"], ["t", "b"], ["t", "a"]])) == [wish]
