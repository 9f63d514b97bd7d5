"""What the simulation draws, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from perf.scaling.costs import MEASURED, Costs
from perf.scaling.fleet import USUAL, Fleet, Limit, Mix, limits
from perf.scaling.machines import divided
from perf.scaling.slice import EOSE, LIVE, OK, Drawn, draw

MACHINES: Final = (1, 2, 4, 10, 100)
LOADS: Final = (0.25, 0.5, 0.75, 0.9)
STORED: Final = (10_000_000, 1_000_000_000)
LARGEST_FILE: Final = 100_000_000
"""Events that one SQLite file is drawn with at most; a million are what was measured."""
_MILLISECOND: Final = 1e-3
HEAD: Final = (
    "machines", "relays + nodes", "shards, copies", "load", "operations/s",
    *(f"{kind} p50 / p99 ms" for kind in (EOSE, OK, LIVE)), "busiest", "binds; then",
)  # fmt: skip


def drawn(
    stored: int,
    machines: Sequence[int] = MACHINES,
    loads: Sequence[float] = LOADS,
    mix: Mix = USUAL,
    costs: Costs = MEASURED,
) -> Iterator[tuple[str, ...]]:
    """Rows of a table: each number of machines under each load, from what it can do at most."""
    for count in machines:
        if count == 1 and stored > LARGEST_FILE:
            continue
        fleet = divided(count, stored, mix, costs)
        scarce = limits(fleet, mix, costs)
        for load in loads:
            yield _row(fleet, load, draw(fleet, mix, costs, load * scarce[0].most), scarce)


def _row(fleet: Fleet, load: float, seen: Drawn, scarce: Sequence[Limit]) -> tuple[str, ...]:
    busiest = max(seen.loads, key=lambda name: seen.loads[name])
    return (
        str(fleet.machines),
        f"{fleet.relays} + {fleet.nodes}" if fleet.nodes else "1, SQLite",
        f"{fleet.shards}, {1 + fleet.replicas}" if fleet.nodes else "",
        f"{load:.0%}",
        f"{seen.rate:,.0f}",
        *(_times(seen, kind) for kind in (EOSE, OK, LIVE)),
        f"{busiest} {seen.loads[busiest]:.0%}",
        f"{scarce[0].name}; {scarce[1].name} at {scarce[1].most / scarce[0].most:.1f} times",
    )


def _times(seen: Drawn, kind: str) -> str:
    if kind not in seen.times:
        return ""
    median, most = seen.times[kind]
    return f"{median * 1e3:.1f} / {most * 1e3:.1f}"


def told(costs: Costs) -> Iterator[tuple[str, str]]:
    """Each cost that is one number, by its name: with its unit, as docs/scaling.md has it."""
    for name in costs.__dataclass_fields__.keys() - {"requests"}:
        value = getattr(costs, name)
        if name.endswith("_bytes") or name.startswith("stored"):
            yield name, f"{value:,.0f} bytes"
        elif value < _MILLISECOND:
            yield name, f"{value * 1e6:g} µs"
        else:
            yield name, f"{value * 1e3:g} ms"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as Markdown has it, with columns that stand below one another on a terminal, too."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    padded.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)
