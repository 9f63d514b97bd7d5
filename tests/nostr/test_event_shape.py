"""The values that the fields of an event can have, and the JSON that it is stored and sent as."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import ALICE
from tests.support.strategies import unicode_texts
from trio_relay.nostr.event import MAX_TIME, Event, check_shape, decode, encode, is_hex, is_hex64
from trio_relay.nostr.kinds import MAX_KIND

VALID = ALICE.event("hello", tags=[["t", "x"]])
ID = "id must be 64 lowercase hex characters"
PUBKEY = "pubkey must be 64 lowercase hex characters"
SIG = "sig must be 128 lowercase hex characters"
KIND = "kind must be between 0 and 65535"
CREATED_AT = "created_at must be between 0 and 8589934591"


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"id": "0123456789abcdef" * 4, "pubkey": "0" * 64, "sig": "f" * 128},
        {"kind": 0},
        {"kind": MAX_KIND},
        {"created_at": 0},
        {"created_at": MAX_TIME},
        {"tags": [[], [""]], "content": "\0"},
    ],
    ids=str,
)
def test_every_value_that_can_be_is_taken(change: dict[str, object]) -> None:
    assert check_shape(msgspec.structs.replace(VALID, **change)) is None


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"id": "a" * 63}, ID),
        ({"id": "a" * 65}, ID),
        ({"id": ""}, ID),
        ({"id": "A" * 64}, ID),
        ({"id": "a" * 63 + "g"}, ID),
        ({"id": "a" * 63 + "\n"}, ID),
        ({"id": "a" * 64 + "\n"}, ID),
        ({"id": "\uff11" * 64}, ID),
        ({"id": "a" * 63, "pubkey": "a" * 65}, ID),
        ({"id": "a" * 65, "sig": "a" * 127}, ID),
        ({"id": "", "pubkey": "", "sig": "", "kind": -1, "created_at": -1}, ID),
        ({"pubkey": "a" * 63}, PUBKEY),
        ({"pubkey": "a" * 65}, PUBKEY),
        ({"pubkey": "a" * 63, "sig": "a" * 129}, PUBKEY),
        ({"pubkey": VALID.pubkey.upper()}, PUBKEY),
        ({"pubkey": "02" + VALID.pubkey}, PUBKEY),
        ({"pubkey": "x" * 64, "sig": "x" * 128}, PUBKEY),
        ({"sig": "a" * 127}, SIG),
        ({"sig": "a" * 129}, SIG),
        ({"sig": ""}, SIG),
        ({"sig": VALID.sig.upper()}, SIG),
        ({"sig": "a" * 127 + " "}, SIG),
        ({"kind": -1}, KIND),
        ({"kind": MAX_KIND + 1}, KIND),
        ({"kind": -1, "created_at": -1}, KIND),
        ({"created_at": -1}, CREATED_AT),
        ({"created_at": MAX_TIME + 1}, CREATED_AT),
    ],
    ids=str,
)
def test_a_value_that_cannot_be_is_named(change: dict[str, object], fault: str) -> None:
    assert check_shape(msgspec.structs.replace(VALID, **change)) == fault


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0" * 64, True), ("f" * 64, True), ("F" * 64, False), ("0" * 63, False), ("0" * 65, False), ("", False)],
)
def test_is_hex64_knows_one_spelling(text: str, expected: bool) -> None:
    assert is_hex64(text) is expected


@given(st.text("0123456789abcdefABF g-\n\x00\u0661\ud800é", max_size=12) | st.text("0123456789abcdef", max_size=12))
def test_hex_is_what_the_pattern_says(text: str) -> None:
    assert is_hex(text) is (re.fullmatch("(?:[0-9a-f]{2})*", text) is not None)


def test_an_event_is_sent_as_its_seven_fields_in_order_on_one_line() -> None:
    event = Event("1" * 64, "2" * 64, 3, 4, [["t", "é"], []], "a\n\0\x0b\u2028/😀", "5" * 128)
    expected = (
        f'{{"id":"{"1" * 64}","pubkey":"{"2" * 64}","created_at":3,"kind":4,"tags":[["t","é"],[]],'
        f'"content":"a\\n\\u0000\\u000b\u2028/😀","sig":"{"5" * 128}"}}'
    )
    assert encode(event).decode() == expected


@pytest.mark.slow
@given(st.lists(st.lists(unicode_texts, max_size=3), max_size=3), unicode_texts)
def test_an_event_comes_back_from_its_json_as_it_was(tags: list[list[str]], content: str) -> None:
    event = msgspec.structs.replace(VALID, tags=tags, content=content)
    assert decode(encode(event)) == event
    assert b"\n" not in encode(event)
