"""The lists of operators: put on, taken off, undone, past their time, kept and loaded."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import NOW
from trio_relay.policy.lists import Change, ListEntry, ListName, Lists, as_metadata

KINDS, EVENTS = ListName.ALLOWED_KINDS, ListName.BANNED_EVENTS


def lists_of(*changes: Change) -> Lists:
    lists = Lists()
    lists.apply(changes)
    return lists


def contents(lists: Lists) -> dict[ListName, list[tuple[str, ListEntry]]]:
    """All that is on all lists, in its order."""
    return {name: list(lists.entries(name, 0).items()) for name in ListName if lists.holds_any(name)}


def test_new_lists_are_empty() -> None:
    assert contents(Lists()) == {}
    assert Lists().get(KINDS, "1", NOW) is None


def test_what_is_put_on_a_list_is_there_and_on_no_other() -> None:
    entry = ListEntry("spam", since=5)
    lists = lists_of(Change(KINDS, "1", entry))
    assert lists.get(KINDS, "1", NOW) == entry
    assert (lists.get(KINDS, "2", NOW), lists.get(EVENTS, "1", NOW)) == (None, None)
    assert [name for name in ListName if lists.holds_any(name)] == [KINDS]


def test_what_is_taken_off_is_gone_and_what_was_not_there_may_be_taken_off() -> None:
    lists = lists_of(Change(KINDS, "1", ListEntry()), Change(KINDS, "1"), Change(KINDS, "2"))
    assert contents(lists) == {}


def test_entries_keep_the_order_in_which_they_were_put_there_last() -> None:
    lists = lists_of(*(Change(KINDS, item, ListEntry(item)) for item in ("2", "1", "3", "2")))
    assert list(lists.entries(KINDS, NOW)) == ["1", "3", "2"]


@pytest.mark.parametrize(("until", "counts"), [(None, True), (NOW + 1, True), (NOW, False), (NOW - 1, False)])
def test_an_entry_counts_up_to_its_time(until: int | None, counts: bool) -> None:
    lists = lists_of(Change(KINDS, "1", ListEntry(until=until)))
    assert (lists.get(KINDS, "1", NOW) is not None) is counts
    assert list(lists.entries(KINDS, NOW)) == (["1"] if counts else [])
    assert lists.holds_any(KINDS)
    assert lists.expired(NOW) == ([] if counts else [Change(KINDS, "1")])


def test_what_is_past_its_time_can_be_taken_off_all_lists() -> None:
    over, lasting = ListEntry(until=NOW), ListEntry()
    lists = lists_of(Change(KINDS, "1", over), Change(KINDS, "2", lasting), Change(EVENTS, "3", over))
    lists.apply(lists.expired(NOW))
    assert contents(lists) == {KINDS: [("2", lasting)]}


@pytest.mark.parametrize(
    ("name", "item", "entry", "key", "value"),
    [
        (KINDS, "1", ListEntry(), "allowed-kinds/1", b"{}"),
        (EVENTS, "a" * 64, None, f"banned-events/{'a' * 64}", None),
        (ListName.ROLES, "a/b", ListEntry("x", 7, 5), "roles/a/b", b'{"reason":"x","until":7,"since":5}'),
        (ListName.METHODS, "k", ListEntry(data={"methods": ["x"]}), "methods/k", b'{"data":{"methods":["x"]}}'),
    ],
)
def test_changes_are_kept_under_the_list_and_the_item(
    name: ListName, item: str, entry: ListEntry | None, key: str, value: bytes | None
) -> None:
    assert as_metadata([Change(name, item, entry)]) == {key: value}


def test_of_several_changes_of_an_item_the_last_is_kept() -> None:
    assert as_metadata([Change(KINDS, "1", ListEntry()), Change(KINDS, "1")]) == {"allowed-kinds/1": None}


@pytest.mark.parametrize("kept", [{"allowed-kinds": b"{}"}, {"other/1": b"{}"}, {"secret": b"\x00"}, {"a/b": b"\xff"}])
def test_what_is_no_lists_is_left_alone(kept: Mapping[str, bytes]) -> None:
    lists = Lists()
    lists.load(kept)
    assert contents(lists) == {}


def test_what_is_loaded_takes_the_place_of_what_was_there_and_stands_by_its_age() -> None:
    lists = lists_of(Change(KINDS, "9", ListEntry()))
    kept = {"allowed-kinds/1": b'{"since":2}', "allowed-kinds/2": b'{"since":1}', "allowed-kinds/0": b'{"since":2}'}
    lists.load(kept)
    assert list(lists.entries(KINDS, NOW)) == ["2", "0", "1"]


entries = st.builds(
    ListEntry,
    st.sampled_from(["", "spam", "é"]),
    st.none() | st.integers(1, 9),
    st.integers(0, 9),
    st.sampled_from([{}, {"roles": ["a", "b"]}, {"label": "x", "order": 1, "color": None}]),
)
changes = st.lists(
    st.builds(
        Change, st.sampled_from([KINDS, EVENTS, ListName.ROLES]), st.sampled_from(["", "1", "a/b"]), st.none() | entries
    )
)


@pytest.mark.slow
@given(changes, changes)
def test_what_undoes_changes_restores_every_entry(before: list[Change], after: list[Change]) -> None:
    lists = lists_of(*before)
    was = contents(lists)
    lists.apply(lists.apply(after))
    assert {name: dict(found) for name, found in contents(lists).items()} == {
        name: dict(found) for name, found in was.items()
    }


@pytest.mark.slow
@given(changes)
def test_what_is_kept_can_be_loaded(made: list[Change]) -> None:
    lists, kept = lists_of(*made), dict[str, bytes]()
    for change in made:
        for name, value in as_metadata([change]).items():
            kept.pop(name, None)
            if value is not None:
                kept[name] = value
    loaded = Lists()
    loaded.load(kept)
    assert {name: dict(found) for name, found in contents(loaded).items()} == {
        name: dict(found) for name, found in contents(lists).items()
    }
