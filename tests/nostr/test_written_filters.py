"""Filters as operators write them: in NIP-01's JSON, with keys and ids as people copy them."""

from __future__ import annotations

import pytest

from trio_relay import Filter
from trio_relay.nostr import errors, nip19, written_filters
from trio_relay.nostr import filter as parsed

A, B = "a" * 64, "0123456789abcdef" * 4
NPUB, NOTE = nip19.npub_of(A), nip19.note_of(B)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"kinds":[1]}', [{"kinds": [1]}]),
        (' [{"kinds":[1]}, {}]\n', [{"kinds": [1]}, {}]),
        ('{"kinds":[1]}\n{"kinds":[2]}\n', [{"kinds": [1]}, {"kinds": [2]}]),
    ],
)
def test_one_filter_a_list_or_one_a_line_are_read(text: str, expected: list[object]) -> None:
    assert written_filters.filters_in(text) == expected


@pytest.mark.parametrize("text", ["", "kinds", "[]", "[1]", "{", '{"a":1} x', "[" * 100_000, '["REQ","a",{}]'])
def test_what_is_no_filter_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(errors.Rejected, match=r"^invalid: a filter must be (JSON|an object)"):
        written_filters.filters_in(text)


def test_keys_and_ids_may_stand_as_people_copy_them() -> None:
    written = {"authors": [NPUB, B], "ids": [f"nostr:{NOTE}"], "#p": [NPUB], "#e": [NOTE], "#t": [NPUB]}
    plain = {"authors": [A, B], "ids": [B], "#p": [A], "#e": [B], "#t": [NPUB]}
    assert written_filters.read_filters([written]) == [parsed.parse_filter(plain)]


@pytest.mark.parametrize(
    ("sources", "reason"),
    [
        ({"kinds": [1]}, "filters must be a list of at least one"),
        ([], "filters must be a list of at least one"),
        ([1], "a filter must be an object"),
        ([{"authors": ["npub1x"]}], "authors: 'npub1x' is no key: a character is missing or wrong"),
        ([{"ids": [NPUB]}], f"ids: '{NPUB[:24]}…' is no id of an event"),
        ([{"authors": [1]}], "authors must be a list of strings"),
        ([{"kinds": 1}], "kinds must be a list of integers, each 0 or more"),
    ],
)
def test_what_is_wrong_with_a_filter_is_told(sources: object, reason: str) -> None:
    with pytest.raises(errors.Rejected) as caught:
        written_filters.read_filters(sources)
    assert caught.value.reason == reason


@pytest.mark.parametrize("source", [{}, {"since": 0}, {"until": 2**60}, {"limit": 3}])
def test_a_filter_that_names_nothing_asks_for_everything(source: dict[str, object]) -> None:
    assert written_filters.is_everything(parsed.parse_filter(source))


@pytest.mark.parametrize(
    "source", [{"kinds": []}, {"ids": []}, {"authors": [A]}, {"#t": ["x"]}, {"since": 1}, {"until": 5}, {"search": "x"}]
)
def test_a_filter_that_names_something_does_not(source: dict[str, object]) -> None:
    assert not written_filters.is_everything(parsed.parse_filter(source))
    assert not written_filters.is_everything(Filter(tags=(("t", frozenset()),)))
