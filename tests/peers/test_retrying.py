"""Waits between tries: they double up to a bound, are cut by chance, and begin anew after a link that stood."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_relay.peers import retrying


def test_waits_double_up_to_the_bound() -> None:
    backoff = retrying.Backoff(10.0, lambda: 1.0)
    assert [backoff.wait() for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_bound_of_a_second_is_kept_to() -> None:
    backoff = retrying.Backoff(1.0, lambda: 1.0)
    assert [backoff.wait() for _ in range(3)] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(("stood", "next_wait"), [(59.9, 8.0), (60.0, 1.0)])
def test_only_a_link_that_stood_for_a_minute_begins_anew(stood: float, next_wait: float) -> None:
    backoff = retrying.Backoff(300.0, lambda: 1.0)
    for _ in range(3):
        backoff.wait()
    assert backoff.wait(stood) == next_wait
    assert backoff.wait() == 2 * next_wait, "it goes on from there"


@given(chances=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20), most=st.floats(1, 3_600))
def test_a_wait_is_never_less_than_half_of_what_it_could_be(chances: list[float], most: float) -> None:
    drawn = iter(chances)
    backoff = retrying.Backoff(most, lambda: next(drawn))
    for number in range(len(chances)):
        whole = min(2.0**number, most)
        assert whole / 2 <= backoff.wait() <= whole
