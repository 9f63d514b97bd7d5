"""Negentropy's bytes: varints, bounds, ranges, fingerprints, and what is no message (NIP-77; version 1)."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.negentropy.items import ItemSet, record
from trio_relay.nostr.negentropy.protocol import initiate, reconcile, reply
from trio_relay.nostr.negentropy.wire import (
    FINGERPRINT,
    ID_LIST,
    INFINITY,
    SKIP,
    Range,
    WireWriter,
    bound_between,
    fingerprint,
    read_ranges,
    varint,
)

EMPTY = ItemSet().snapshot()
A, B = b"\xaa" * 32, b"\xbb" * 32
F = bytes(range(16))


def bound(time: int, prefix: bytes = b"") -> bytes:
    return time.to_bytes(8, "big") + prefix


def written(*ranges: Range) -> bytes:
    writer = WireWriter()
    for one in ranges:
        writer.put(*one)
    return bytes(writer)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "8100"),
        (255, "817f"),
        (16_383, "ff7f"),
        (16_384, "818000"),
        (2**32, "9080808000"),
        (2**64 - 1, "81ffffffffffffffff7f"),
    ],
)
def test_a_number_has_these_digits(number: int, text: str) -> None:
    assert varint(number).hex() == text


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (Range(INFINITY, SKIP, b""), "61 0000 00"),
        (Range(INFINITY, FINGERPRINT, F), "61 0000 01" + F.hex()),
        (Range(INFINITY, ID_LIST, b""), "61 0000 02 00"),
        (Range(INFINITY, ID_LIST, A + B), "61 0000 02 02" + A.hex() + B.hex()),
        (Range(INFINITY, ID_LIST, A * 128), "61 0000 02 8100" + A.hex() * 128),
        (Range(bound(0), SKIP, b""), "61 0100 00"),
        (Range(bound(1), SKIP, b""), "61 0200 00"),
        (Range(bound(126), SKIP, b""), "61 7f00 00"),
        (Range(bound(127), SKIP, b""), "61 810000 00"),
        (Range(bound(2**64 - 2), SKIP, b""), "61 81ffffffffffffffff7f 00 00"),
        (Range(bound(4, b"\xab\xcd"), SKIP, b""), "61 05 02 abcd 00"),
        (Range(bound(4, A), SKIP, b""), "61 05 20" + A.hex() + "00"),
    ],
)
def test_a_message_of_one_range_has_these_bytes(one: Range, text: str) -> None:
    message = bytes.fromhex(text)
    assert written(one) == message
    assert list(read_ranges(message)) == [one]


def test_times_are_told_as_steps_from_the_bound_before() -> None:
    ranges = [
        Range(bound(1_000), SKIP, b""),
        Range(bound(1_000, b"\x01"), FINGERPRINT, F),
        Range(bound(1_001), ID_LIST, A),
        Range(INFINITY, SKIP, b""),
    ]
    message = bytes.fromhex("61 876900 00 010101 01" + F.hex() + "0200 0201" + A.hex() + "0000 00")
    assert written(*ranges) == message
    assert list(read_ranges(message)) == ranges


def test_zeros_that_end_a_bound_say_nothing() -> None:
    assert list(read_ranges(bytes.fromhex("61 0503 ab0000 00 0501 00 00"))) == [
        Range(bound(4, b"\xab"), SKIP, b""),
        Range(bound(8), SKIP, b""),
    ]


def test_a_range_may_be_empty_and_what_is_behind_infinity_is() -> None:
    message = bytes.fromhex("61 0501ab 00 0101ab 00 0000 00 0000 00")
    assert [one.bound for one in read_ranges(message)] == [bound(4, b"\xab")] * 2 + [INFINITY] * 2


def test_what_was_put_in_after_a_mark_is_taken_back() -> None:
    writer = WireWriter()
    writer.put(bound(5), SKIP)
    mark = writer.mark()
    writer.put(bound(100, A), ID_LIST, A)
    writer.cut(mark)
    writer.put(bound(6), SKIP)
    assert bytes(writer).hex() == "61060000" + "020000"
    assert len(writer) == 7


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        (record(1, B), record(2, A), bound(2)),
        (record(1, A), record(256, A), bound(256)),
        (record(1, A), record(1, B), bound(1, b"\xbb")),
        (record(1, A), record(1, b"\xaa\xab" + A[2:]), bound(1, b"\xaa\xab")),
        (record(1, A), record(1, A[:31] + b"\xab"), bound(1, A[:31] + b"\xab")),
    ],
)
def test_a_bound_between_two_records_is_as_short_as_can_be(lower: bytes, upper: bytes, expected: bytes) -> None:
    assert bound_between(lower, upper) == expected
    assert lower < expected <= upper


@pytest.mark.parametrize(
    ("ids_sum", "number", "text"),
    [
        (0, 0, sha256(bytes(33)).hexdigest()[:32]),
        (0, 0, "7f9c9e31ac8256ca2f258583df262dbc"),
        (1, 1, sha256(b"\x01" + bytes(31) + b"\x01").hexdigest()[:32]),
        (2**256 + 256, 128, sha256(b"\0\x01" + bytes(30) + b"\x81\0").hexdigest()[:32]),
        (-1, 2, sha256(b"\xff" * 32 + b"\x02").hexdigest()[:32]),
    ],
)
def test_a_fingerprint_is_half_a_hash_of_sum_and_number(ids_sum: int, number: int, text: str) -> None:
    assert fingerprint(ids_sum, number).hex() == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a message begins with its version"),
        ("5f", "a message begins with its version"),
        ("70", "a message begins with its version"),
        ("61 81", "the message ends within a number"),
        ("61 01", "the message ends within a number"),
        ("61 0100", "the message ends within a number"),
        ("61 0102 aa", "the message ends within a range"),
        ("61 0000 01" + "00" * 15, "the message ends within a range"),
        ("61 0000 02", "the message ends within a number"),
        ("61 0000 02 02" + "00" * 63, "the message ends within a range"),
        ("61 0000 02 81ffffffffffffffff7f", "the message ends within a range"),
        ("61 8001 00 00", "a number begins with a zero digit"),
        ("61 0000 8000", "a number begins with a zero digit"),
        ("61 8280808080808080800000 00 00", "a number has at most 64 bits"),
        ("61" + "ff" * 10_000, "a number has at most 64 bits"),
        ("61 81ffffffffffffffff7f 00 00 02 00 00", "a time has at most 64 bits"),
        ("61 0000 00 01 00 00", "a time has at most 64 bits"),
        ("61 01 21" + "00" * 33 + "00", "a bound has at most 32 bytes of an id, the infinite one none"),
        ("61 00 01 aa 00", "a bound has at most 32 bytes of an id, the infinite one none"),
        ("61 0000 03", "mode 3 is unknown"),
        ("61 0501 ab 00 0101 aa 00", "a range ends before it begins"),
        ("61 0501 ab 00 0100 00", "a range ends before it begins"),
    ],
)
def test_what_breaks_the_format_is_refused(text: str, reason: str) -> None:
    for answer in (reply, reconcile):
        with pytest.raises(Rejected) as refusal:
            answer(EMPTY, bytes.fromhex(text))
        assert refusal.value.prefix is Prefix.INVALID
        assert refusal.value.reason == f"negentropy: {reason}"


@pytest.mark.parametrize("first", [0x60, 0x62, 0x6F])
def test_another_version_is_answered_with_ours(first: int) -> None:
    """The client may then try again in a version that both know; as its own answer it is of no use to a client."""
    message = bytes([first]) + b"whatever follows"
    assert reply(EMPTY, message) == b"\x61"
    with pytest.raises(Rejected, match=f"the version {first:#x} is unknown"):
        reconcile(EMPTY, message)


def test_a_set_without_items_begins_with_an_empty_list() -> None:
    assert initiate(EMPTY).hex() == "6100000200"


times = st.integers(0, 2**64 - 2) | st.integers(0, 3)
prefixes = st.binary(max_size=32) | st.binary(min_size=32, max_size=32)
bounds = st.builds(bound, times, prefixes.map(lambda prefix: prefix.rstrip(b"\0"))) | st.just(INFINITY)
contents = st.one_of(
    st.just((SKIP, b"")),
    st.tuples(st.just(FINGERPRINT), st.binary(min_size=16, max_size=16)),
    st.tuples(st.just(ID_LIST), st.lists(st.binary(min_size=32, max_size=32), max_size=3).map(b"".join)),
)


@pytest.mark.slow
@given(st.lists(bounds, max_size=6).map(sorted), st.data())
def test_what_was_written_is_what_is_read(ends: list[bytes], data: st.DataObject) -> None:
    ranges = [Range(end, *data.draw(contents)) for end in ends]
    assert list(read_ranges(written(*ranges))) == ranges
