"""Plots: each value stands at its time and height, gaps stay gaps, and the top is a round number."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from trio_relay.net import vitals, web

values = st.none() | st.floats(0, 1e9)


def points_of(column: list[float | None]) -> list[vitals.Point]:
    return [
        vitals.Point(float(place), {} if value is None else {"x": value}) for place, value in enumerate(column, start=1)
    ]


@given(column=st.lists(values, max_size=30))
def test_corners_stand_where_the_values_are(column: list[float | None]) -> None:
    seconds = 40.0
    made = web.plots.plot(points_of(column), {"label": "x"}, seconds, now=seconds)
    [curve] = made.lines
    corners = [tuple(map(float, corner.split(","))) for segment in curve.segments for corner in segment.split(" ")]
    expected = [
        (place / seconds * web.plots.WIDTH, (1 - value / made.top) * web.plots.HEIGHT)
        for place, value in enumerate(column, start=1)
        if value is not None
    ]
    assert len(corners) == len(expected)
    assert all(
        abs(a - b) <= 0.06
        for one, other in zip(corners, expected, strict=True)
        for a, b in zip(one, other, strict=True)
    )
    assert all(0 <= across <= web.plots.WIDTH and -0.06 <= up <= web.plots.HEIGHT for across, up in corners)
    gaps = sum(before is not None and after is None for before, after in pairwise([*column, None]))
    assert len(curve.segments) == gaps
    assert curve.last == next((value for value in reversed(column) if value is not None), None)


@given(value=st.just(0.0) | st.floats(1e-9, 1e12))
def test_the_top_is_round_and_not_far_above(value: float) -> None:
    top = web.plots.rounded_up(value)
    assert value <= top * (1 + 1e-9)
    assert top <= value * 2.5 * (1 + 1e-9) or value == 0
    assert f"{top:.6e}"[:8] in ("1.000000", "2.000000", "5.000000")


def test_what_is_older_than_the_box_is_left_out() -> None:
    made = web.plots.plot(points_of([5.0, 1.0, 2.0]), {"label": "x"}, seconds=1.5, now=3.0)
    assert made.lines[0].segments == ["200.0,60.0 600.0,0.0"]
    assert (made.top, made.first, made.last) == (2.0, 1.5, 3.0)
