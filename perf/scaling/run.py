"""`python -m perf scaling`: the parts of it by their names."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import click

from perf import node
from perf.cluster import Cluster
from perf.corpus import signed_events
from perf.scaling import checking, plans, shards, streams
from perf.scaling.tables import HEAD, STORED, drawn, markdown

_CORPUS: Final = 45_000


def main(names: Sequence[str]) -> None:
    """Draw the tables, or carry out the parts that are named.

    Raises:
        click.UsageError: there is no such part.
    """
    if unknown := [name for name in names if name not in _PARTS]:
        raise click.UsageError(f"no part {', '.join(unknown)}; there are {', '.join(_PARTS)}")
    for name in names or ("tables",):
        _PARTS[name]()


def _tables() -> None:
    for stored in STORED:
        click.echo(f"\n{stored:,} events stored; a tenth of the operations are new events")
        click.echo(markdown(HEAD, drawn(stored)))


def _plans() -> None:
    click.echo(markdown(*plans.table()))


def _measure() -> None:
    events = signed_events(_CORPUS)
    added, given, held, size = streams.notes(events)
    click.echo(f"bus: {added * 1e6:.2f} µs of Redis to add a note, {given * 1e6:.2f} for each reader, {held:.0f} bytes")
    click.echo(f"an event as JSON: {size:.0f} bytes")
    with (
        tempfile.TemporaryDirectory(prefix="perf-") as folder,
        node.running(node.OLD, Path(folder), heap="1g", quick=False) as one,
        closing(Cluster(one.url, one.pid)) as cluster,
    ):
        click.echo(markdown(shards.HEAD, map(shards.row, shards.look(cluster))))


def _check() -> None:
    for name in checking.SCENARIO_NAMES:
        rows = list(checking.checked(name, click.echo))
        click.echo(markdown(checking.HEAD, rows) + "\n")


_PARTS: Final[dict[str, Callable[[], None]]] = {
    "tables": _tables,
    "plans": _plans,
    "measure": _measure,
    "check": _check,
}
