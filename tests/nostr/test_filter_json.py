"""Filters as clients write them, made again from what the relay understood."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.keys import ALICE, BOB
from tests.support.marks import examples
from tests.support.strategies import filters
from trio_relay import Filter
from trio_relay.nostr import filter_json
from trio_relay.nostr.filter import parse_filter

EVENTS = [ALICE.event("one", tags=[["t", "a"], ["e", "0" * 64]]), BOB.event("two", kind=7, tags=[["t", "b"]])]


def readable(filter_: Filter) -> Filter:
    """The same without tags whose values a client could not write so."""
    return msgspec.structs.replace(filter_, tags=tuple(tag for tag in filter_.tags if tag[0] not in "ep"))


WORDS = (
    "don't", '"two words', '-"not this"', "-no", "東京タワー", "京", "서울 한국", "☺", "https://a.example/x",
    "sort:hot", "language:en", "domain:a.example", "nsfw:false", "include:spam", "o'clock's", "#tag", "x:y", "Ünïcode",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)


@settings(max_examples=examples(50))
@given(filters(EVENTS).map(readable))
def test_a_filter_that_is_shown_asks_for_the_same(filter_: Filter) -> None:
    [found], left_out = filter_json.shown([filter_], 10_000)
    assert left_out == 0
    assert parse_filter(msgspec.json.decode(msgspec.json.encode(found))) == msgspec.structs.replace(
        filter_, reader=None
    )


@given(TEXTS)
def test_a_search_that_is_shown_asks_for_the_same(text: str) -> None:
    filter_ = parse_filter({"search": text})
    [found], _ = filter_json.shown([filter_], 10_000)
    assert parse_filter(found) == filter_


def test_demanded_values_are_shown_as_such() -> None:
    source = {"&t": ["a", "b"], "#t": ["c", "d"], "&p": [ALICE.pubkey], "#p": [BOB.pubkey, ALICE.pubkey]}
    filter_ = parse_filter(source, all_of=True)
    [found], _ = filter_json.shown([filter_], 100)
    again = parse_filter(found, all_of=True)
    assert sorted(map(repr, again.tags)) == sorted(map(repr, filter_.tags))


def test_the_relay_s_own_limit_is_not_shown() -> None:
    assert filter_json.shown([Filter(limit=500, is_clamped=True)], 1) == ([{}], 0)


@settings(max_examples=examples(30))
@given(st.lists(filters(EVENTS), max_size=5), st.integers(0, 20))
def test_what_is_left_out_is_counted(some: list[Filter], most: int) -> None:
    found, left_out = filter_json.shown(some, most)
    values = [value for one in found for value in one.values() if isinstance(value, list)]
    there = sum(map(len, values))
    assert there <= most
    assert there + left_out == sum(
        len(one.ids or ()) + len(one.authors or ()) + len(one.kinds or ()) for one in some
    ) + (sum(len(texts) for one in some for _, texts in one.tags))


def test_long_texts_are_cut() -> None:
    [found], _ = filter_json.shown(
        [parse_filter({"#t": ["x" * 1_000], "search": "".join(f"y{number} " for number in range(150))})], 10
    )
    assert [len(str(text)) for text in (found["#t"][0], found["search"])] == [201, 201]  # type: ignore[index]
