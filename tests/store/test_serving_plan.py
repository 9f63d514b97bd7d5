"""What a plan does so that nobody gets what he may not read or what has expired, and what it costs."""

from __future__ import annotations

from typing import Final

import pytest
from msgspec.structs import replace

from tests.store.test_plan import AUTHOR_OF, LOOKUP, TAG, asking, explained, explanation, steps
from trio_relay.nostr.access import NOBODY, Reader
from trio_relay.nostr.filter import Filter, parse_filter
from trio_relay.nostr.kinds import WRAPS
from trio_relay.store.sqlite.planner import (
    plan,
    plan_all,
    plan_count,
    plan_newest,
    plan_records,
    plan_single,
    plan_sketch,
)

KEY: Final = "a" * 64
SOMEBODY: Final = Reader(frozenset([KEY]))
MANY: Final = Reader(frozenset(f"{number:064x}" for number in range(9)))
WRAPPED: Final = Filter(kinds=frozenset([1_059]), limit=10)
OWN: Final = "SEARCH event INDEX event_author_kind"

GATED: Final[dict[str, tuple[Filter, list[str]]]] = {
    "everything": (asking(), ["SCAN event INDEX event_time", LOOKUP]),
    "ids": (asking(ids=2), ["SEARCH event INDEX event_rank", LOOKUP]),
    "an author": (asking(authors=1), ["SEARCH event INDEX event_author_kind", LOOKUP]),
    "kinds": (asking(kinds=2), ["SEARCH event INDEX event_kind", LOOKUP] * 2),
}
SPLIT: Final[dict[str, tuple[Filter, list[str]]]] = {
    "many kinds": (asking(kinds=40), ["SEARCH event INDEX event_kind", OWN, TAG]),
    "a tag": (asking(p=1), [TAG, OWN, LOOKUP, TAG, LOOKUP]),
    "a tag of many authors": (asking(p=1, authors=9), [TAG, AUTHOR_OF, TAG, AUTHOR_OF, LOOKUP]),
    "two tags": (asking(t=1, g=1), [TAG, LOOKUP, OWN, LOOKUP, LOOKUP, TAG, LOOKUP, LOOKUP]),
    "the reader's name": (
        replace(asking(), tags=(("p", frozenset([KEY])),)),
        [TAG, OWN, LOOKUP, TAG],
    ),
    "the reader's words": (asking(p=1, authors=1, kinds=5), [OWN, LOOKUP, TAG, AUTHOR_OF, LOOKUP]),
}


@pytest.mark.parametrize(("one", "expected"), GATED.values(), ids=GATED)
@pytest.mark.parametrize("reader", [SOMEBODY, MANY], ids=["a key", "many keys"])
def test_the_index_of_a_filter_is_the_same_for_whoever_asks(one: Filter, expected: list[str], reader: Reader) -> None:
    """And the order: beside it, events of private kinds alone are looked up."""
    plain, gated = explained(one), explained(replace(one, reader=reader))
    assert steps(gated) == expected
    sorts = [line for line in gated if "TEMP B-TREE" in line]
    assert sorts == [line for line in plain if "TEMP B-TREE" in line]


@pytest.mark.parametrize(("one", "expected"), SPLIT.values(), ids=SPLIT)
def test_private_events_of_others_are_not_looked_at(one: Filter, expected: list[str]) -> None:
    """What is public comes first; then, by the indexes that find them, what the reader wrote and what names him."""
    assert steps(explained(replace(one, reader=SOMEBODY))) == expected


@pytest.mark.parametrize("one", [one for one, _ in SPLIT.values()], ids=list(SPLIT))
def test_nobody_is_looked_up_no_private_event(one: Filter) -> None:
    every = explained(replace(one, reader=Reader(frozenset(), frozenset([40_000]))))
    asked = explained(one.read_by(NOBODY))
    assert steps(asked) == steps(every)[: len(steps(asked))]


@pytest.mark.parametrize("one", [one for one, _ in GATED.values()], ids=list(GATED))
def test_for_nobody_kinds_alone_are_looked_at(one: Filter) -> None:
    assert steps(explained(replace(one, reader=NOBODY))) == steps(explained(one))


@pytest.mark.parametrize("one", [one for one, _ in GATED.values()], ids=list(GATED))
def test_without_a_reader_and_with_nothing_expired_there_is_nothing_more_to_ask(one: Filter) -> None:
    select, another = (
        plan([replace(one, reader=None)]),
        plan([replace(one, reader=Reader(frozenset([KEY]), frozenset()))]),
    )
    assert select is not None
    assert another is not None
    assert select.sql == another.sql
    assert "NOT" not in select.sql.replace("IS NOT NULL", "")


@pytest.mark.parametrize("one", [one for one, _ in GATED.values()], ids=list(GATED))
def test_every_value_is_bound(one: Filter) -> None:
    for reader in (None, NOBODY, SOMEBODY, MANY):
        asked = replace(one, reader=reader)
        for select in (plan([asked], 7), plan_count([asked], 7), plan_single([asked], 7), plan_records(asked, 7)):
            assert select is None or select.sql.count("?") == len(select.bindings)


def test_who_asks_for_wraps_alone_is_answered_from_the_index_of_those_that_name_him() -> None:
    for kinds in ([1_059], sorted(WRAPS)):
        one = Filter(kinds=frozenset(kinds), limit=10, reader=SOMEBODY)
        assert steps(explained(one)) == [TAG]
    asked = replace(WRAPPED, reader=Reader(frozenset([KEY]), frozenset([4])))
    assert steps(explained(asked))[0] == "SEARCH event INDEX event_kind"


KINDS: Final = "SEARCH event INDEX event_kind"
AUTHORS: Final = "SEARCH event INDEX event_author_kind"
PRIVATE: Final[dict[str, tuple[Filter, list[str]]]] = {
    "messages": (Filter(kinds=frozenset([4])), [AUTHORS, TAG]),
    "messages and wraps": (Filter(kinds=frozenset([4, 1_059])), [AUTHORS, TAG]),
    "messages and notes": (Filter(kinds=frozenset([1, 4])), [KINDS, AUTHORS, TAG]),
    "wraps and notes": (Filter(kinds=frozenset([1, 1_059])), [KINDS, TAG]),
    "messages of his own": (Filter(kinds=frozenset([4]), authors=frozenset([KEY])), [AUTHORS]),
    "messages of another": (Filter(kinds=frozenset([4]), authors=frozenset(["b" * 64])), [TAG, AUTHOR_OF]),
    "messages of another and notes": (
        Filter(kinds=frozenset([1, 4]), authors=frozenset(["b" * 64])),
        [AUTHORS, TAG, AUTHOR_OF],
    ),
    "messages of nobody": (Filter(kinds=frozenset([4]), authors=frozenset()), []),
    "messages by id": (
        Filter(kinds=frozenset([4]), ids=frozenset([KEY])),
        ["SEARCH event INDEX event_rank", LOOKUP],
    ),
}


@pytest.mark.parametrize(("one", "expected"), PRIVATE.values(), ids=PRIVATE)
def test_private_kinds_are_answered_from_the_indexes_of_what_the_reader_wrote_and_of_what_names_him(
    one: Filter, expected: list[str]
) -> None:
    asked = replace(one, limit=10, reader=SOMEBODY)
    for select in (plan([asked], 7), plan_records(asked, 7), plan_all([asked], 7)):
        assert (steps(explanation(select)) if select is not None else []) == expected


def test_nobody_is_looked_up_nothing_private() -> None:
    for kinds, expected in (([4], []), ([4, 1_059], []), ([1, 4], [KINDS])):
        select = plan([Filter(kinds=frozenset(kinds), limit=10, reader=NOBODY)])
        assert (steps(explanation(select)) if select is not None else []) == expected


def test_who_is_nobody_and_asks_for_wraps_alone_gets_no_plan() -> None:
    one = replace(WRAPPED, reader=NOBODY)
    assert plan([one]) is None
    assert plan_count([one]) is None
    assert plan_all([one]) is None
    assert plan_records(one) is None


def test_what_has_expired_is_looked_up_event_by_event_and_only_then() -> None:
    for one in (asking(), asking(kinds=1), asking(t=1), asking(authors=3), asking(ids=3)):
        select = plan([one], 1_700_000_000)
        assert select is not None
        expired = [line for line in explanation(select) if "expiry" in line]
        assert expired == ["SEARCH expiry USING INTEGER PRIMARY KEY (rowid=?)"]
        assert not any("expiry" in line for line in explained(one))


def test_a_sketch_is_one_walk_over_the_index_of_tags() -> None:
    one = Filter(kinds=frozenset([7]), tags=(("e", frozenset([KEY])),))
    lines = explanation(plan_sketch(one))
    assert steps(lines) == [TAG]
    gated = explanation(plan_sketch(replace(one, reader=NOBODY), 7))
    assert steps(gated) == [TAG]


def test_records_are_the_newest_first_with_or_without_a_limit() -> None:
    for one in (asking(), replace(asking(), limit=None)):
        select = plan_records(one)
        assert select is not None
        assert steps(explanation(select)) == ["SCAN event INDEX event_time"]
        assert not any("TEMP B-TREE" in line for line in explanation(select))
    assert plan_records(replace(asking(), limit=0)) is None


def test_a_letter_that_stands_twice_is_asked_for_twice() -> None:
    """`&t` of NIP-91: an event has to carry all of them."""
    one = replace(parse_filter({"&t": ["a", "b", "c"], "#t": ["d", "e"]}, all_of=True), limit=10, reader=NOBODY)
    assert steps(explained(one)) == [TAG, LOOKUP, LOOKUP, LOOKUP]
    select = plan([one])
    assert select is not None
    assert select.sql.count("?") == len(select.bindings)


def test_a_search_is_gated_as_all_else() -> None:
    for text in ("tea", "-tea", "nsfw:false", "domain:example.com"):
        one = replace(parse_filter({"search": text}), limit=10, reader=SOMEBODY)
        select = plan_newest(one, 7)
        assert select.sql.count("?") == len(select.bindings)
        assert "NOT event.kind IN" in select.sql
        assert "expiry" in select.sql
