"""What a store tells of itself: how it answers a filter, and what it holds in numbers; for operators who ask "why".

Nothing here is asked by clients: explanations look past the gate where their filter has no `reader`, and a tally counts
everything. Each is bounded in time by who asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from trio_relay.nostr.filter import Filter


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step of how a store looks for what a filter asks for."""

    index: str | None
    """The index that is read; None for steps that read none."""
    detail: str
    """In plain words."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a store has answered one filter."""

    plan: tuple[PlanStep, ...]
    """What it does, in order; empty where it need not look, since nothing can match."""
    looked_at: int | None
    """Rows or documents that it went through to find the answer, or had when it was stopped; None if it cannot tell."""
    seconds: float
    """That the answer took, or that it was given."""
    found: int | None
    """Events of the answer; None if it was stopped before it had them all."""


class Insight(Protocol):
    """The part of a store that tells how it answers, and what it holds."""

    async def explain(self, filter_: Filter, seconds: float) -> Explanation:
        """Answer a filter as `query` would, throw the answer away, and tell what that took.

        Args:
            filter_: it has a limit.
            seconds: after which what is still looked for is given up; it may be looked for twice.

        Raises:
            StoreError: the store could not answer.
        """
        ...
