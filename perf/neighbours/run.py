"""`python -m perf neighbours`: each kind of hostile neighbours in turn, a relay for each, or one for all of memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click
import msgspec

from perf.neighbours import memory
from perf.neighbours.kinds import KINDS
from perf.neighbours.memory import Memory
from perf.neighbours.report import summary, table
from perf.neighbours.rounds import Row, house

PUSHED: Final = "pushed"
MEMORY: Final = "memory"
_PUSHED_BY: Final = "churn"


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """All that was measured."""

    rows: list[Row]
    memory: Memory | None = None


def main(names: Sequence[str], python: str, json_file: Path | None = None, hostile: int = 20) -> None:
    """Measure, and tell.

    Args:
        names: of kinds; "pushed": churn beside honest clients with 120 unanswered events; "memory": all kinds in turn
            against one relay; empty: all kinds and "pushed".
        python: of an environment that has the relay.
        json_file: gets all numbers.
        hostile: so many hostile clients.
    """
    if unknown := set(names) - {*KINDS, PUSHED, MEMORY}:
        known = ", ".join([*KINDS, PUSHED, MEMORY])
        raise click.UsageError(f"no kind {', '.join(sorted(unknown))}; there are {known}")
    found = measure(names or (*KINDS, PUSHED), python, hostile, click.echo)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    if found.rows:
        click.echo(
            f"\np50/p99 in ms, cores, MB of the relay before and then\n{table(found.rows)}\n\n{summary(found.rows)}"
        )
    if found.memory is not None:
        click.echo("\n" + memory.report(found.memory))


def measure(names: Sequence[str], python: str, hostile: int, tell: Callable[[str], None], scale: float = 1.0) -> Found:
    """What is named, one after another.

    Raises:
        Failed: a relay doesn't start, has ended, or has refused an honest client.
    """
    rows: list[Row] = []
    for name in names:
        if name == MEMORY:
            continue
        is_pushed = name == PUSHED
        kind = KINDS[_PUSHED_BY if is_pushed else name]
        with house(python, tell, scale) as one:
            rows.append(one.round(kind.name, hostile, is_pushed=is_pushed))
        tell(table(rows[-1:]).splitlines()[-1])
    remembered: Memory | None = None
    if MEMORY in names:
        with house(python, tell, scale) as one:
            remembered = memory.remember(one, tuple(KINDS), hostile, tell)
    return Found(rows=rows, memory=remembered)
