"""Rows of neighbours as a table, and whether their bars are reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perf.asking import EOSE, LIVE, OK
from perf.neighbours.rounds import Part, Row
from perf.report import align, number, verdict
from perf.results import Verdict

MOST_TIMES: Final = 3.0
"""The 99th of a hundred honest answers takes so many times as long at most as without hostile clients …"""
MOST_WAITING: Final = 0.02
"""… or so many seconds, if that is more."""
PUSHED: Final = (0.06, 0.15)
"""Seconds, p50 and p99, of OK where honest clients have 120 unanswered events."""
_HEAD: Final = (
    *("", "clients", "turns/s", "OK alone", "beside", "REQ alone", "beside", "live", "lost"),
    *("relay", "hostile", "honest", "others", "stolen", "MB", "then"),
)


def table(rows: Sequence[Row]) -> str:
    """A line for each kind: p50/p99 in ms, cores, memory of the relay before and after."""
    return "\n".join(align([_HEAD, *map(_cells, rows)]))


def _cells(row: Row) -> list[str]:
    alone, beside, shares = row.alone, row.beside, row.beside.shares
    cores = (shares.relay, shares.hostile, shares.honest, shares.others, shares.stolen)
    return [
        name_of(row),
        str(row.hostile),
        number(row.done.turns / row.seconds) if row.seconds else "-",
        _latency(alone, OK),
        _latency(beside, OK),
        _latency(alone, EOSE),
        _latency(beside, EOSE),
        _latency(beside, LIVE),
        str(beside.unanswered),
        *(f"{one:.2f}" for one in cores),
        *(f"{one / 1e6:.0f}" for one in row.rss),
    ]


def name_of(row: Row) -> str:
    """Of the kind, and that honest clients had much unanswered."""
    return f"{row.kind}, pushed" if row.is_pushed else row.kind


def _latency(part: Part, kind: str) -> str:
    found = part.latencies.get(kind)
    return "/".join(number(one * 1e3) for one in found) if found else "-"


def bars(row: Row) -> list[Verdict]:
    """What a kind is held to."""
    if row.is_pushed:
        found = row.beside.latencies.get(OK)
        return [
            _verdict(f"{name_of(row)}: {name} of OK", most, None if found is None else found[at])
            for at, (name, most) in enumerate(zip(("p50", "p99"), PUSHED, strict=True))
        ]
    return [_bar(row, OK, "OK"), _bar(row, EOSE, "REQ by id")]


def _bar(row: Row, kind: str, name: str) -> Verdict:
    alone, beside = row.alone.latencies.get(kind), row.beside.latencies.get(kind)
    most = max(MOST_WAITING, MOST_TIMES * alone[1]) if alone else MOST_WAITING
    return _verdict(f"{name_of(row)}: p99 of {name}", most, beside[1] if beside else None)


def _verdict(name: str, most: float, value: float | None) -> Verdict:
    return Verdict(
        bar=f"{name} at most {number(most * 1e3)} ms",
        value=None if value is None else value * 1e3,
        is_reached=None if value is None else value <= most,
    )


def summary(rows: Sequence[Row]) -> str:
    """All bars, in a line each."""
    return "\n".join(verdict(one) for row in rows for one in bars(row))
