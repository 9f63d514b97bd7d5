"""Whole negentropy sessions: both sides here, on two sets (NIP-77)."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Collection as Sized
from hashlib import sha256
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.negentropy.items import Items, ItemSet, record
from trio_relay.nostr.negentropy.protocol import LEAST_FRAME, initiate, reconcile, reply
from trio_relay.nostr.negentropy.wire import (
    FINGERPRINT,
    ID_LIST,
    INFINITY,
    SKIP,
    Range,
    WireWriter,
    fingerprint,
    read_ranges,
    varint,
)

Item = tuple[int, bytes]


class Outcome(NamedTuple):
    have: list[bytes]
    need: list[bytes]
    messages: list[bytes]
    """Both sides' in turn."""


def items_of(items: Sized[Item]) -> Items:
    collection = ItemSet()
    collection.extend(b"".join(record(*item) for item in items))
    return collection.snapshot()


def event_id(number: int) -> bytes:
    return sha256(str(number).encode()).digest()


def numbered(*numbers: int) -> list[Item]:
    """Three items share each time."""
    return [(number // 3 * 7, event_id(number)) for number in numbers]


def session(client: Items, server: Items, client_limit: int = 0, server_limit: int = 0) -> Outcome:
    outcome = Outcome([], [], [])
    message: bytes | None = initiate(client)
    while message is not None:
        answer = reply(server, message, server_limit)
        outcome.messages.extend([message, answer])
        message, have, need = reconcile(client, answer, client_limit)
        outcome.have.extend(have)
        outcome.need.extend(need)
        assert len(outcome.messages) < 1_000, "no end"
    return outcome


def assert_differences_are_found(client: Sized[Item], server: Sized[Item], outcome: Outcome) -> None:
    assert set(outcome.have) == {one for _, one in client} - {one for _, one in server}
    assert set(outcome.need) == {one for _, one in server} - {one for _, one in client}


spread = st.tuples(st.integers(0, 2**33 - 1), st.binary(min_size=32, max_size=32))
crowded = st.tuples(st.integers(0, 2), st.integers(0, 2_000).map(event_id))
alike = st.tuples(
    st.just(5), st.builds(int.to_bytes, st.integers(0, 2_000), st.just(32), st.sampled_from(["big", "little"]))
)


@st.composite
def two_sets(draw: st.DrawFn) -> tuple[list[Item], list[Item]]:
    """Up to 900 items that both have, and up to 60 that one has; either side may have none at all."""
    size, first = draw(st.integers(0, 900)), draw(st.integers(0, 2_000))
    times_shared = draw(st.sampled_from([1, 3, 1_000]))
    shared = [(number // times_shared, event_id(number)) for number in range(first, first + size)]
    own = draw(st.lists(spread | crowded | alike, max_size=60, unique_by=lambda item: item[1]))
    known = {one for _, one in shared}
    own = [item for item in own if item[1] not in known]
    cut = draw(st.integers(0, len(own)))
    sides = [*own[:cut], *shared], [*own[cut:], *shared]
    missing = draw(st.sampled_from([0, 0, 0, 1, 2]))
    return ([] if missing == 1 else sides[0]), ([] if missing == 2 else sides[1])


@pytest.mark.slow
@given(two_sets())
def test_any_two_sets_find_their_differences(sets: tuple[list[Item], list[Item]]) -> None:
    """Each message splits by 16 what differs, so that lists of ids end it soon."""
    client, server = sets
    outcome = session(items_of(client), items_of(server))
    assert_differences_are_found(client, server, outcome)
    assert len(outcome.have) + len(outcome.need) == len(set(client) ^ set(server))
    assert len(outcome.messages) <= 6


limits = st.sampled_from([0, 4_096, 4_097, 5_000, 9_000])


@pytest.mark.slow
@given(two_sets(), limits, limits)
def test_differences_are_found_in_messages_of_limited_size(
    sets: tuple[list[Item], list[Item]], client_limit: int, server_limit: int
) -> None:
    client, server = sets
    outcome = session(items_of(client), items_of(server), client_limit, server_limit)
    assert_differences_are_found(client, server, outcome)
    assert all(len(message) <= (client_limit or 10**9) for message in outcome.messages[::2])
    assert all(len(message) <= (server_limit or 10**9) for message in outcome.messages[1::2])


@pytest.mark.parametrize("number", [0, 1, 31, 32, 1_000])
def test_equal_sets_are_known_to_be_equal_after_one_answer(number: int) -> None:
    items = items_of(numbered(*range(number)))
    outcome = session(items, items)
    assert (outcome.have, outcome.need, len(outcome.messages)) == ([], [], 2)
    assert (outcome.messages[1] == b"\x61") == (number >= 32), "fingerprints that agree are not answered"


@pytest.mark.parametrize(
    ("number", "limit", "digest"),
    [
        (0, 0, "887614dc3c68c1cc2649c7821305018918ed9a2e1540bdca72364a875ee8be8b"),
        (20, 4_096, "bc32f733bf944ca12539882240cf06d1be31de98d79923a80331a9ac4a58b2d4"),
        (100, 0, "938bb7c3c6f6b8ab52e10dd860122a3fe35277f15b8443cccfa3e7cdd514ec04"),
        (300, 4_096, "51d7ca567433e180a794585a1049fce7440f7484e31d99072a2c686d733bfc70"),
        (500, 4_096, "71873fd28276f8340828b7187ed25ad4cb2fd0e44434604cf235b935df568eac"),
        (500, 8_192, "e46cb8991a85ad2c5267ce5d30aa7ff89e2c10450f4596e6f162eaf6fc9378ef"),
        (2_000, 0, "256a229f4aa94c5b03e7c9cefa0c7895b566c3fe2b124eccc53176939a9c78bd"),
    ],
)
def test_all_messages_are_those_of_another_implementation(number: int, limit: int, digest: str) -> None:
    """Taken from sessions of rust-nostr's negentropy 0.5.3 with itself."""
    client = items_of(numbered(*(one for one in range(number) if one % 10)))
    server = items_of(numbered(*(one for one in range(number) if one % 7)))
    assert sha256(b"".join(session(client, server, limit, limit).messages)).hexdigest() == digest


def message_of(*ranges: Range) -> bytes:
    writer = WireWriter()
    for one in ranges:
        writer.put(*one)
    return bytes(writer)


def at(time: int) -> bytes:
    return time.to_bytes(8, "big")


def naive_fingerprint(ids: list[bytes]) -> bytes:
    return fingerprint(sum(int.from_bytes(one, "little") for one in ids), len(ids))


SERVED = [(number, event_id(number)) for number in range(100)]
SERVER = items_of(SERVED)
WRONG = bytes(16)


def test_ranges_of_which_nothing_is_to_be_said_become_one_and_the_last_are_left_out() -> None:
    asked = message_of(
        Range(at(10), FINGERPRINT, naive_fingerprint([event_id(number) for number in range(10)])),
        Range(at(20), SKIP, b""),
        Range(at(22), ID_LIST, b""),
        Range(at(30), SKIP, b""),
        Range(at(31), FINGERPRINT, WRONG),
        Range(at(40), SKIP, b""),
    )
    assert list(read_ranges(reply(SERVER, asked))) == [
        Range(at(20), SKIP, b""),
        Range(at(22), ID_LIST, event_id(20) + event_id(21)),
        Range(at(30), SKIP, b""),
        Range(at(31), ID_LIST, event_id(30)),
    ]


@pytest.mark.parametrize(("number", "modes"), [(31, [ID_LIST]), (32, [FINGERPRINT] * 16)])
def test_from_32_items_on_a_range_is_split(number: int, modes: list[int]) -> None:
    ranges = list(read_ranges(reply(SERVER, message_of(Range(at(number), FINGERPRINT, WRONG)))))
    assert [one.mode for one in ranges] == modes
    assert ranges[-1].bound == at(number)


def test_the_first_of_16_parts_are_one_larger_when_the_number_is_no_multiple() -> None:
    ranges = list(read_ranges(reply(SERVER, message_of(Range(INFINITY, FINGERPRINT, WRONG)))))
    ends = [7, 14, 21, 28, *range(34, 101, 6)]
    assert [one.bound for one in ranges] == [*map(at, ends[:-1]), INFINITY]
    starts = [0, *ends[:-1]]
    assert [one.payload for one in ranges] == [
        naive_fingerprint([one for _, one in SERVED[start:end]]) for start, end in zip(starts, ends, strict=True)
    ]


def test_ids_without_room_are_told_as_a_fingerprint_of_the_rest() -> None:
    server = items_of(numbered(*range(1_000)))
    first, rest = read_ranges(reply(server, message_of(Range(INFINITY, ID_LIST, b"")), LEAST_FRAME))
    told = len(first.payload) // 32
    assert told == 122, "3,896 bytes, and one more id"
    assert first == Range(server.record(told).rstrip(b"\0"), ID_LIST, server.ids(0, told))
    untold = [server.record(index)[8:] for index in range(told, 1_000)]
    assert rest == Range(INFINITY, FINGERPRINT, naive_fingerprint(untold))


def test_a_split_without_room_is_told_as_a_fingerprint_from_its_beginning() -> None:
    """What was skipped before it is not asked for again."""
    server = items_of([(number, event_id(number)) for number in range(1_000)])
    asked = message_of(
        Range(at(115), ID_LIST, b""),
        Range(at(200), SKIP, b""),
        Range(at(600), FINGERPRINT, WRONG),
        Range(INFINITY, FINGERPRINT, WRONG),
    )
    assert list(read_ranges(reply(server, asked, LEAST_FRAME))) == [
        Range(at(115), ID_LIST, server.ids(0, 115)),
        Range(at(200), SKIP, b""),
        Range(INFINITY, FINGERPRINT, naive_fingerprint([event_id(number) for number in range(200, 1_000)])),
    ]


def test_items_at_the_end_are_found_though_their_range_has_no_room() -> None:
    """The client has nothing there: a fingerprint that begins behind what had no room would agree with it."""
    client = [(number, event_id(number)) for number in range(115)]
    server = [*client, *((number, event_id(number)) for number in range(200, 230))]
    asked = message_of(Range(at(115), ID_LIST, b""), Range(INFINITY, FINGERPRINT, naive_fingerprint([])))
    answer = reply(items_of(server), asked, LEAST_FRAME)
    message, _, need = reconcile(items_of(client), answer)
    assert need == []
    assert message is not None
    _, _, need = reconcile(items_of(client), reply(items_of(server), message, LEAST_FRAME))
    assert need == [event_id(number) for number in range(200, 230)]


@pytest.mark.parametrize("limit", [1, LEAST_FRAME - 1])
def test_a_limit_below_the_least_is_a_mistake_of_the_caller(limit: int) -> None:
    with pytest.raises(ValueError, match="a frame has at least 4096 bytes"):
        reply(SERVER, b"\x61", limit)
    with pytest.raises(ValueError, match="a frame has at least 4096 bytes"):
        reconcile(SERVER, b"\x61", limit)


def test_ids_that_come_twice_are_needed_once() -> None:
    new = event_id(1_000)
    answer = message_of(Range(at(1), ID_LIST, new + new + event_id(0)), Range(at(2), ID_LIST, b""))
    assert reconcile(SERVER, answer) == (None, [event_id(1)], [new])


valid = [
    initiate(SERVER),
    reply(SERVER, initiate(items_of(SERVED[:50]))),
    reply(SERVER, message_of(Range(at(7), ID_LIST, b""))),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid message in which bytes were replaced, cut out, or put in."""
    data = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(1, len(data)))
        data = data[:start] + draw(st.binary(max_size=3)) + data[start + draw(st.integers(0, 3)) :]
    return data


numbers = st.integers(0, 3) | st.integers(0, 2**70)
garbage = st.lists(numbers.map(varint) | st.binary(max_size=20), max_size=8).map(b"".join)


def answer_or_prefix(answer: Callable[[], bytes | None]) -> bytes | Prefix:
    try:
        return answer() or b"\x61"
    except Rejected as refusal:
        return refusal.prefix


@pytest.mark.slow
@given(st.binary(max_size=100) | damaged() | garbage.map(b"\x61".__add__), limits)
def test_whatever_comes_in_is_refused_or_answered_with_what_can_be_read(message: bytes, limit: int) -> None:
    for answer in (
        answer_or_prefix(lambda: reply(SERVER, message, limit)),
        answer_or_prefix(lambda: reconcile(SERVER, message, limit).message),
    ):
        if isinstance(answer, Prefix):
            assert answer is Prefix.INVALID
        else:
            assert len(answer) <= (limit or 10**9)
            assert all(one.bound for one in read_ranges(answer))
