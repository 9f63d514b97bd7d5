"""The promises of a store; `tests/contract` holds every backend to them.

1. `save_many` decides duplicates, replacement and deletion for the whole batch at once, atomically and in the order of
   the batch, and gives one `Saved` an event.
2. When it returns, what is STORED is durable and visible to the next `query`.
3. `query` gives what matches any of the filters, each once, newest first and the lower id first where times are equal;
   each filter counts its own limit.
4. An event whose deletion was asked for never comes back, nor does the request go: both are kept for ever.
5. A failure is a `StoreError`, and then nothing of the batch is stored. Cancelling a `save_many` doesn't undo it: it
   either happens whole or not at all.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol, TypeAlias

from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter

Page: TypeAlias = list[bytes]
"""Events as their JSON (`event.encode`), in the order of the answer; never empty."""

ID_SLICE = slice(7, 71)
"""Where the id stands in an event's JSON, since `{"id":"` comes first."""


class Saved(Enum):
    """What became of one event of a batch."""

    STORED = auto()
    """Durable, and new."""
    DUPLICATE = auto()
    """This id is stored already."""
    SUPERSEDED = auto()
    """A newer version of its address is stored already, or one of the same age with a lower id."""
    DELETED = auto()
    """Its author has asked to delete it."""


class StoreError(Exception):
    """The store failed; the message may be told to a client. Sending the same again may help."""


class StoreRefused(Exception):
    """The store cannot be opened: another process holds it, or it is of a newer make. For the operator."""


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """How a store is; sizes in bytes."""

    backend: str
    disk_bytes: int = 0
    wal_bytes: int = 0


class Scannable(Protocol):
    """What can be exported."""

    def scan(self) -> AsyncGenerator[Page, None]:
        """Everything that is stored, in the order in which it came.

        Raises:
            StoreError: from a step, when the store could not answer.
        """
        ...


class Queryable(Protocol):
    """What can be asked."""

    def query_nowait(self, filters: Sequence[Filter]) -> Page | None:
        """As `query`, the whole answer at once; None where that could hold up the loop for more than a moment.

        It never raises `StoreError`: what cannot be answered here is None, and `query` will tell why.
        """
        ...

    def query(self, filters: Sequence[Filter]) -> AsyncGenerator[Page, None]:
        """What is stored and matches any of the filters; every filter has a limit.

        Cancelling a step ends the work behind it. No step holds anything between pages.

        Raises:
            StoreError: from a step, when the store could not answer.
        """
        ...


class Store(Queryable, Scannable, Protocol):
    """Where events are kept. Every method may be called from many tasks, `save_many` from one at a time."""

    @property
    def description(self) -> str:
        """One line for the banner: what it is and where."""
        ...

    async def save_many(self, events: Sequence[Event]) -> list[Saved]:
        """Store a batch of verified events that are not ephemeral.

        Raises:
            StoreError: nothing of the batch was stored.
        """
        ...

    async def known(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids (64 hex characters each) that are stored now.

        Raises:
            StoreError: the store could not tell.
        """
        ...

    def known_nowait(self, ids: Sequence[str]) -> set[str] | None:
        """As `known`, for a few ids at once; None where that could hold up the loop for more than a moment."""
        ...

    async def probe(self) -> None:
        """Write and commit nothing of meaning, to see whether the store takes writes.

        Raises:
            StoreError: it does not.
        """
        ...

    def statistics(self) -> StoreStatistics:
        """How the store is."""
        ...
