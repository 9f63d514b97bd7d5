"""What operators ask of a store itself, as promises and records: the room that it takes, and what of it is wrong."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter


@dataclass(frozen=True, slots=True)
class Space:
    """The room that a store takes, in bytes, and what is in it beside events."""

    disk_bytes: int
    """Of all files, or of all copies in a cluster."""
    log_bytes: int
    """Of the write-ahead log, which is one of the files."""
    free_bytes: int | None
    """That compacting would give back at least; None if that cannot be told in bytes."""
    removed_documents: int | None
    """Whose room compacting would give back; None where removing gives pages back."""
    worded: int
    """Events whose words are in the index."""
    tombstones: int
    metadata: int
    """Small values of the relay's own."""
    metadata_bytes: int


class Aspect(StrEnum):
    """What of a store may be wrong."""

    FILE = "file"
    """What the store's own engine finds."""
    EVENT = "event"
    """Its JSON, id or signature: nothing can be made anew of it."""
    COLUMNS = "columns"
    """Of the event's own row or document."""
    TAGS = "tags"
    """Rows by which tags and marks find it."""
    WORDS = "words"
    EXPIRY = "expiry"
    TWICE = "stored twice"
    TOMBSTONE = "tombstone"
    """One forbids the event."""
    NUMBERS = "numbers"
    """Of the store as a whole, as the last number that was given."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong."""

    aspect: Aspect
    where: str
    """The event's id as far as that is known, or what else is meant."""
    detail: str
    """In plain words."""

    def __str__(self) -> str:
        return f"{self.aspect}: {self.where}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Inspected:
    """A portion of a store that was looked at."""

    events: int
    faults: tuple[Fault, ...] = ()


Verify: TypeAlias = Callable[[Sequence[Event]], Sequence[bool]]
"""Tells of each event whether its signature is right; blocks."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """What compacting has done, in bytes on disk."""

    before: int
    after: int


class Compactable(Protocol):
    """The part of a store that gives back the room of what was removed."""

    async def compact(self) -> Compacted:
        """Give it back, as far as that goes beside everything else: in portions, with a rest as long between them.

        Cancelling it ends it between two portions.

        Raises:
            CannotCompact: this store has to be compacted without a relay.
            StoreError: it failed; a part may be given back.
        """
        ...


MoveOut: TypeAlias = Callable[[bytes, Fault], object]
"""Keeps the JSON of an event that has no place in a repaired store, and is told why."""


class Inspectable(Protocol):
    """The part of a store that tells operators of its room, of what a removal would take, and of what is wrong."""

    async def space(self) -> Space:
        """Tell the room that it takes; like `tally` it may take long, and holds nothing up.

        Raises:
            StoreError: the store could not answer.
        """
        ...

    def inspect(self, verify: Verify | None = None) -> AsyncGenerator[Inspected, None]:
        """Compare all that is stored with what the events' JSON says, portion by portion; nothing is changed.

        It may take long, holds nothing up, and may be cancelled. What comes or goes meanwhile is no fault.

        Args:
            verify: looks at signatures, too; called in a thread.

        Raises:
            StoreError: from a step, when the store could not answer.
        """
        ...

    async def kinds_of(self, filters: Sequence[Filter]) -> dict[int, int]:
        """Count, by kind, what `Store.remove` of these filters would remove now: limits and readers play no part.

        Raises:
            StoreError: the store could not answer.
        """
        ...
