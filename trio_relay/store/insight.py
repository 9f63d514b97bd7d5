"""What a store tells operators of itself, as records: how it answers a filter, and what it holds in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final


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


MOST_KINDS: Final = 100
MOST_DAYS: Final = 60
MOST_AUTHORS: Final = 20
DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class OfKind:
    """What is stored of one kind."""

    kind: int
    events: int


@dataclass(frozen=True, slots=True)
class OfDay:
    """What is stored of one day, by `created_at`."""

    day: str
    """As 2026-11-30, in UTC."""
    events: int


@dataclass(frozen=True, slots=True)
class OfAuthor:
    """What is stored of one author."""

    pubkey: str
    events: int


@dataclass(frozen=True, slots=True)
class Expiring:
    """What is stored that expires (NIP-40)."""

    events: int
    next: int | None
    """When the first of them does, or has: seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a store holds in numbers, until the next sweep: what has expired is counted, and so is what is private."""

    events: int
    kinds: tuple[OfKind, ...]
    """Those with most events, most first and then the lower kind; at most `MOST_KINDS`."""
    days: tuple[OfDay, ...]
    """The newest of which there is any event, newest first; at most `MOST_DAYS`."""
    authors: tuple[OfAuthor, ...]
    """Those with most events, most first and then the lower key; at most `MOST_AUTHORS`."""
    expiring: Expiring


def day_of(number: int) -> str:
    """Write a day as text, from days since 1970."""
    return (date(1970, 1, 1) + timedelta(days=number)).isoformat()
