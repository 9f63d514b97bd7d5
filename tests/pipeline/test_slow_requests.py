"""The slowest requests of the last hour: which are kept, for how long, and what is said of them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.keys import ALICE
from tests.support.marks import examples
from trio_relay import Filter
from trio_relay.pipeline import slow_requests
from trio_relay.policy import identity

NOTES = Filter(kinds=frozenset({1}))
BEGAN = 1_800_000


class Noted:
    """What was noted at times that a test sets."""

    def __init__(self) -> None:
        self.now = BEGAN
        self.requests = slow_requests.SlowRequests(lambda: self.now)

    def note(self, seconds: float, *, after: int = 0) -> None:
        self.now += after
        self.requests.note("REQ", [NOTES], None, seconds, "answered", 0)

    def seconds(self) -> list[float]:
        return [one.seconds for one in self.requests.slowest()]


def test_what_is_kept_says_who_asked_what_and_what_came_of_it() -> None:
    noted = Noted()
    who = identity.Identity(address="203.0.113.1", keys={ALICE.pubkey})
    noted.requests.note("COUNT", [NOTES, Filter(limit=500, is_clamped=True)], who, 1.5, "timed_out", 7)
    assert noted.requests.slowest() == [
        slow_requests.SlowRequest(
            BEGAN, 1.5, "203.0.113.1", [ALICE.pubkey], "COUNT", [{"kinds": [1]}, {}], 0, "timed_out", 7
        )
    ]


@settings(max_examples=examples(40))
@given(st.lists(st.tuples(st.floats(0.02, 30), st.integers(0, 700)), max_size=40))
def test_all_of_the_last_hour_are_told_slowest_first(told: list[tuple[float, int]]) -> None:
    noted, all_noted = Noted(), []
    for seconds, after in told:
        noted.note(seconds, after=after)
        all_noted.append((noted.now, round(seconds, 6)))
    expected = [seconds for at, seconds in all_noted if at > noted.now - 3_600]
    assert noted.seconds() == sorted(expected, reverse=True)


def test_of_many_the_slowest_are_kept() -> None:
    noted = Noted()
    for number in range(1_000):
        noted.note(float(number * 7 % 1_000))
    assert noted.seconds() == [float(number) for number in reversed(range(900, 1_000))]


def test_those_of_an_earlier_hour_are_forgotten() -> None:
    noted = Noted()
    for number in range(20):
        noted.note(1.0 + number, after=1_700)
    assert noted.seconds() == [20.0, 19.0, 18.0]
