"""What operators ask of a store itself, as promises and records: the room it takes, what of it is wrong, less room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

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


class Inspectable(Protocol):
    """The part of a store that tells operators of its room and of what a removal would take."""

    async def space(self) -> Space:
        """Tell the room that it takes; like `tally` it may take long, and holds nothing up.

        Raises:
            StoreError: the store could not answer.
        """
        ...

    async def kinds_of(self, filters: Sequence[Filter]) -> dict[int, int]:
        """Count, by kind, what `Store.remove` of these filters would remove now: limits and readers play no part.

        Raises:
            StoreError: the store could not answer.
        """
        ...
