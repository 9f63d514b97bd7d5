"""Results as text: a table for each scenario, and all bars at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from perf.results import PACED, Figures, Results, Run, Verdict
from perf.scenarios import SCENARIOS
from perf.servers import OURS
from perf.yardstick import MOST_DRIFT, Yardstick

_NOTHING: Final = "-"
_GROWTH: Final = "KB/op"
_NODE: Final = "node µs/op"
_BATCH: Final = "events/batch"
_MATCHES: Final = "matches/op"
_ROUNDS: Final = "rounds/op"
_SENT: Final = "KB sent/op"
_RECEIVED: Final = "KB received/op"


def table(run: Run) -> str:
    """One scenario: a row for each server and part, how ours relates to each peer's, the bars."""
    lines = [units(run.yardstick), *align([_head(run), *_rows(run)])]
    lines += [f"{name}: skipped, it {why}" for name, why in run.skipped.items()]
    lines += [f"{name}: failed: {why}" for name, why in run.failed.items()]
    lines += map(verdict, run.verdicts)
    return "\n".join(f"  {line}" for line in lines)


def units(yardstick: Yardstick) -> str:
    """V and F, at the start and at the end."""
    v, f = yardstick.verifications, yardstick.fdatasyncs
    unsteady = "" if yardstick.drift <= MOST_DRIFT else "; NOT STEADY, take none of this for sure"
    return (
        f"V {yardstick.verification:.1f} µs ({v[0]:.1f} before, {v[1]:.1f} after, {yardstick.drift:.1%} apart),"
        f" F {yardstick.fdatasync:.0f} µs ({f[0]:.0f} before, {f[1]:.0f} after){unsteady}"
    )


def verdict(one: Verdict) -> str:
    """One bar, in a line."""
    if one.value is None:
        return f"bar: {one.bar}: not measured"
    return f"bar: {one.bar}: {number(one.value)}, {'reached' if one.is_reached else 'NOT REACHED'}"


def summary(results: Results) -> str:
    """Every bar, in a line each."""
    lines = ["All bars" if results.scale == 1 else f"All bars; at a scale of {results.scale:g} they mean nothing"]
    lines += [f"  {run.scenario:20} {verdict(one)}" for run in results.runs for one in run.verdicts]
    reached = [one.is_reached for run in results.runs for one in run.verdicts]
    lines.append(f"{reached.count(True)} of {len(reached)} reached, {reached.count(None)} not measured")
    return "\n".join(lines)


def number(value: float) -> str:
    """Three digits that count, or all of a whole part that is longer."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _kinds(run: Run) -> list[str]:
    return list(dict.fromkeys(kind for row in run.figures for kind in row.latencies))


def _extras(run: Run) -> list[str]:
    """Columns that not every scenario has."""
    growth = any(bar.quantity == "rss" for bar in SCENARIOS[run.scenario].bars)
    shown = {
        _GROWTH: growth,
        _NODE: any(row.node_cpu for row in run.figures),
        _BATCH: any(row.batch for row in run.figures),
        _MATCHES: any(row.matches for row in run.figures),
        _ROUNDS: any(row.rounds for row in run.figures),
        _SENT: any(row.sent for row in run.figures),
        _RECEIVED: any(row.received for row in run.figures),
    }
    return [name for name, is_shown in shown.items() if is_shown]


def _head(run: Run) -> list[str]:
    latencies = [f"{kind} p50/p99 ms" for kind in _kinds(run)]
    return [
        "",
        "op/s",
        *latencies,
        "CPU µs/op",
        "CPU V/op",
        "RSS MB",
        *_extras(run),
        "cores",
        "generator µs/op",
        "ceiling/s",
    ]


def _rows(run: Run) -> Iterator[list[str]]:
    kinds, extras = _kinds(run), _extras(run)
    own = {row.part: row for row in run.figures if row.server == OURS.name}
    for row in run.figures:
        yield [_label(row, run), *map(_cell, _numbers(row, kinds, extras))]
        if row.server != OURS.name and row.part in own:
            pairs = zip(_numbers(own[row.part], kinds, extras), _numbers(row, kinds, extras), strict=True)
            yield ["  ours / this", *(_cell(_ratio(ours, theirs)) for ours, theirs in pairs)]
    if strfry := {bar.quantity: bar.strfry for bar in SCENARIOS[run.scenario].bars if bar.unit == "V"}.get("cpu"):
        before_v = 2 + len(kinds)
        yield ["strfry (reference)", *[""] * before_v, number(strfry), *[""] * (4 + len(extras))]


def _label(row: Figures, run: Run) -> str:
    return f"{row.server}, at {SCENARIOS[run.scenario].share:.0%} of that" if row.part == PACED else row.server


_Number = tuple[float | None, ...]


def _numbers(row: Figures, kinds: Sequence[str], extras: Sequence[str]) -> list[_Number]:
    """In the order of the columns; a cell may have two."""
    latencies: list[_Number] = [
        tuple(value / 1e3 for value in row.latencies[kind]) if kind in row.latencies else (None,) for kind in kinds
    ]
    extra = {
        _GROWTH: row.growth / 1e3,
        _NODE: row.node_cpu,
        _BATCH: row.batch,
        _MATCHES: row.matches,
        _ROUNDS: row.rounds,
        _SENT: row.sent / 1e3,
        _RECEIVED: row.received / 1e3,
    }
    return [
        (row.rate,),
        *latencies,
        (row.cpu,),
        (row.v,),
        (row.rss / 1e6,),
        *((extra[name],) for name in extras),
        (row.cores,),
        (row.generator_cpu,),
        (row.ceiling,),
    ]


def _ratio(ours: _Number, theirs: _Number) -> _Number:
    return tuple(a / b if a is not None and b else None for a, b in zip(ours, theirs, strict=False))


def _cell(values: _Number) -> str:
    return "/".join(_NOTHING if value is None else number(value) for value in values)


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they must be, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
