"""Whatever comes in at a door: nothing falls over, nothing is done that was not asked for, nothing is left behind."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.fuzz import http
from tests.fuzz.corpus import CORPUS
from tests.fuzz.doors import DOORS, feed
from tests.support.marks import examples


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_whatever_comes_what_must_hold_holds(door: str) -> None:
    @settings(max_examples=examples(DOORS[door].examples))
    @given(DOORS[door].strategy())
    def check(data: bytes) -> None:
        feed(door, data)

    check()


@pytest.mark.parametrize("door", DOORS)
def test_what_is_valid_may_come_in_any_order(door: str) -> None:
    feed(door, DOORS[door].seeds()[-1])


@pytest.mark.slow
def test_whole_requests_get_what_they_ask_for() -> None:
    """So that what is made of them reaches as far."""
    statuses = [int(http.answer_to([word])[9:12]) for word in http.VOCABULARY]
    assert statuses == [101, 101, 200, 200, 204, 200, 200, 200, 200, 401, 403, 200, 200, 404, 200]


@pytest.mark.parametrize(("door", "what"), [(door, what) for door, found in CORPUS.items() for what in found])
def test_what_once_was_a_fault_is_none_any_more(door: str, what: str) -> None:
    feed(door, CORPUS[door][what])
