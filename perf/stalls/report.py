"""What holds the loop, as tables: the worst of each class first, and the bars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from perf.report import align, number, verdict
from perf.results import Verdict
from perf.stalls.attempt import FREE_BYTES, MOST_BYTE, MOST_HOLD, Row

_WORST: Final = 10
"""Of a class, so many are shown."""
_HEAD: Final = ("", "", "KB sent", "KB", "hold ms", "wall ms", "gap ms", "CPU ms", "µs/B", "", "")
_CLASSES: Final = ("EVENT", "REQ", "COUNT", "NEG", "FRAMES", "HTTP")
_OTHERS: Final = "OTHERS"
_SHOWN: Final = 0.5
"""Share of a bar from which on a case has a line in a page."""


def class_of(row: Row) -> str:
    """The class of a case: its verb, all of NIP-77 as one, and all other messages as another."""
    verb = row.name.partition(" ")[0].partition("-")[0]
    return verb if verb in _CLASSES else _OTHERS


def tables(rows: Sequence[Row], most: int = _WORST) -> str:
    """The worst cases of each class, by hold."""
    return "\n\n".join(
        "\n".join([f"{name}: the worst of {len(some)}", *align([_HEAD, *map(_cells, some[:most])])])
        for name, some in _classes(rows)
    )


def page(before: Sequence[Row], after: Sequence[Row] = ()) -> str:
    """The worst cases of each class as a table in Markdown, in the form in which they were worse before.

    Args:
        before: of one state of the relay.
        after: of another; empty: its columns stay empty.
    """
    beside = {(row.name, row.form): row for row in after}
    lines = ["| case | KB sent / inflated | hold, ms | after | CPU, ms | after |", "|---|---|---|---|---|---|"]
    for _, some in _classes(before):
        worse: dict[str, Row] = {}
        for row in some:
            is_shown = not row.is_below(_SHOWN) or not beside.get((row.name, row.form), row).is_below()
            if is_shown and row.name not in worse and len(worse) < _WORST:
                worse[row.name] = row
        lines += [_line(row, beside.get((row.name, row.form))) for row in worse.values()]
    return "\n".join(lines)


def _line(row: Row, after: Row | None) -> str:
    sizes = f"{number(row.wire / 1e3)} / {number(row.inflated / 1e3)}"
    beside = ("", "") if after is None else (number(after.held * 1e3), number(after.cpu * 1e3))
    cells = [number(row.held * 1e3), beside[0], number(row.cpu * 1e3), beside[1]]
    name = row.name.replace("|", "\\|").replace("[", "\\[")
    return f"| {' | '.join([name, sizes, *cells])} |"


def bars(rows: Sequence[Row]) -> list[Verdict]:
    """The two that every case is held to; the value is that of the worst."""
    longest = max((row.held for row in rows), default=None)
    dearest = max((row.byte for row in rows if row.byte is not None), default=None)
    return [
        _judge("no message holds the loop longer than {:g} ms", MOST_HOLD, longest, 1e3),
        _judge(
            f"none of more than {FREE_BYTES:,} bytes costs more than {{:g}} µs of CPU a byte", MOST_BYTE, dearest, 1e6
        ),
    ]


def _judge(bar: str, limit: float, value: float | None, factor: float) -> Verdict:
    return Verdict(
        bar=bar.format(limit * factor),
        value=None if value is None else value * factor,
        is_reached=None if value is None else value <= limit,
    )


def summary(rows: Sequence[Row]) -> str:
    """Both bars, who passes them, and what has failed."""
    holding = [row for row in rows if row.held > MOST_HOLD]
    dear = [row for row in rows if (row.byte or 0) > MOST_BYTE]
    lines = [verdict(one) for one in bars(rows)]
    lines.append(f"of {len(rows)} measurements {len(holding)} hold the loop too long, {len(dear)} cost too much")
    lines += [f"{row.name} ({row.form}): {row.failure}" for row in rows if row.failure]
    return "\n".join(lines)


def line(row: Row) -> str:
    """One case, for whoever waits."""
    mark = " " if row.is_below() and not row.failure else "!"
    return (
        f"{mark} {row.name} ({row.form}): {number(row.hold * 1e3)} ms, gap {number(row.gap * 1e3)},"
        f" CPU {number(row.cpu * 1e3)}; {row.failure or row.answer[:90]}"
    )


def _classes(rows: Iterable[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Each class that has cases, the worst first."""
    classes: dict[str, list[Row]] = {name: [] for name in (*_CLASSES, _OTHERS)}
    for row in sorted(rows, key=lambda row: row.held, reverse=True):
        classes[class_of(row)].append(row)
    return ((name, some) for name, some in classes.items() if some)


def _cells(row: Row) -> list[str]:
    numbers = (
        row.wire / 1e3,
        row.inflated / 1e3,
        row.hold * 1e3,
        row.wall * 1e3,
        row.gap * 1e3,
        row.cpu * 1e3,
    )
    byte = "-" if row.byte is None else number(row.byte * 1e6)
    return [row.name, row.form, *map(number, numbers), byte, row.place, row.failure or row.answer[:60]]
