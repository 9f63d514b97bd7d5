"""Keys by which tags and addresses are found: short, and different for what is different."""

from __future__ import annotations

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import unicode_texts
from trio_relay.store.sqlite.rows import address_key, tag_key

HEX = "0123456789abcdef" * 4
texts = unicode_texts | st.sampled_from([HEX, HEX.upper(), "x" * 64, "x" * 65, "é" * 32, "é" * 33, "\x00" * 65])
letters = st.sampled_from("abyzABYZ")


@pytest.mark.parametrize("value", ["", "x", "é", HEX, HEX.upper(), HEX[:62], "x" * 64, "x" * 65, "x" * 1_000_000])
def test_a_key_has_16_bytes_whatever_its_values_length(value: str) -> None:
    assert len(tag_key("t", value)) == 16


@pytest.mark.parametrize("value", ["", "x", "é", HEX, "\0", "x" * 1_000_000])
def test_a_key_is_what_files_already_hold(value: str) -> None:
    """Another one would find nothing of what was stored before."""
    assert tag_key("t", value) == blake2b(b"t" + value.encode(), digest_size=16).digest()


@given(letters, texts, letters, texts)
def test_two_keys_are_equal_only_if_letter_and_value_are(letter: str, value: str, other: str, another: str) -> None:
    assert (tag_key(letter, value) == tag_key(other, another)) == ((letter, value) == (other, another))


@given(letters, st.binary(min_size=32, max_size=32), letters)
def test_the_bytes_of_an_id_are_not_taken_for_its_text(letter: str, raw: bytes, other: str) -> None:
    assert tag_key(letter, raw.hex()) != tag_key(other, raw.decode("latin-1"))


def test_an_address_has_32_bytes_whatever_its_length() -> None:
    assert len(address_key("30023:" + "a" * 64 + ":" + "d" * 10_000)) == 32
