"""Which events a filter asks for, judged by a naive twin and by examples."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import NOW
from tests.support.marks import in_order
from tests.support.oracles import naive_match
from tests.support.strategies import PUBKEYS, events, filters, searches, spoken
from trio_relay import Event, Filter
from trio_relay.nostr.access import Reader

EVENT = Event("1" * 64, "a" * 64, NOW, 1, [["t", "x", "second"], ["t", "y"], ["T", "z"], ["e"], []], "", "5" * 128)


def some(*values: str) -> frozenset[str]:
    return frozenset(values)


@pytest.mark.slow
@given(st.data())
def test_a_filter_matches_what_its_naive_twin_matches(data: st.DataObject) -> None:
    known = data.draw(st.lists(events(), min_size=1, max_size=5))
    one = data.draw(filters(known))
    assert [one.matches(event) for event in known] == [naive_match(one, event) for event in known]


@pytest.mark.slow
@given(st.data())
def test_a_search_matches_what_its_naive_twin_matches(data: st.DataObject) -> None:
    """Of domains a live event knows nothing, and neither does the twin without known profiles."""
    known = data.draw(st.lists(spoken(), min_size=1, max_size=5))
    one = data.draw(searches(known))
    assert [one.matches(event) for event in known] == [naive_match(one, event) for event in known]


@pytest.mark.slow
@given(st.data())
def test_a_filter_for_a_reader_matches_what_its_naive_twin_matches(data: st.DataObject) -> None:
    """Made for him as he is: keys that he shows later do not count."""
    some_keys = st.sets(st.sampled_from(PUBKEYS), max_size=2)
    tags = st.lists(st.tuples(st.sampled_from(["p", "e"]), st.sampled_from([*PUBKEYS, "x"])).map(list), max_size=2)
    kinds = st.sampled_from([1, 4, 1_059, 21_059, 30_078])
    known = [
        msgspec.structs.replace(one, kind=data.draw(kinds)) for one in data.draw(st.lists(events(tags), max_size=5))
    ]
    reader = Reader(data.draw(some_keys), frozenset(data.draw(st.sets(kinds))))
    asked = Filter(
        kinds=data.draw(st.none() | st.frozensets(kinds)), authors=data.draw(st.none() | some_keys.map(frozenset))
    )
    one = asked.read_by(reader)
    expected = [naive_match(msgspec.structs.replace(asked, reader=reader.now()), event) for event in known]
    assert isinstance(reader.keys, set)
    reader.keys.update(PUBKEYS)
    assert [one.matches(event) for event in known] == expected


@pytest.mark.parametrize(
    "one",
    [
        Filter(),
        Filter(limit=0),
        Filter(ids=some("1" * 64, "2" * 64)),
        Filter(authors=some("a" * 64)),
        Filter(kinds=frozenset({0, 1})),
        Filter(since=NOW),
        Filter(until=NOW),
        Filter(since=NOW, until=NOW),
        Filter(since=0),
        Filter(tags=(("t", some("y")),)),
        Filter(tags=(("t", some("x", "other")), ("T", some("z")))),
    ],
    ids=in_order,
)
def test_a_list_means_any_of_it_and_both_times_are_included(one: Filter) -> None:
    assert one.matches(EVENT)


@pytest.mark.parametrize(
    "one",
    [
        Filter(ids=some("2" * 64)),
        Filter(ids=some("1" * 63)),
        Filter(ids=some()),
        Filter(authors=some("b" * 64)),
        Filter(authors=some()),
        Filter(kinds=frozenset({2})),
        Filter(kinds=frozenset()),
        Filter(since=NOW + 1),
        Filter(until=NOW - 1),
        Filter(until=0),
        Filter(tags=(("t", some()),)),
        Filter(tags=(("t", some("z")),)),
        Filter(tags=(("T", some("x")),)),
        Filter(tags=(("t", some("second")),)),
        Filter(tags=(("e", some("")),)),
        Filter(tags=(("t", some("x")), ("T", some("x")))),
        Filter(kinds=frozenset({1}), authors=some("b" * 64)),
    ],
    ids=in_order,
)
def test_all_keys_must_hold(one: Filter) -> None:
    assert not one.matches(EVENT)


@pytest.mark.slow
@given(st.data())
def test_the_limit_plays_no_part_in_matching(data: st.DataObject) -> None:
    event = data.draw(events())
    one = data.draw(filters([event]))
    assert one.matches(event) == one.with_limit(default=0, most=0).matches(event)


@pytest.mark.slow
@given(filters([EVENT]), st.lists(events(), max_size=5))
def test_a_filter_is_hopeless_exactly_if_no_event_can_match(one: Filter, known: list[Event]) -> None:
    """A filter with hope is shown the event that it asks for."""
    if one.is_hopeless:
        assert not any(one.matches(event) for event in known)
    else:
        asked_for = msgspec.structs.replace(
            EVENT,
            id=min(one.ids) if one.ids else EVENT.id,
            pubkey=min(one.authors) if one.authors else EVENT.pubkey,
            kind=min(one.kinds) if one.kinds else EVENT.kind,
            created_at=next((time for time in (one.since, one.until) if time is not None), NOW),
            tags=[[letter, min(values)] for letter, values in one.tags],
        )
        assert one.matches(asked_for)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (Filter(), False),
        (Filter(limit=0), False),
        (Filter(ids=some("a")), False),
        (Filter(ids=some()), True),
        (Filter(authors=some("a")), False),
        (Filter(authors=some()), True),
        (Filter(kinds=frozenset({0})), False),
        (Filter(kinds=frozenset()), True),
        (Filter(tags=(("t", some("")),)), False),
        (Filter(tags=(("t", some("x")), ("e", some()))), True),
        (Filter(since=1), False),
        (Filter(until=0), False),
        (Filter(since=0, until=0), False),
        (Filter(since=1, until=0), True),
    ],
    ids=in_order,
)
def test_an_empty_list_or_a_time_span_of_nothing_is_hopeless(one: Filter, expected: bool) -> None:
    assert one.is_hopeless is expected
