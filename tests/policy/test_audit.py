"""The audit log as a list: numbers in order, bounded so that nobody hides what others did, and what undoes an act."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import ALICE, BOB, NOW
from trio_relay.policy import audit
from trio_relay.policy.lists import Change, ListEntry, ListName, Lists


def act(lists: Lists, who: str = ALICE.pubkey, now: int = NOW, params: str = "[]") -> audit.Act:
    """Record an act; gives it."""
    one = audit.Act(audit.next_number(lists, now), now, who, "banevent", params)
    lists.apply(audit.recording(one, lists))
    return one


def test_acts_come_back_as_they_were_recorded_the_newest_first() -> None:
    lists = Lists()
    acts = [act(lists, who) for who in (ALICE.pubkey, "operator", BOB.pubkey)]
    assert list(audit.acts_in(lists)) == acts[::-1]
    assert audit.act_of(acts[1].number, lists) == acts[1]
    assert audit.act_of("another", lists) is None


@given(st.lists(st.integers(0, 2**33 - 1), min_size=2, max_size=20))
def test_numbers_are_in_the_order_of_acts_whatever_the_clock_says(times: list[int]) -> None:
    lists = Lists()
    numbers = [act(lists, now=now).number for now in times]
    assert numbers == sorted(set(numbers))
    assert all(map(audit.is_number, numbers))


@pytest.mark.parametrize("text", ["", "1", "0" * 13, "0" * 13 + "-0", "9" * 13 + "-" + "0" * 8, "٣" * 13 + "-00000000"])
def test_what_is_no_number_of_an_act_is_told_from_one(text: str) -> None:
    assert not audit.is_number(text)


@given(st.lists(st.integers(0, 3), max_size=60))
def test_a_full_log_loses_the_oldest_act_of_whoever_has_most(callers: list[int]) -> None:
    """Judged by a plain list: who floods the log pushes out himself alone."""
    lists, kept, most = Lists(), list[audit.Act](), 8
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit, "MOST_ACTS", most)
        for caller in callers:
            kept.append(act(lists, str(caller)))
            if len(kept) > most:
                counts = Counter(one.who for one in kept)
                # A tie: one who had as many before this act.
                leaving = [one for one in kept if counts[one.who] == max(counts.values())]
                gone = next(one for one in leaving if audit.act_of(one.number, lists) is None)
                assert gone == next(one for one in kept if one.who == gone.who), "his oldest"
                assert gone is not kept[-1]
                kept.remove(gone)
            assert list(audit.acts_in(lists)) == kept[::-1]


def test_who_has_few_acts_keeps_them_though_another_has_thousands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MOST_ACTS", 50)
    lists = Lists()
    seen = act(lists, "victim")
    for _ in range(200):
        act(lists, "flood")
    assert seen in audit.acts_in(lists)
    assert lists.size(ListName.ACTS) == 50


KINDS = ListName.DISALLOWED_KINDS


def test_steps_tell_what_was_there_and_what_is_there_now_once_for_each_item() -> None:
    lists, old, new = Lists(), ListEntry("old", since=5), ListEntry("new", by=ALICE.pubkey)
    lists.apply([Change(KINDS, "1", old), Change(KINDS, "3", old)])
    text = audit.steps_of([Change(KINDS, "1"), Change(KINDS, "1", new), Change(KINDS, "2"), Change(KINDS, "3")], lists)
    made = audit.Act("", 0, "", "", "", steps=text)
    assert audit.read_steps(made) == [audit.Made(KINDS, "1", old, new), audit.Made(KINDS, "3", old)]
    assert made.names("new")
    assert audit.steps_of([Change(KINDS, "2")], lists) == ""


def test_what_takes_too_much_to_be_undone_is_not_kept() -> None:
    changes = [Change(KINDS, str(kind), ListEntry("r" * 1_000)) for kind in range(9)]
    assert audit.steps_of(changes, Lists()) == ""
    assert audit.steps_of(changes[:7], Lists()) != ""
