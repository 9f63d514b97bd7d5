"""Which item of a full list makes room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_relay.moderation.report_queue import Weakest

STEPS = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 3) | st.none()))


def test_among_nothing_there_is_no_first() -> None:
    weakest = Weakest()
    assert (len(weakest), weakest.first()) == (0, None)


def test_of_those_that_stand_lowest_the_first_that_came_makes_room() -> None:
    weakest = Weakest()
    for item, standing in (("a", 2), ("b", 1), ("c", 1), ("b", 1)):
        weakest.put(item, standing)
    order = []
    while (first := weakest.first()) is not None:
        order.append(first)
        weakest.drop(first)
    assert order == ["c", "b", "a"]


@given(STEPS)
def test_it_says_what_a_look_at_all_of_them_says(steps: list[tuple[str, int | None]]) -> None:
    weakest = Weakest()
    plain: dict[str, int] = {}
    for item, standing in steps:
        plain.pop(item, None)
        if standing is None:
            weakest.drop(item)
        else:
            weakest.put(item, standing)
            plain[item] = standing
        assert len(weakest) == len(plain)
        assert weakest.first() == min(plain, key=lambda one: plain[one], default=None)
