"""What can be wrong with a relay, and what is (pure).

An `Ailment` is one thing that can be wrong: its code, how bad it is, what it means and what to do. A `Finding` says
that it is there. Verdicts make findings of what was looked at; they neither look nor wait.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from types import ModuleType

from trio_relay.frozen import Frozen


class Severity(StrEnum):
    """How bad something is, the worst last."""

    NOTE = "note"
    """Worth knowing; nothing is wrong."""
    WARNING = "warning"
    """It works, but will not for long, or not for everybody."""
    FAULT = "fault"
    """Something does not work, or events may be lost."""


class Finding(Frozen, frozen=True):
    """That something is as it should not be.

    Attributes:
        code: of the ailment; scripts go by it.
        severity: how bad it is.
        what: was found here, in a sentence.
        advice: what to do.
    """

    code: str
    severity: Severity
    what: str
    advice: str


class Ailment(Frozen, frozen=True):
    """Something that can be wrong.

    Attributes:
        code: short words with hyphens between them; it never changes.
        severity: how bad it is.
        meaning: what it is, for the page that explains all of them.
        advice: what to do.
    """

    code: str
    severity: Severity
    meaning: str
    advice: str

    def found(self, what: str) -> Finding:
        """It is there; `what` says in a sentence where, and how much."""
        return Finding(self.code, self.severity, what, self.advice)


class Chart:
    """What was found out in one group of looks, written as it is found: what comes too late is left out.

    Args:
        group: its name.
    """

    def __init__(self, group: str) -> None:
        self.group = group
        self.facts: list[str] = []
        """In a few words each, whatever they mean."""
        self.findings: list[Finding] = []

    def add(self, findings: Iterable[Finding]) -> None:
        """Write down what verdicts have found."""
        self.findings += findings

    @property
    def worst(self) -> Severity | None:
        """The worst of all findings; None if there is none."""
        return worst_of(self.findings)


def worst_of(findings: Iterable[Finding]) -> Severity | None:
    """The worst of these; None if there is none."""
    order = list(Severity)
    return max((finding.severity for finding in findings), key=order.index, default=None)


def ailments_in(module: ModuleType) -> list[Ailment]:
    """All ailments that a module knows, in the order in which it names them."""
    return [value for value in vars(module).values() if isinstance(value, Ailment)]
