"""How what was found is told: to people on a terminal of 80 columns, in text without colour, and to programs (pure)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from trio_relay.doctor.findings import Chart, Finding, Severity, worst_of
from trio_relay.logs import printable

_WIDTH: Final = 80
_NAME: Final = 13
_WORST: Final = 9
_INDENT: Final = "  "
_ORDER: Final = (Severity.FAULT, Severity.WARNING, Severity.NOTE)


def is_well(charts: Sequence[Chart]) -> bool:
    """Return True if nothing is wrong; there may be notes."""
    return worst_of(_all(charts)) in (None, Severity.NOTE)


def as_object(charts: Sequence[Chart]) -> dict[str, object]:
    """Return what was found, for programs: whether all is well, and of each group the facts and the findings."""
    return {
        "healthy": is_well(charts),
        "groups": [
            {"group": chart.group, "facts": chart.facts, "findings": msgspec.to_builtins(chart.findings)}
            for chart in charts
        ],
    }


def lines(charts: Sequence[Chart]) -> Iterator[str]:
    """Yield what was found, for a terminal of 80 columns: a line for each group, and below it what is wrong there."""
    for chart in charts:
        if chart.facts or chart.findings:
            yield from _of_group(chart)
    yield ""
    counts = [(sum(one.severity is severity for one in _all(charts)), severity) for severity in _ORDER]
    told = ", ".join(f"{count} {severity}{'s' if count > 1 else ''}" for count, severity in counts if count)
    yield f"{'Nothing is wrong' if is_well(charts) else 'Something is wrong'}{f': {told}' if told else ''}."


def _of_group(chart: Chart) -> Iterator[str]:
    worst = chart.worst
    said = "ok" if worst is None else worst.upper() if worst is not Severity.NOTE else "note"
    head = f"{chart.group:{_NAME}}{said:{_WORST}}"
    yield from _wrapped(printable("; ".join(chart.facts)), head, " " * len(head))
    for finding in sorted(chart.findings, key=lambda one: _ORDER.index(one.severity)):
        yield f"{_INDENT}{finding.severity}: {finding.code}"
        yield from _wrapped(printable(finding.what), 2 * _INDENT, 2 * _INDENT)
        yield from _wrapped(f"-> {finding.advice}", 2 * _INDENT, f"{2 * _INDENT}   ")


def _wrapped(text: str, first: str, others: str) -> list[str]:
    """Lines of 80 columns at most; what has no blank in it, such as a path to copy, stays whole."""
    return textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    ) or [first.rstrip()]


def _all(charts: Sequence[Chart]) -> list[Finding]:
    return [finding for chart in charts for finding in chart.findings]
