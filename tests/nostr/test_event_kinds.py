"""What a kind means: which events are replaced, by which, and what filters can ask of their tags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import NOW
from tests.support.strategies import events
from trio_relay.nostr.event import Event, address_of, single_letter_tags, supersedes
from trio_relay.nostr.kinds import is_addressable, is_ephemeral, is_replaceable

PUBKEY = "a" * 64


def event_with(kind: int, tags: list[list[str]]) -> Event:
    return Event("1" * 64, PUBKEY, NOW, kind, tags, "", "5" * 128)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (0, "replaceable"),
        (1, "regular"),
        (2, "regular"),
        (3, "replaceable"),
        (4, "regular"),
        (44, "regular"),
        (45, "regular"),
        (999, "regular"),
        (1_000, "regular"),
        (9_999, "regular"),
        (10_000, "replaceable"),
        (19_999, "replaceable"),
        (20_000, "ephemeral"),
        (29_999, "ephemeral"),
        (30_000, "addressable"),
        (39_999, "addressable"),
        (40_000, "regular"),
        (65_535, "regular"),
    ],
)
def test_each_kind_is_of_one_class(kind: int, expected: str) -> None:
    """NIP-01, "Kinds"; what it gives no class is regular."""
    classes = {"replaceable": is_replaceable, "ephemeral": is_ephemeral, "addressable": is_addressable}
    holding = [name for name, belongs in classes.items() if belongs(kind)]
    assert holding == ([] if expected == "regular" else [expected])


@pytest.mark.parametrize(
    ("kind", "tags", "expected"),
    [
        (0, [], f"0:{PUBKEY}:"),
        (3, [["d", "x"]], f"3:{PUBKEY}:"),
        (10_002, [["d", "x"]], f"10002:{PUBKEY}:"),
        (30_023, [["d", "x"]], f"30023:{PUBKEY}:x"),
        (30_023, [["d", "x:y:"]], f"30023:{PUBKEY}:x:y:"),
        (30_023, [["d", "x", "z"], ["d", "y"]], f"30023:{PUBKEY}:x"),
        (30_023, [["d"], ["d", "y"]], f"30023:{PUBKEY}:"),
        (30_023, [["d", ""], ["d", "y"]], f"30023:{PUBKEY}:"),
        (30_023, [[], ["D", "y"], ["e", "d"]], f"30023:{PUBKEY}:"),
        (30_023, [], f"30023:{PUBKEY}:"),
        (1, [["d", "x"]], None),
        (5, [["d", "x"]], None),
        (20_000, [["d", "x"]], None),
        (40_000, [["d", "x"]], None),
    ],
)
def test_the_address_is_kind_pubkey_and_first_d(kind: int, tags: list[list[str]], expected: str | None) -> None:
    assert address_of(event_with(kind, tags)) == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((NOW + 1, "b"), (NOW, "a"), True),
        ((NOW - 1, "a"), (NOW, "b"), False),
        ((NOW, "a"), (NOW, "b"), True),
        ((NOW, "b"), (NOW, "a"), False),
        ((NOW, "a"), (NOW, "a"), False),
        ((NOW, "0" * 63 + "1"), (NOW, "0" * 63 + "2"), True),
    ],
)
def test_the_newer_version_stands_and_of_equal_age_the_lowest_id(
    first: tuple[int, str], second: tuple[int, str], expected: bool
) -> None:
    assert supersedes(*first, *second) is expected


versions = st.tuples(st.integers(0, 3), st.sampled_from("abc"))


@given(versions, versions, versions)
def test_versions_have_one_order(one: tuple[int, str], two: tuple[int, str], three: tuple[int, str]) -> None:
    """Whatever the order in which they come, the same one is left."""
    assert supersedes(*one, *two) + supersedes(*two, *one) == (one != two)
    if supersedes(*one, *two) and supersedes(*two, *three):
        assert supersedes(*one, *three)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ([["e", "x"]], {("e", "x")}),
        ([["e", "x", "y"]], {("e", "x")}),
        ([["e", "x"], ["e", "y"], ["e", "x"]], {("e", "x"), ("e", "y")}),
        ([["t", "x"], ["T", "x"]], {("t", "x"), ("T", "x")}),
        ([["a", ""], ["z", "x"], ["A", "x"], ["Z", "x"]], {("a", ""), ("z", "x"), ("A", "x"), ("Z", "x")}),
        ([["t"], [], [""], ["", "x"]], set()),
        ([["ee", "x"], ["alt", "x"], ["#e", "x"]], set()),
        ([["1", "x"], ["-", "x"], ["_", "x"], ["@", "x"], ["[", "x"], ["`", "x"], ["{", "x"]], set()),
        ([["é", "x"], ["ª", "x"], ["\uff45", "x"], ["\u017f", "x"]], set()),
    ],
)
def test_only_single_ascii_letters_and_their_first_value_count(
    tags: list[list[str]], expected: set[tuple[str, str]]
) -> None:
    assert single_letter_tags(event_with(1, tags)) == expected


@given(events())
def test_every_single_letter_tag_is_one_that_the_event_carries(event: Event) -> None:
    for letter, value in single_letter_tags(event):
        assert any(tag[:2] == [letter, value] for tag in event.tags)
