"""The promises of a store; `tests/contract` holds every backend to them.

1. `save_many` decides duplicates, replacement and deletion for the whole batch, in the order of the batch, and gives
   one `Saved` an event.
2. When it returns, what is STORED is durable and visible to the next `query`.
3. `query` gives what matches any of the filters, each once, newest first and the lower id first where times are equal;
   each filter counts its own limit. Where a filter searches for words, the filters' answers follow one another instead,
   in the order of the filters, each in its own order: by relevance, or as its `sort:` says.
4. An event whose deletion was asked for never comes back, nor does the request go: both are kept for ever. Only its
   author's request to vanish takes a request away (NIP-62), and that bars everything as old as itself for ever.
5. A failure of the batch is a `StoreError`, that of one event is FAILED. Neither can be found afterwards, unless an
   answer was lost on its way: then to send the same again does no harm. A store that has transactions fails whole,
   but for requests to vanish that take several.
6. What has expired (NIP-40) and what a filter's `reader` may not read is in no answer: no page, no count, no record.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol, TypeAlias

from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.hyperloglog import Sketch

Listener: TypeAlias = Callable[[Sequence[Event], Sequence[tuple[int, str]]], None]
"""`listener(added, removed)`: hears of each change, on the loop; removed are (created_at, id), and went first."""

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
    """Its author has asked to delete it; of a gift wrap, one of those to whom it is addressed."""
    VANISHED = auto()
    """Its author, or of a gift wrap one of those to whom it is addressed, has asked to vanish, and it is no newer."""
    FAILED = auto()
    """The store could not take it, while it took others of the batch. Sending it again may help."""


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
    trouble: str | None = None
    """Why it takes nothing at the moment, although it may do so yet; None if it does."""


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

    async def count(self, filters: Sequence[Filter]) -> int:
        """How many stored events match any of the filters, each once; limits and `sort:` play no part in it (NIP-45).

        Raises:
            StoreError: the store could not answer.
        """
        ...

    async def sketch(self, filter_: Filter, offset: int) -> Sketch:
        """How many stored events match a filter of `hyperloglog.canonical_offset`, and from how many keys, as a sketch.

        Args:
            filter_: the filter.
            offset: where in a pubkey the sketch looks, 8 to 23.

        Raises:
            StoreError: the store could not answer.
        """
        ...

    def records(self, filter_: Filter) -> AsyncGenerator[bytes, None]:
        """What is stored and matches, as records of 40 bytes: created_at in 8 bytes, big-endian, then the id's 32.

        Each page is some records joined, newest first; the filter's limit counts, if it has one.

        Raises:
            StoreError: from a step, when the store could not answer.
        """
        ...


class Metadata(Protocol):
    """Where the relay's own small things are kept, such as who is banned: values by name, durable."""

    async def get_metadata(self) -> dict[str, bytes]:
        """All that is kept.

        Raises:
            StoreError: the store could not answer.
        """
        ...

    async def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
        """Put values under names, or forget those whose value is None; all or nothing where there are transactions.

        Args:
            changes: names have 1 to 256 characters.

        Raises:
            StoreError: it failed; a part may be kept where there are no transactions.
        """
        ...


class Store(Queryable, Scannable, Metadata, Protocol):
    """Where events are kept. Every method may be called from many tasks, `save_many` from `writers` at a time."""

    @property
    def description(self) -> str:
        """One line for the banner: what it is and where."""
        ...

    @property
    def is_shared(self) -> bool:
        """True if other relays may read and write it too."""
        ...

    @property
    def writers(self) -> int:
        """How many batches it takes at a time."""
        ...

    async def save_many(self, events: Sequence[Event]) -> list[Saved]:
        """Store a batch of verified events that are not ephemeral.

        Raises:
            StoreError: nothing of the batch was stored.
        """
        ...

    async def remove(self, filters: Sequence[Filter]) -> int:
        """Remove what matches any of the filters and all that was made of it; gives how many events that were.

        It is meant for what operators ban. It leaves no tombstone: the same events may be stored again. The filters'
        limits and readers play no part.

        Raises:
            StoreError: it failed; a part may be gone.
        """
        ...

    def follow(self, listener: Listener | None) -> bool:
        """Let this listener, and no other, hear of every change from now on; None: nobody.

        It hears of what a method has changed before that method returns. False where others change the store too, and
        nothing would be heard of that.
        """
        ...

    async def sweep(self) -> int:
        """Remove what has expired (NIP-40); gives how many events that were.

        Raises:
            StoreError: it failed; a part may be gone.
        """
        ...

    async def known(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids (64 hex characters each) that are known to be stored now.

        It saves their verification. One that is left out may be stored all the same, where to ask would cost more than
        to verify it again: `save_many` will tell.

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
