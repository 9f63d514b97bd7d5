"""Sets of items against a naive twin, and what a snapshot is."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.support.marks import examples
from trio_relay.nostr.negentropy import items
from trio_relay.nostr.negentropy.items import MODULUS, MOST_RECORDS, Items, ItemSet, record, sum_of_ids

Item = tuple[int, bytes]


def numbered(number: int) -> Item:
    return number, sha256(str(number).encode()).digest()


def joined(items: Iterable[Item]) -> bytes:
    return b"".join(record(*item) for item in items)


def collection_of(items: Iterable[Item]) -> ItemSet:
    collection = ItemSet()
    collection.extend(joined(items))
    return collection


def content(items: Items) -> list[bytes]:
    return [items.record(index) for index in range(len(items))]


def naive_sum(ids: Iterable[bytes]) -> int:
    return sum(int.from_bytes(one, "little") for one in ids) % MODULUS


def assert_is(items: Items, expected: list[Item]) -> None:
    """All that can be asked of these items is as of the sorted list."""
    number = len(expected)
    assert content(items) == [record(*one) for one in expected]
    for lower, upper in [(0, number), (number // 3, number // 2), (number // 2, number), (number, number)]:
        ids = [one for _, one in expected[lower:upper]]
        assert items.ids(lower, upper) == b"".join(ids)
        assert (items.sum_before(upper) - items.sum_before(lower)) % MODULUS == naive_sum(ids)


def test_a_record_is_the_time_and_the_id() -> None:
    assert record(0x0102, bytes(range(32))).hex() == "0000000000000102" + bytes(range(32)).hex()


@pytest.mark.parametrize("number", [0, 1, 2, 3, 255, 256, 257, MOST_RECORDS - 1, MOST_RECORDS])
@pytest.mark.parametrize("one", [bytes(32), b"\xff" * 32, b"\x01" + bytes(31), bytes(31) + b"\x80"])
def test_ids_are_added_up_whatever_their_times(number: int, one: bytes) -> None:
    """All bits set is where most is carried over."""
    assert sum_of_ids(record(2**64 - 2, one) * number) == number * int.from_bytes(one, "little") % MODULUS


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 2**64 - 2), st.binary(min_size=32, max_size=32)), max_size=40))
def test_the_sum_of_any_ids_is_the_naive_one(items: list[Item]) -> None:
    assert sum_of_ids(joined(items)) == naive_sum(one for _, one in items)


def test_an_empty_set_has_nothing_to_find() -> None:
    items = ItemSet().snapshot()
    assert_is(items, [])
    assert (items.find(bytes(8)), items.find(b"\xff" * 8)) == (0, 0)
    assert not ItemSet().discard(*numbered(1))


def test_items_stand_in_the_order_of_time_then_id() -> None:
    low, high = bytes(32), b"\xff" * 32
    assert content(collection_of([(256, low), (1, high), (2, low), (1, low)]).snapshot()) == [
        record(1, low),
        record(1, high),
        record(2, low),
        record(256, low),
    ]


def test_one_item_is_added_once_and_taken_out_once() -> None:
    collection = ItemSet()
    assert collection.add(*numbered(1))
    assert not collection.add(*numbered(1))
    assert len(collection) == 1
    assert not collection.discard(1, numbered(2)[1])
    assert collection.discard(*numbered(1))
    assert not collection.discard(*numbered(1))
    assert len(collection) == 0
    assert collection.add(*numbered(2))
    assert_is(collection.snapshot(), [numbered(2)])


def test_a_snapshot_stays_what_it_was() -> None:
    collection = collection_of(map(numbered, range(100)))
    before = collection.snapshot()
    collection.add(*numbered(100))
    collection.discard(*numbered(50))
    collection.extend(joined(map(numbered, range(200, 250))))
    assert_is(before, [numbered(number) for number in range(100)])
    assert len(collection.snapshot()) == len(collection) == 150


def test_snapshots_without_a_change_between_share_all_they_have() -> None:
    collection = collection_of(map(numbered, range(100)))
    assert collection.snapshot()._all is collection.snapshot(since=5)._all


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, range(10, 20)),
        (0, None, range(10, 20)),
        (12, None, range(12, 20)),
        (None, 12, range(10, 13)),
        (12, 12, range(12, 13)),
        (13, 12, range(0)),
        (19, 2**64 - 2, range(19, 20)),
        (20, None, range(0)),
        (None, 9, range(0)),
    ],
)
def test_a_snapshot_of_a_time_has_its_items_from_end_to_end(
    since: int | None, until: int | None, expected: range
) -> None:
    items = collection_of(map(numbered, range(10, 20))).snapshot(since, until)
    assert_is(items, [numbered(number) for number in expected])
    assert [items.find(record(*numbered(number))) for number in expected] == list(range(len(expected)))
    assert (items.find(bytes(8)), items.find(b"\xff" * 8)) == (0, len(expected))


def test_a_bound_is_found_before_the_first_item_that_is_not_below_it() -> None:
    one = numbered(12)[1]
    items = collection_of([numbered(11), (12, one), numbered(13)]).snapshot()
    time = (12).to_bytes(8, "big")
    assert [items.find(time + one[:size]) for size in (0, 1, 31, 32)] == [1, 1, 1, 1]
    assert [items.find(bound) for bound in (time + b"\xff", time + one + b"\0", (13).to_bytes(8, "big"))] == [2, 2, 2]


@pytest.mark.parametrize("page", [1, 7, 1_000, 10_000])
@pytest.mark.parametrize("order", ["oldest first", "newest first", "jumbled"])
def test_many_items_in_pages_of_any_order_become_one_sorted_set(page: int, order: str) -> None:
    expected = [numbered(number) for number in range(3_000)]
    items = sorted(expected, key=lambda item: item[1] if order == "jumbled" else item, reverse=order == "newest first")
    collection = ItemSet()
    for start in range(0, len(items), page):
        collection.extend(joined(items[start : start + page]))
        collection.extend(joined(items[start : start + page : 2]))
    assert len(collection) == 3_000
    assert_is(collection.snapshot(), expected)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "MOST_RECORDS", 8)


@pytest.mark.usefixtures("small_blocks")
def test_what_is_left_of_many_items_stands_in_few_blocks() -> None:
    """Otherwise a set from which most is taken would keep a block for each that stays."""
    collection = collection_of(map(numbered, range(800)))
    for number in range(800):
        if number % 100:
            collection.discard(*numbered(number))
    assert_is(collection.snapshot(), [numbered(number) for number in range(0, 800, 100)])
    assert len(collection._blocks) <= 8
    for number in range(0, 800, 100):
        collection.discard(*numbered(number))
    assert (len(collection), collection._blocks) == (0, [])


few_items = st.integers(0, 120).map(numbered) | st.tuples(st.just(60), st.integers(0, 50).map(lambda n: numbered(n)[1]))


class Changes(RuleBasedStateMachine):
    """Random changes, with blocks so small that they are split and joined; all snapshots stay as they were."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(items, "MOST_RECORDS", 8)
        self.collection = ItemSet()
        self.twin: set[Item] = set()
        self.snapshots: list[tuple[Items, list[Item]]] = []

    def teardown(self) -> None:
        self.patch.undo()

    @rule(one=few_items)
    def add(self, one: Item) -> None:
        assert self.collection.add(*one) == (one not in self.twin)
        self.twin.add(one)

    @rule(one=few_items)
    def discard(self, one: Item) -> None:
        assert self.collection.discard(*one) == (one in self.twin)
        self.twin.discard(one)

    @rule(start=st.integers(0, 120), number=st.integers(0, 100))
    def discard_many(self, start: int, number: int) -> None:
        for one in map(numbered, range(start, start + number)):
            self.discard(one)

    @rule(items=st.lists(few_items, max_size=60))
    def extend(self, items: list[Item]) -> None:
        self.collection.extend(joined(items))
        self.twin.update(items)

    @rule(since=st.none() | st.integers(0, 121), until=st.none() | st.integers(0, 121))
    def snapshot(self, since: int | None, until: int | None) -> None:
        expected = sorted(one for one in self.twin if (since or 0) <= one[0] <= (1_000 if until is None else until))
        self.snapshots.append((self.collection.snapshot(since, until), expected))

    @invariant()
    def blocks_are_neither_empty_nor_too_large(self) -> None:
        assert len(self.collection) == len(self.twin)
        assert all(1 <= len(block) // 40 <= 8 for block in self.collection._blocks)

    @invariant()
    def all_is_as_it_should_be(self) -> None:
        for found, expected in [(self.collection.snapshot(), sorted(self.twin)), *self.snapshots[-3:]]:
            assert_is(found, expected)


TestChanges = pytest.mark.slow(Changes.TestCase)
TestChanges.settings = settings(max_examples=examples(25), stateful_step_count=20)
