"""What a kind 5 may ask to delete (NIP-09)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import KINDS, VALUES
from trio_relay.nostr.event import Event, address_of, deletion_targets

MINE, OTHERS = "a" * 64, "b" * 64


def request(*tags: list[str]) -> Event:
    return Event("1" * 64, MINE, 1, 5, list(tags), "", "5" * 128)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ([], set()),
        ([["e", "1" * 64]], {"1" * 64}),
        ([["e", "1" * 64, "wss://a"], ["e", "2" * 64], ["k", "1"]], {"1" * 64, "2" * 64}),
        ([["e", "1" * 64], ["e", "1" * 64]], {"1" * 64}),
        ([["e"], [], ["E", "1" * 64], ["p", "1" * 64]], set()),
        ([["e", "1" * 63], ["e", "A" * 64], ["e", ""]], set()),
        ([["a", "1" * 64]], set()),
    ],
)
def test_ids_are_those_of_e_tags(tags: list[list[str]], expected: set[str]) -> None:
    assert deletion_targets(request(*tags)) == (expected, set())


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (f"30023:{MINE}:x", {f"30023:{MINE}:x"}),
        (f"30023:{MINE}:", {f"30023:{MINE}:"}),
        (f"30023:{MINE}:x:y::", {f"30023:{MINE}:x:y::"}),
        (f"30000:{MINE}:x", {f"30000:{MINE}:x"}),
        (f"39999:{MINE}:x", {f"39999:{MINE}:x"}),
        (f"0:{MINE}:", {f"0:{MINE}:"}),
        (f"0:{MINE}", {f"0:{MINE}:"}),
        (f"3:{MINE}:", {f"3:{MINE}:"}),
        (f"10002:{MINE}:", {f"10002:{MINE}:"}),
        (f"10002:{MINE}", {f"10002:{MINE}:"}),
    ],
)
def test_own_addresses_are_taken(named: str, expected: set[str]) -> None:
    assert deletion_targets(request(["a", named, "wss://a"])) == (set(), expected)


@pytest.mark.parametrize(
    "named",
    [
        f"30023:{OTHERS}:x",
        f"0:{OTHERS}:",
        f"30023:{MINE}",
        f"30023:{MINE.upper()}:x",
        f"30023:{MINE}0:x",
        f"30023::{MINE}:x",
        f"30023:{OTHERS}:{MINE}",
        f"10002:{MINE}:x",
        f"1:{MINE}:",
        f"5:{MINE}:",
        f"20000:{MINE}:",
        f"40000:{MINE}:x",
        f"99999:{MINE}:x",
        f"030023:{MINE}:x",
        f"-30023:{MINE}:x",
        f"+3:{MINE}:",
        f" 3:{MINE}:",
        f"٣:{MINE}:",
        f"²:{MINE}:",
        f"9999999999999999999999:{MINE}:x",
        f":{MINE}:x",
        f"{MINE}:x",
        f"x:{MINE}:x",
        MINE,
        "30023",
        ":",
        "",
    ],
)
def test_what_is_no_address_of_ones_own_deletes_nothing(named: str) -> None:
    assert deletion_targets(request(["a", named])) == (set(), set())


def test_ids_and_addresses_are_told_apart() -> None:
    tags = [["e", "1" * 64], ["a", f"0:{MINE}:"], ["a", f"0:{OTHERS}:"], ["a", f"30023:{MINE}:x"], ["a"]]
    assert deletion_targets(request(*tags)) == ({"1" * 64}, {f"0:{MINE}:", f"30023:{MINE}:x"})


@pytest.mark.parametrize("name", ["A", "d", "e", "aa", ""])
def test_only_a_tags_name_addresses(name: str) -> None:
    assert deletion_targets(request([name, f"30023:{MINE}:x"])) == (set(), set())


@given(st.sampled_from(KINDS), st.sampled_from([MINE, OTHERS]), st.sampled_from(VALUES))
def test_an_event_is_reached_by_its_own_address_and_by_its_author_alone(kind: int, author: str, d: str) -> None:
    address = address_of(Event("1" * 64, author, 1, kind, [["d", d]], "", "5" * 128))
    named = address or f"{kind}:{author}:{d}"
    expected = {address} if address is not None and author == MINE else set()
    assert deletion_targets(request(["a", named])) == (set(), expected)
