"""Whatever a legal event holds comes back byte by byte, and its tags are found by exactly their values."""

from __future__ import annotations

from typing import Final

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.backends import Backend, ask_raw
from tests.support.keys import ALICE
from tests.support.marks import examples
from tests.support.strategies import unicode_texts
from trio_relay import Filter, Store
from trio_relay.nostr.event import Event, encode

TEXTS: Final = {
    "empty": "",
    "NUL": "a\0b",
    "NUL alone": "\0",
    "control characters": "".join(map(chr, range(32))) + "\x7f\x85\u2028",
    "line feeds": "one\ntwo\r\n\nthree\n",
    "quotes and backslashes": '\\"\\u0041\\',
    "emoji": "🦩 👩‍👩‍👧‍👦 🏴󠁧󠁢󠁳󠁣󠁴󠁿",
    "beyond the first plane": "\U0001f9a9\U0010ffff",
    "no characters": "\ufffe\uffff\ufeff",
    "right to left": "\u202e\u05e9\u05dc",
    "combining, not composed": "e\u0301",
    "composed": "é",
    "SQL": "'; DROP TABLE event; -- %_?1",
    "an id": "0123456789abcdef" * 4,
    "an id in capitals": "0123456789ABCDEF" * 4,
    "63 hex characters": "0123456789abcdef" * 3 + "0" * 15,
    "64 bytes": "é" * 32,
    "65 bytes": "é" * 32 + "x",
    "66 bytes": "é" * 33,
    "long": "long " * 50_000,
    "space": "   ",
    "a number": "0",
    "another number": "0.0",
}
EXTREMES: Final = {
    "time 0": ALICE.event(created_at=0),
    "the last time": ALICE.event(created_at=2**33 - 1),
    "kind 65535": ALICE.event(kind=65_535),
    "a thousand tags": ALICE.event(tags=[["t", str(i)] for i in range(1_000)]),
    "one tag a thousand times": ALICE.event(tags=[["t", "x"]] * 1_000),
    "tags without values": ALICE.event(tags=[[], ["t"], [""], ["", ""], ["t", ""]]),
    "a tag of a thousand values": ALICE.event(tags=[["t", *map(str, range(1_000))]]),
    "tags of odd names": ALICE.event(tags=[["\0", "x"], ["é", "x"], ["tt", "x"], ["1", "x"], ["_", "x"], ["🦩", "x"]]),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_a_text_comes_back_byte_by_byte(store: Store, text: str) -> None:
    event = ALICE.event(text, kind=30_023, tags=[["d", text], ["x", text, text], ["X", "x"], [text, text]])
    await store.save_many([event])
    assert await ask_raw(store, Filter()) == [encode(event)]


@pytest.mark.parametrize("event", EXTREMES.values(), ids=EXTREMES)
async def test_an_extreme_event_comes_back_byte_by_byte(store: Store, event: Event) -> None:
    await store.save_many([event])
    assert await ask_raw(store, Filter()) == [encode(event)]


async def test_a_tag_is_found_by_exactly_its_value(store: Store) -> None:
    events = [ALICE.event(name, tags=[["x", text]]) for name, text in TEXTS.items()]
    await store.save_many(events)
    found = [await ask_raw(store, Filter(tags=(("x", frozenset([text])),))) for text in TEXTS.values()]
    assert found == [[encode(event)] for event in events]


async def test_a_tag_is_found_by_exactly_its_letter(store: Store) -> None:
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    events = [ALICE.event(letter, tags=[[letter, "a" * 64]]) for letter in letters]
    await store.save_many(events)
    found = [await ask_raw(store, Filter(tags=((letter, frozenset(["a" * 64])),))) for letter in letters]
    assert found == [[encode(event)] for event in events]


async def test_a_long_event_goes_without_a_trace_when_its_author_asks(store: Store) -> None:
    event = ALICE.event("x" * 250_000, tags=[["t", "y" * 250_000], ["t", "z"]])
    request = ALICE.event(kind=5, tags=[["e", event.id]])
    await store.save_many([event])
    await store.save_many([request])
    assert await ask_raw(store, Filter(), Filter(tags=(("t", frozenset(["z"])),))) == [encode(request)]


@pytest.mark.slow
def test_any_text_comes_back_byte_by_byte(backend: Backend) -> None:
    @settings(max_examples=examples(backend.examples))
    @given(unicode_texts, st.lists(st.lists(unicode_texts, max_size=3), max_size=3))
    def check(content: str, tags: list[list[str]]) -> None:
        event = ALICE.event(content, tags=tags)

        async def main() -> None:
            async with backend.open() as store:
                await store.save_many([event])
                assert await ask_raw(store, Filter()) == [encode(event)]

        trio.run(main)

    check()
