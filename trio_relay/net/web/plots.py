"""Plots as pages draw them: the corners of lines in a box of fixed size (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from trio_relay.net.vitals import Point, column

WIDTH: Final = 600
HEIGHT: Final = 120
_LEAST: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Curve:
    """One quantity over time.

    Attributes:
        label: what it is called.
        segments: for each stretch without a gap, its corners as SVG's `points` has them.
        last: its newest value; None if there is none.
    """

    label: str
    segments: list[str]
    last: float | None


@dataclass(frozen=True, slots=True)
class Plot:
    """Several quantities over the same time.

    Attributes:
        lines: each of them.
        top: the value at the upper edge; the lower one is 0.
        first: seconds since 1970 at the left edge.
        last: the same at the right edge.
    """

    lines: list[Curve]
    top: float
    first: float
    last: float


def plot(points: Sequence[Point], names: Mapping[str, str], seconds: float, now: float) -> Plot:
    """Plot what points say.

    Args:
        points: the oldest first.
        names: of the values to draw, by their labels.
        seconds: of time that the box is wide.
        now: seconds since 1970 at its right edge.
    """
    first = now - seconds
    shown = [point for point in points if point.at >= first]
    columns = {label: column(shown, name) for label, name in names.items()}
    top = rounded_up(max((value for values in columns.values() for value in values if value is not None), default=0.0))
    times = [point.at for point in shown]
    lines = [
        Curve(
            label,
            _segments(
                [((at - first) / seconds, None if v is None else v / top) for at, v in zip(times, values, strict=True)]
            ),
            next((value for value in reversed(values) if value is not None), None),
        )
        for label, values in columns.items()
    ]
    return Plot(lines, top, first, now)


def rounded_up(value: float) -> float:
    """The least of 1, 2, 5, 10, 20, … and their fractions that is not below a value; 1 for next to nothing."""
    if value < _LEAST:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in (1.0, 2.0, 5.0, 10.0, 20.0) if step * unit >= value)


def _segments(places: list[tuple[float, float | None]]) -> list[str]:
    """Corners for each stretch of values.

    Args:
        places: from 0 to 1 each, from left to right and from the bottom up; None where there is no value.
    """
    segments: list[list[str]] = [[]]
    for across, up in places:
        if up is not None:
            segments[-1].append(f"{across * WIDTH:.1f},{(1 - up) * HEIGHT:.1f}")
        elif segments[-1]:
            segments.append([])
    return [" ".join(corners) for corners in segments if corners]


BAR: Final = 20
"""How far apart bars are that lie on each other."""
_LABELS: Final = 130
"""What stands in front of bars is so wide."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One of several lying bars.

    Attributes:
        told: what it stands for, with its value.
        label: what it stands for.
        y: its upper edge.
        x: its left edge.
        width: of it; 1 at least where there is anything.
    """

    told: str
    label: str
    y: int
    x: int
    width: int


def bars(rows: Sequence[tuple[str, str, float]]) -> list[Bar]:
    """Lying bars in a box as wide as that of a plot, each `BAR` below the one before.

    Args:
        rows: what each stands for with its value, what it stands for, and its value.
    """
    most = max((value for *_, value in rows), default=0)
    room = WIDTH - _LABELS
    return [
        Bar(told, label, place * BAR, _LABELS, max(1, round(value / most * room)) if value > 0 else 0)
        for place, (told, label, value) in enumerate(rows)
    ]
