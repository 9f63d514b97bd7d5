"""Keys by which tags and addresses are found: short, and different for what is different."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.keys import ALICE
from tests.strategies import unicode_texts
from trio_relay.store.sqlite.records import address_key, tag_key, tag_keys

HEX = "0123456789abcdef" * 4
texts = unicode_texts | st.sampled_from([HEX, HEX.upper(), "x" * 64, "x" * 65, "é" * 32, "é" * 33, "\x00" * 65])
letters = st.sampled_from("abyzABYZ")


@pytest.mark.parametrize(
    ("value", "length"),
    [
        ("", 1),
        ("x", 2),
        ("é", 3),
        (HEX, 33),
        (HEX.upper(), 65),
        (HEX[:62], 63),
        ("x" * 64, 65),
        ("x" * 65, 34),
        ("é" * 33, 34),
        ("x" * 1_000_000, 34),
    ],
)
def test_a_key_is_short(value: str, length: int) -> None:
    assert len(tag_key("t", value)) == length


@given(letters, texts, letters, texts)
def test_two_keys_are_equal_only_if_letter_and_value_are(letter: str, value: str, other: str, another: str) -> None:
    assert (tag_key(letter, value) == tag_key(other, another)) == ((letter, value) == (other, another))


@given(letters, st.binary(min_size=32, max_size=32), letters)
def test_the_bytes_of_an_id_are_not_taken_for_its_text(letter: str, raw: bytes, other: str) -> None:
    assert tag_key(letter, raw.hex()) != tag_key(other, raw.decode("latin-1"))


def test_an_event_has_a_key_for_each_tag_that_filters_can_ask_for() -> None:
    event = ALICE.event(tags=[["t", "x"], ["t", "x", "y"], ["T", "x"], ["e", HEX], ["title", "x"], ["t"], []])
    assert tag_keys(event) == {b"tx", b"Tx", b"\xe5" + bytes.fromhex(HEX)}


def test_an_address_has_32_bytes_whatever_its_length() -> None:
    assert len(address_key("30023:" + "a" * 64 + ":" + "d" * 10_000)) == 32
