"""A filter is taken exactly as NIP-01 writes it, or refused with the key that is wrong."""

from __future__ import annotations

import string
import sys
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.marks import in_order
from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.event import MAX_TIME
from trio_relay.nostr.filter import Filter, parse_filter

A, B = "a" * 64, "0123456789abcdef" * 4
HEX = "{} must hold strings of 64 lowercase hex characters"
TEXTS = "{} must be a list of strings"
KINDS = "kinds must be a list of integers, each 0 or more"
NATURAL = "{} must be an integer, 0 or more"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({}, Filter()),
        ({"ids": [A, B]}, Filter(ids=frozenset({A, B}))),
        ({"ids": [A, A]}, Filter(ids=frozenset({A}))),
        ({"authors": [A]}, Filter(authors=frozenset({A}))),
        ({"kinds": [0, 1, 65_535]}, Filter(kinds=frozenset({0, 1, 65_535}))),
        ({"ids": [], "authors": [], "kinds": []}, Filter(frozenset(), frozenset(), frozenset())),
        ({"#t": ["x", "", "é"]}, Filter(tags=(("t", frozenset({"x", "", "é"})),))),
        ({"#t": []}, Filter(tags=(("t", frozenset()),))),
        ({"#e": [A], "#p": [B]}, Filter(tags=(("e", frozenset({A})), ("p", frozenset({B}))))),
        ({"#E": ["x"], "#P": ["X"]}, Filter(tags=(("E", frozenset({"x"})), ("P", frozenset({"X"}))))),
        ({"#z": ["1"], "#T": ["2"], "#t": ["3"]}, Filter(tags=tuple((k, frozenset(v)) for k, v in ("z1", "T2", "t3")))),
        ({"since": 0, "until": 0, "limit": 0}, Filter(since=0, until=0, limit=0)),
        ({"since": 5, "until": 4, "limit": 1}, Filter(since=5, until=4, limit=1)),
    ],
    ids=in_order,
)
def test_a_good_filter_is_taken_as_it_is(source: object, expected: Filter) -> None:
    assert parse_filter(source) == expected


@pytest.mark.parametrize("letter", string.ascii_letters)
def test_every_letter_of_both_cases_can_be_asked_for(letter: str) -> None:
    assert parse_filter({f"#{letter}": [A]}) == Filter(tags=((letter, frozenset({A})),))


def test_the_order_of_tag_keys_is_kept() -> None:
    assert [letter for letter, _ in parse_filter({"#z": [], "kinds": [1], "#a": [], "#m": []}).tags] == ["z", "a", "m"]


@pytest.mark.parametrize("value", [None, True, 1, "kinds", [], [{}], 1.5])
def test_a_filter_is_an_object(value: object) -> None:
    assert refusal(value) == "invalid: a filter must be an object"


@pytest.mark.parametrize("key", ["ids", "authors", "#e", "#p"])
@pytest.mark.parametrize(
    "item", ["", "a", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", "\uff11" * 64, "nevent1" + "q" * 57]
)
def test_ids_and_keys_are_64_lowercase_hex_characters(key: str, item: str) -> None:
    assert refusal({key: [A, item]}) == "invalid: " + HEX.format(key)


@pytest.mark.parametrize("key", ["ids", "authors", "#e", "#p", "#E", "#t"])
@pytest.mark.parametrize("value", [None, True, 1, 1.0, A, {}, {A: 1}, [1], [A, None], [[A]], [True]], ids=str)
def test_lists_of_text_hold_text(key: str, value: object) -> None:
    assert refusal({key: value}) == "invalid: " + TEXTS.format(key)


@pytest.mark.parametrize(
    "value",
    [None, 1, "1", {}, True, ["1"], [1.0], [1e3], [True], [False], [None], [[1]], [-1], [1, -(2**70)]],
    ids=in_order,
)
def test_kinds_are_integers_from_0_on(value: object) -> None:
    assert refusal({"kinds": value}) == "invalid: " + KINDS


@pytest.mark.parametrize(
    ("kinds", "left"), [([65_535], {65_535}), ([65_536], set()), ([99_999, 1, 10**400], {1})], ids=in_order
)
def test_a_kind_that_no_event_can_have_matches_nothing(kinds: list[int], left: set[int]) -> None:
    one = parse_filter({"kinds": kinds})
    assert one.kinds == frozenset(left)
    assert one.is_hopeless is (not left)


@pytest.mark.parametrize("key", ["since", "until", "limit"])
@pytest.mark.parametrize("value", [None, True, False, -1, -(2**70), 0.0, 1.0, 1e10, "1", [1], {}], ids=str)
def test_times_and_limits_are_integers_from_0_on(key: str, value: object) -> None:
    assert refusal({key: value}) == "invalid: " + NATURAL.format(key)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"since": MAX_TIME, "until": MAX_TIME}, Filter(since=MAX_TIME, until=MAX_TIME)),
        ({"since": MAX_TIME + 1, "until": 10**400}, Filter(since=MAX_TIME, until=MAX_TIME)),
        ({"limit": 2**53}, Filter(limit=2**53)),
        ({"limit": 2**53 + 1}, Filter(limit=2**53)),
        ({"limit": 10**400}, Filter(limit=2**53)),
    ],
    ids=["the most", "times beyond", "a large limit", "a larger limit", "a huge limit"],
)
def test_larger_numbers_are_clamped(source: object, expected: Filter) -> None:
    """So that no store meets a number that it cannot hold."""
    assert parse_filter(source) == expected


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("id", "'id'"),
        ("Kinds", "'Kinds'"),
        ("", "''"),
        ("#", "'#'"),
        ("#ee", "'#ee'"),
        ("e", "'e'"),
        ("te", "'te'"),
        ("#1", "'#1'"),
        ("##", "'##'"),
        ("#é", "'#é'"),
        ("&t", "'&t'"),
        ("k" * 32, repr("k" * 32)),
        ("k" * 33, repr("k" * 32 + "…")),
        ('"]\n', "'\"]\\n'"),
    ],
)
def test_an_unknown_key_is_unsupported_and_named(key: str, shown: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_filter({key: []})
    assert refused.value.prefix is Prefix.UNSUPPORTED
    assert str(refused.value) == f"unsupported: filter key {shown} is not known here"


@pytest.mark.parametrize(
    ("asked", "default", "most", "given_limit", "is_clamped"),
    [
        (None, 5, 8, 5, True),
        (None, 9, 8, 8, True),
        (0, 5, 8, 0, False),
        (7, 5, 8, 7, False),
        (8, 5, 8, 8, False),
        (9, 5, 8, 8, True),
        (2**53, 5, 8, 8, True),
    ],
)
def test_a_filter_gets_at_most_what_the_relay_gives(
    asked: int | None, default: int, most: int, given_limit: int, is_clamped: bool
) -> None:
    """Whether the limit is the client's own is known from then on."""
    one = Filter(kinds=frozenset({1}), tags=(("t", frozenset({"x"})),), since=3, limit=asked)
    expected = replace(one, limit=given_limit, is_clamped=is_clamped)
    assert one.with_limit(default=default, most=most) == expected


D: Final = ["x", "y"]


@pytest.mark.parametrize(
    ("source", "bound"),
    [
        ({"ids": [A, B]}, 2),
        ({"ids": [A, B], "authors": [A], "kinds": [0]}, 2),
        ({"ids": []}, 0),
        ({"authors": [A, B], "kinds": [0, 3, 10_002]}, 6),
        ({"authors": [A, B], "kinds": [0], "#t": ["x"]}, 2),
        ({"authors": [A, B], "kinds": [30_023, 39_999], "#d": D}, 8),
        ({"authors": [A, B], "kinds": [0, 30_023], "#d": D}, 6),
        ({"authors": [A, B], "kinds": [30_023]}, 0),
        ({"authors": [A, B], "kinds": [0, 30_023]}, 0),
        ({"authors": [A, B], "kinds": [0, 1]}, 0),
        ({"authors": [A, B], "kinds": [1], "#d": D}, 0),
        ({"authors": [A, B], "kinds": [20_001], "#d": D}, 0),
        ({"authors": [A, B], "kinds": list(range(10_000, 10_101))}, 0),
        ({"authors": [A], "kinds": []}, 0),
        ({"authors": [A]}, 0),
        ({"kinds": [0]}, 0),
        ({"#d": D, "kinds": [30_023]}, 0),
        ({}, 0),
    ],
    ids=str,
)
def test_ids_and_addresses_bound_what_can_match(source: dict[str, Any], bound: int) -> None:
    """And where they do, a default does not cut them; the most that the relay gives does."""
    one = parse_filter(source)
    assert one.bound == bound
    assert one.with_limit(default=5, most=7).limit == min(max(bound, 5), 7)
    assert one.with_limit(default=1, most=100).limit == max(bound, 1)
    assert parse_filter(source | {"limit": 1}).with_limit(default=5, most=7).limit == 1


def is_good(key: str, value: object) -> bool:
    """NIP-01's "filters attributes" and NIP-50's once more, in other words."""
    if key == "search":
        return isinstance(value, str)
    if key in ("since", "until", "limit"):
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if key == "kinds":
        return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)
    if key in ("ids", "authors", "#e", "#p"):
        return isinstance(value, list) and all(item in (A, B) for item in value)
    return key in ("#t", "#T") and isinstance(value, list) and all(isinstance(item, str) for item in value)


keys = st.sampled_from(["ids", "authors", "kinds", "since", "until", "limit", "#e", "#p", "#t", "#T", "#é", "search"])
items: st.SearchStrategy[object] = st.sampled_from(
    [A, B, "x", "", A.upper(), 1, 0, 2**70, -1, 65_536, 1.0, True, False, None, [A], {}]
)
sources = st.dictionaries(keys, items | st.lists(items, max_size=2), max_size=3)


@given(items | sources)
def test_a_filter_is_refused_exactly_if_one_of_its_keys_is_wrong(source: object) -> None:
    if isinstance(source, dict) and all(is_good(key, value) for key, value in source.items()):
        parsed = parse_filter(source)
        assert (parsed.reader, parsed.is_clamped) == (None, False)
        fields = set(Filter.__struct_fields__) - {"tags", "reader", "is_clamped"}
        named = {key for key in fields if getattr(parsed, key) is not None}
        asked = {key for key in source if (key, source[key]) != ("search", "")}
        assert named | {f"#{letter}" for letter, _ in parsed.tags} == asked
    else:
        assert refusal(source).partition(":")[0] in (Prefix.INVALID, Prefix.UNSUPPORTED)


def refusal(source: object) -> str:
    with pytest.raises(Rejected) as refused:
        parse_filter(source)
    return str(refused.value)


@pytest.mark.parametrize(
    ("source", "weight"),
    [
        ({}, 5),
        ({"until": 1, "limit": 0}, 5),
        ({"kinds": [], "ids": []}, 5),
        ({"kinds": [1, 2, 2]}, 7),
        ({"authors": ["a" * 64], "#p": ["b" * 64, "c" * 64]}, 9),
        ({"#t": []}, 6),
        ({"#t": ["tea", ""], "#d": ["cake"]}, 10),
        ({"#t": ["x" * 60]}, 7),
        ({"#t": ["x" * 600]}, 11),
        ({"#t": ["x" * 60_000, "y" * 60_000]}, 6 + 938),
        ({"#t": ["🦀" + "x" * 600]}, 6 + 19),
        ({"search": "earl grey tea"}, 8),
    ],
)
def test_a_filter_weighs_what_it_takes_to_hold_it(source: dict[str, object], weight: int) -> None:
    """Nothing is free; texts count by bytes, of which some characters need four for each of a text."""
    assert abs(parse_filter(source).weight - weight) <= weight // 100, "a text's own bytes differ between versions"


def test_a_set_is_as_small_as_it_can_be() -> None:
    """One that grows value by value may have four times the room."""
    for number in (150, 20_000):
        values = [str(one) for one in range(number)]
        for key in ("#t", "kinds"):
            one = parse_filter({key: values if key == "#t" else [*range(number)]})
            held = one.kinds if key == "kinds" else one.tags[0][1]
            assert held is not None
            assert sys.getsizeof(held) <= 216 + 64 * number
