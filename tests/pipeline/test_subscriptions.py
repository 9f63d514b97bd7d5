"""The inverted index finds exactly the subscriptions that matching all of them one by one finds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from msgspec.structs import replace

from tests.support import strategies
from tests.support.keys import ALICE, BOB, NOW
from tests.support.oracles import naive_match
from trio_relay import Event, Filter
from trio_relay.nostr.search import parse_search
from trio_relay.pipeline.subscription_index import SubscriptionIndex


@dataclass(frozen=True, eq=False)
class Wish:
    """A subscription, told apart by identity as the real ones are."""

    filters: tuple[Filter, ...]
    origin: str | None = None


CROWD = [f"{number:064x}" for number in range(1_200)]
"""More authors than are entered in one piece."""
wishes = st.builds(
    Wish,
    st.lists(
        strategies.filters([])
        | strategies.filters([]).map(lambda one: replace(one, authors=(one.authors or frozenset()) | {*CROWD}, tags=()))
        | st.builds(
            Filter, until=st.none() | strategies.times, search=st.sampled_from(["hi", "domain:a.org"]).map(parse_search)
        )
        | st.builds(Filter, since=st.none() | strategies.times, until=st.none() | strategies.times),
        min_size=1,
        max_size=3,
    ).map(tuple),
    st.sampled_from([None, "192.0.2.1"]),
)


class IndexBesideBruteForce(RuleBasedStateMachine):
    """Adds and removes subscriptions, at once and piece by piece, and compares every match with the naive twin's."""

    open_ones = Bundle("open_ones")

    def __init__(self) -> None:
        super().__init__()
        self.index: SubscriptionIndex[Wish] = SubscriptionIndex()
        self.whole: list[Wish] = []
        self.begun: dict[Wish, Iterator[None]] = {}
        self.leaving: list[Iterator[None]] = []

    @rule(target=open_ones, wish=wishes)
    def add(self, wish: Wish) -> Wish:
        assert self.index.add(wish) is None
        self.whole.append(wish)
        return wish

    @rule(target=open_ones, wish=wishes)
    def begin(self, wish: Wish) -> Wish:
        self.begun[wish] = self.index.adding(wish)
        self.go_on(wish)
        return wish

    @rule(author=st.sampled_from(strategies.PUBKEYS), number=st.integers(2, 30))
    def add_many_under_one_key(self, author: str, number: int) -> None:
        for kind in range(number):
            self.add(Wish((Filter(authors=frozenset({author}), kinds=frozenset({kind})),)))

    @rule(wish=open_ones)
    def go_on(self, wish: Wish) -> None:
        if wish in self.begun and next(self.begun[wish], END) is END:
            del self.begun[wish]
            self.whole.append(wish)

    @rule(old=consumes(open_ones))
    def remove(self, old: Wish) -> None:
        self.index.remove(old)
        self.forget(old)

    @rule(old=consumes(open_ones))
    def begin_to_remove(self, old: Wish) -> None:
        pieces = self.index.removing(old)
        next(pieces)
        self.leaving.append(pieces)
        self.forget(old)

    @rule()
    def go_on_removing(self) -> None:
        self.leaving = [pieces for pieces in self.leaving if next(pieces, END) is not END]

    @rule(event=strategies.events())
    def match(self, event: Event) -> None:
        found = self.index.match(event)
        assert len({*found}) == len(found)
        assert {*wanting(self.whole, event)} <= {*found} <= {*wanting([*self.whole, *self.begun], event)}

    @invariant()
    def counts_all(self) -> None:
        assert len(self.index) == len(self.whole) + len(self.begun)

    def teardown(self) -> None:
        for wish in [*self.whole, *self.begun]:
            self.index.remove(wish)
        for pieces in self.leaving:
            for _ in pieces:
                pass
        assert self.index.keys == 0, "what is gone must not take memory"

    def forget(self, old: Wish) -> None:
        if (pieces := self.begun.pop(old, None)) is None:
            self.whole.remove(old)
        else:
            assert next(pieces, END) is END, "what is being removed is entered no further"


END = object()


def wanting(wishes: Iterable[Wish], event: Event) -> list[Wish]:
    """Those that want an event."""
    return [wish for wish in wishes if any(naive_match(filter_, event) for filter_ in wish.filters)]


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


@pytest.mark.parametrize("number", [1, 2, 17])
def test_a_tag_that_is_repeated_a_thousand_times_is_looked_at_once(number: int, asked: list[Filter]) -> None:
    """Else one event could ask for a thousand times as much work as it should."""
    index: SubscriptionIndex[Wish] = SubscriptionIndex()
    for _ in range(number):
        index.add(Wish((Filter(tags=(("t", frozenset({"a"})), ("e", frozenset({"e" * 64, "f" * 64})))),)))
    assert index.match(ALICE.event(tags=[["t", "a"], ["t", "a", "more"]] * 1_000)) == []
    assert len(asked) == number


def test_only_filters_that_could_want_it_are_asked_about_an_event(asked: list[Filter]) -> None:
    index: SubscriptionIndex[Wish] = SubscriptionIndex()
    filters = (Filter(), Filter(kinds=frozenset({7})), Filter(ids=frozenset({EVENT.id})), Filter(kinds=frozenset({8})))
    for one in filters:
        index.add(Wish((one,)))
    assert len(index.match(EVENT)) == 3
    assert sorted(map(id, asked)) == sorted(map(id, filters[:3]))
    asked.clear()
    assert len(index.match(OTHER)) == 1
    assert asked == [filters[0]]


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
