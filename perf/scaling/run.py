"""`python -m perf scaling`: the parts of it by their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import click

from perf.scaling.tables import HEAD, STORED, drawn, markdown


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


_PARTS: Final[dict[str, Callable[[], None]]] = {"tables": _tables}
