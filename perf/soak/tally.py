"""What clients and judges note of a run: faults, each of which fails it, and numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

MOST_TOLD: Final = 50
"""Faults of a sort that are kept word by word."""


class Tally:
    """Faults by their sort, and how often what happened.

    Args:
        tell: gets a line about each of the first faults of a sort, when it is found.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self._sorts: Counter[str] = Counter()
        self._tell = tell

    def fault(self, sort: str, what: str) -> None:
        """Note that the relay did what it must not."""
        self._sorts[sort] += 1
        if self._sorts[sort] <= MOST_TOLD:
            self.faults.append(f"{sort}: {what}")
            self._tell(f"FAULT {sort}: {what}")

    @property
    def sorts(self) -> dict[str, int]:
        """How many faults there are of each sort."""
        return dict(self._sorts)
