"""All micro-benchmarks, or some, with V of the same run: as a table, or as what JSON can hold."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from perf import yardstick
from perf.corpus import signed_events
from perf.micro.channels import channels
from perf.micro.delivery import delivery
from perf.micro.indexing import indexing
from perf.micro.redis_lists import redis
from perf.micro.rows import RATE, Benchmark, Row, Skipped
from perf.micro.subscriptions import subscriptions
from perf.micro.syncing import syncing
from perf.micro.validation import validation

BENCHMARKS: Final[dict[str, Benchmark]] = {
    "channels": channels,
    "redis": redis,
    "validation": validation,
    "subscriptions": subscriptions,
    "delivery": delivery,
    "indexing": indexing,
    "syncing": syncing,
}
_EVENTS: Final = 5_000
"""The corpus that the yardstick has made anyway."""


class UnknownBenchmark(ValueError):
    """There is none of such a name; tells which there are."""


def measure(names: Sequence[str]) -> dict[str, Any]:
    """Run benchmarks one after another; no names: all of them.

    Returns:
        `yardstick`, microseconds; `rows` by benchmark, each with `what`, `value`, `unit`, `bar`, `is_reached` and `v`,
        the value in V where it is a duration; `skipped`, the reasons by benchmark.

    Raises:
        UnknownBenchmark: by one of the names.
    """
    if unknown := [name for name in names if name not in BENCHMARKS]:
        raise UnknownBenchmark(f"no micro-benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    events = signed_events(_EVENTS)
    first = yardstick.before()
    measured: dict[str, list[Row]] = {}
    skipped: dict[str, str] = {}
    # The events to measure with are many objects that the relay would not have: its garbage is not to be sought there.
    gc.collect()
    gc.freeze()
    try:
        for name in names or BENCHMARKS:
            try:
                measured[name] = BENCHMARKS[name](events)
            except Skipped as reason:
                skipped[name] = str(reason)
    finally:
        gc.unfreeze()
    units = yardstick.after(first)
    rows = {name: [_as_dict(row, units.verification) for row in rows] for name, rows in measured.items()}
    return {"yardstick": asdict(units), "rows": rows, "skipped": skipped}


def main(names: Sequence[str]) -> None:
    """Run benchmarks, as `measure` does, and print what came of them; ends the program if a name is wrong."""
    try:
        measured = measure(names)
    except UnknownBenchmark as error:
        raise SystemExit(str(error)) from None
    print("\n".join(table(measured)))


def table(measured: dict[str, Any]) -> list[str]:
    """The lines of what `measure` returned."""
    units = measured["yardstick"]
    lines = [f"V = {units['verification']:.1f} µs of CPU, F = {units['fdatasync']:.0f} µs"]
    if units["drift"] > yardstick.MOST_DRIFT:
        lines.append(f"V has moved by {units['drift']:.0%} meanwhile: measure again on a quieter machine")
    lines += [f"{name}: skipped, {reason}" for name, reason in measured["skipped"].items()]
    for name, rows in measured["rows"].items():
        lines += ["", name, *map(_line, rows)]
    with_bar = [(name, row) for name, rows in measured["rows"].items() for row in rows if row["bar"] is not None]
    missed = [f"  {name}: {row['what']}" for name, row in with_bar if not row["is_reached"]]
    return [*lines, "", f"{len(with_bar) - len(missed)} of {len(with_bar)} bars reached", *missed]


def _line(row: dict[str, Any]) -> str:
    in_v = "" if row["v"] is None else f"{row['v']:.2f} V"
    line = f"  {row['what']:60} {_figure(row['value']):>9} {row['unit']:9} {in_v:>9}"
    if row["bar"] is None:
        return line.rstrip()
    direction = "at least" if row["unit"] == RATE else "at most"
    return f"{line}  {direction} {row['bar']:,.0f}: {'reached' if row['is_reached'] else 'missed'}"


def _figure(value: float) -> str:
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def _as_dict(row: Row, verification: float) -> dict[str, Any]:
    in_v = None if row.unit == RATE else row.value / verification
    return row._asdict() | {"is_reached": row.is_reached, "v": in_v}
