"""Numbers, times and keys as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import ALICE
from trio_relay.net import web
from trio_relay.nostr import nip19

READ = web.readable.FILTERS


@pytest.mark.parametrize(
    ("how", "value", "text"),
    [
        ("count", 0, "0"),
        ("count", 12_345, "12,345"),
        ("count", 1_234.5, "1,234"),
        ("count", 12.34, "12.3"),
        ("count", 0.01234, "0.012"),
        ("count", None, "\u2013"),
        ("size", 0, "0 B"),
        ("size", 999, "999 B"),
        ("size", 1_500, "1.5 kB"),
        ("size", 250_000_000, "250 MB"),
        ("size", 5e15, "5,000 TB"),
        ("size", None, "\u2013"),
        ("lasting", 0, "0 s"),
        ("lasting", 0.00084, "840 µs"),
        ("lasting", 0.0123, "12.3 ms"),
        ("lasting", 3.4, "3.4 s"),
        ("lasting", 7_500, "2 h 5 min"),
        ("lasting", 90_000, "1 d 1 h"),
        ("lasting", None, "\u2013"),
        ("share", 0.0712, "7.12 %"),
        ("share", None, "\u2013"),
        ("moment", 0, "1970-01-01 00:00:00"),
        ("stamp", 0, "1970-01-01T00:00:00Z"),
        ("moment", -1, "-1"),
        ("stamp", 10**18, ""),
        ("short", "a" * 64, "a" * 10 + "…" + "a" * 9),
        ("short", "abc", "abc"),
        ("npub", ALICE.pubkey, nip19.npub_of(ALICE.pubkey)),
        ("npub", "operator", "operator"),
        ("as_json", {"a": ["<"]}, '{"a":["<"]}'),
        ("pretty", {"a": 1}, '{\n  "a": 1\n}'),
    ],
)
def test_each_is_written_so(how: str, value: Any, text: str) -> None:
    assert READ[how](value) == text


def test_one_is_not_many() -> None:
    assert [READ["of"](number, "event") for number in (0, 1, 2_000)] == ["0 events", "1 event", "2,000 events"]


@given(seconds=st.integers(0, 253_402_300_799))
def test_a_stamp_is_the_time_that_it_was_made_of(seconds: int) -> None:
    read = datetime.fromisoformat(READ["stamp"](seconds))
    assert read == datetime.fromtimestamp(seconds, UTC)


@given(number=st.floats(0, 1e18) | st.integers(0, 10**18))
@pytest.mark.parametrize("how", sorted(web.readable.FORMS))
def test_any_quantity_is_a_short_text(how: str, number: float) -> None:
    text = READ[how](number)
    assert text.isprintable()
    assert len(text) < 40
