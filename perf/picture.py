"""The comparison as a picture: server CPU of an operation, in V, a group of bars for each scenario."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullLocator

from perf.report import number
from perf.results import CLOSED, PACED, Results, Run
from perf.scenarios import SCENARIOS
from perf.servers import OURS

_REFERENCE: Final = "strfry"
_INK: Final = "#22262e"
_PALE: Final = "#767c88"
_LIMIT: Final = "#d7263d"
_COLOURS: Final = ("#8fb3d1", "#e6b566", "#8dbf9b", "#cc9bab", "#b3b3b3")
"""Of peers, in the order in which they come."""
_LOOKS: Final[dict[str, dict[str, Any]]] = {
    OURS.name: {"facecolor": "#4527a0"},
    _REFERENCE: {"facecolor": "white", "edgecolor": _PALE, "linewidth": 0.8, "hatch": "//////"},
}
_BAR_INCHES: Final = 0.155
_GAP: Final = 0.9
"""Between scenarios, in bars."""


@dataclass(frozen=True, slots=True)
class _Group:
    """A scenario: V an operation by server, and the relay's bar."""

    name: str
    costs: dict[str, float]
    limit: float | None


def draw(results: Results, path: Path) -> None:
    """Draw it; the name's ending tells the format."""
    groups = [group for run in results.runs if (group := _group(run)).costs]
    rows = sum(len(group.costs) + _GAP for group in groups)
    with mpl.rc_context({"svg.hashsalt": "perf", "hatch.linewidth": 0.5, "hatch.color": _PALE, "font.size": 9}):
        figure = Figure(figsize=(9, rows * _BAR_INCHES + 1.5), layout="constrained", facecolor="white")
        axes = figure.add_subplot()
        looks = _looks(groups)
        _draw_groups(axes, groups, looks)
        _draw_frame(axes, groups, rows)
        _draw_words(figure, axes, results, looks)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without a date, so that the same results make the same file.
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def _group(run: Run) -> _Group:
    """Of the part that counts; the reference stands in where strfry was no peer itself."""
    scenario = SCENARIOS[run.scenario]
    judged = PACED if scenario.share else CLOSED
    costs = {row.server: row.v for row in run.figures if row.part == judged and row.v}
    bar = next((bar for bar in scenario.bars if bar.quantity == "cpu" and bar.unit == "V"), None)
    if costs and bar is not None and bar.strfry is not None:
        costs.setdefault(_REFERENCE, bar.strfry)
    name = f"{run.scenario}, {scenario.share:.0%} load" if scenario.share else run.scenario
    return _Group(name, costs, bar.limit if bar is not None else None)


def _looks(groups: list[_Group]) -> dict[str, dict[str, Any]]:
    """How each server's bars look, in the order of the legend."""
    servers = dict.fromkeys(server for group in groups for server in group.costs)
    peers = [server for server in servers if server not in _LOOKS]
    looks = _LOOKS | {server: {"facecolor": _COLOURS[at % len(_COLOURS)]} for at, server in enumerate(peers)}
    return {server: looks[server] for server in servers}


def _draw_groups(axes: Axes, groups: list[_Group], looks: dict[str, dict[str, Any]]) -> None:
    y = 0.0
    for group in groups:
        if group.limit is not None:
            axes.plot([group.limit] * 2, [y - 0.55, y + 0.55], color=_LIMIT, linewidth=2, zorder=3)
        for server, cost in group.costs.items():
            axes.barh(y, cost, height=0.84, zorder=2, **looks[server])
            ours = server == OURS.name
            axes.annotate(
                number(cost),
                (max(cost, group.limit or 0) if ours else cost, y),
                xytext=(4, 0),
                textcoords="offset points",
                verticalalignment="center_baseline",
                fontsize=7.5,
                fontweight="bold" if ours else "normal",
                color=_INK if ours else _PALE,
            )
            y += 1
        y += _GAP


def _draw_frame(axes: Axes, groups: list[_Group], rows: float) -> None:
    places, y = [], 0.0
    for group in groups:
        places.append(y + (len(group.costs) - 1) / 2)
        y += len(group.costs) + _GAP
    axes.set_yticks(places, [group.name for group in groups], color=_INK)
    axes.set_ylim(rows - _GAP, -1)
    axes.set_xscale("log")
    costs = [cost for group in groups for cost in group.costs.values()]
    axes.set_xlim(min(costs, default=1) / 2, max(costs, default=1) * 2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="x", color="#e6e8ec", zorder=0)
    axes.tick_params(length=0, labelcolor=_INK)
    for side in axes.spines.values():
        side.set_visible(False)


def _draw_words(figure: Figure, axes: Axes, results: Results, looks: dict[str, dict[str, Any]]) -> None:
    figure.suptitle(
        "What an operation costs the server",
        x=0.01,
        horizontalalignment="left",
        fontsize=14,
        fontweight="bold",
        color=_INK,
    )
    v = median(run.yardstick.verification for run in results.runs)
    said = f"CPU, in units of one signature verification ({v:.0f} µs here); logarithmic, less is better"
    axes.set_xlabel(said, color=_PALE, loc="left")
    handles: list[Any] = [Patch(**look) for look in looks.values()]
    names = [
        f"{name} (reference)" if name == _REFERENCE and "strfry" not in results.versions else name for name in looks
    ]
    handles.append(Line2D([], [], color=_LIMIT, linewidth=2))
    axes.legend(
        handles,
        [*names, "bar of trio-relay"],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=len(handles),
        frameon=False,
        fontsize=8.5,
        borderpad=0,
        handlelength=1.4,
        columnspacing=1.6,
    )
