"""Histograms count what they see, by size."""

from __future__ import annotations

import pytest

from trio_relay.pipeline import histogram, statistics


@pytest.mark.parametrize(
    ("seen", "counts"),
    [
        ([], (0, 0, 0)),
        ([1], (1, 0, 0)),
        ([1.5], (0, 1, 0)),
        ([2], (0, 1, 0)),
        ([2.5], (0, 0, 1)),
        ([0, 2, 9], (1, 1, 1)),
    ],
)
def test_a_value_counts_under_the_first_bound_that_holds_it(seen: list[float], counts: tuple[int, ...]) -> None:
    counted = histogram.Histogram((1, 2))
    for value in seen:
        counted.observe(value)
    distribution = counted.statistics()
    assert distribution == statistics.Distribution((1, 2), counts, sum(seen))
    assert distribution.count == len(seen)


def test_what_was_given_away_no_longer_changes() -> None:
    counted = histogram.Histogram((1,))
    before = counted.statistics()
    counted.observe(0.5)
    assert before.count == 0
