"""The relay's own small things: values by name."""

from __future__ import annotations

import pytest

from tests.support.backends import ask
from tests.support.keys import ALICE
from trio_relay import Filter, Store


async def test_at_first_nothing_is_kept(store: Store) -> None:
    assert await store.get_metadata() == {}


@pytest.mark.parametrize("value", [b"", b"\0", b"{}", bytes(range(256)), b"x" * 600_000])
@pytest.mark.parametrize("name", ["a", "é🦩", "ban/" + "f" * 64, "x" * 256, "a b\"'\\%?#&/../_"])
async def test_a_value_is_kept_as_it_is(store: Store, name: str, value: bytes) -> None:
    await store.put_metadata({name: value})
    assert await store.get_metadata() == {name: value}


async def test_several_are_kept_replaced_and_forgotten_at_once(store: Store) -> None:
    await store.put_metadata({"a": b"1", "b": b"2", "c": b"3"})
    await store.put_metadata({"a": None, "b": b"22", "d": b"4", "unknown": None})
    assert await store.get_metadata() == {"b": b"22", "c": b"3", "d": b"4"}
    await store.put_metadata({"a": b"5"})
    await store.put_metadata(dict.fromkeys("abcd"))
    assert await store.get_metadata() == {}


async def test_nothing_is_changed_by_no_changes(store: Store) -> None:
    await store.put_metadata({"a": b"1"})
    await store.put_metadata({})
    assert await store.get_metadata() == {"a": b"1"}


async def test_names_that_differ_in_case_alone_are_two(store: Store) -> None:
    await store.put_metadata({"a": b"1", "A": b"2"})
    assert await store.get_metadata() == {"a": b"1", "A": b"2"}


async def test_many_are_kept(store: Store) -> None:
    many = {f"ban/{number:064x}": b"%d" % number for number in range(1_500)}
    await store.put_metadata(many)
    assert await store.get_metadata() == many


async def test_no_event_is_touched_and_none_is_found(store: Store) -> None:
    event = ALICE.event()
    await store.save_many([event])
    await store.put_metadata({event.id: b"{}"})
    assert await ask(store, Filter()) == [event]
    assert await store.count([Filter()]) == 1
    assert await store.remove([Filter()]) == 1
    assert await store.get_metadata() == {event.id: b"{}"}


async def test_only_what_nobody_else_changes_can_be_followed(store: Store) -> None:
    assert store.follow(lambda _added, _removed: None) is not store.is_shared
