"""The promises of a store; `tests/contract` holds every backend to them.

1. `save_many` decides duplicates, replacement and deletion for the whole batch, in the order of the batch, and returns
   one `Saved` for each event.
2. When it returns, what is STORED is durable and visible to the next `query`.
3. `query` returns the events that match any of the filters, each once, newest first and the lower id first where times
   are equal; each filter has its own limit. If a filter searches for words, the answers of the filters follow one
   another instead, in the order of the filters, each in its own order: by relevance, or as its `sort:` says.
4. A deleted event never comes back, and the request that deleted it stays: both are kept for ever. Only the author's
   request to vanish removes a request to delete (NIP-62), and it bars everything that is as old as itself for ever.
   Of an address, nothing comes back that is as old as a version that stood until it was deleted or expired, or older.
5. If a batch fails, a `StoreError` is raised; if one event fails, its outcome is FAILED. Neither can be found
   afterwards, unless an answer of the store was lost: then sending the same events again does no harm. A store with
   transactions fails as a whole, but for requests to vanish that take several.
6. Expired events (NIP-40) and events that a filter's `reader` may not read are in no answer: no page, count or record.
   Only a `tally` counts all that takes room.
7. What is replaced, deleted or has expired may be kept apart for operators: `archive` has the promises of that.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol, TypeAlias

from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.hyperloglog import Sketch
from trio_relay.store.archive import Archive
from trio_relay.store.insight import Explanation, Holdings
from trio_relay.store.inspection import Compactable, Inspectable
from trio_relay.store.surveyed import Forgettable

Listener: TypeAlias = Callable[[Sequence[Event], Sequence[tuple[int, str]]], None]
"""`listener(added, removed)`: called on the loop with each change; removed are (created_at, id), removed first."""


class Audience(Protocol):
    """Who hears of what others have done to a store: other processes, or other relays that share it."""

    @property
    def is_listening(self) -> bool:
        """False while nobody would get anything: what comes until then need be neither noted nor delivered."""
        ...

    def note(self, events: Sequence[Event]) -> None:
        """These will be delivered; to be called before any query can find them; sync."""
        ...

    async def deliver(self, events: Sequence[Event]) -> None:
        """Have subscribers get what was noted, or what nobody stores; waits while deliveries are behind."""
        ...

    def decided(self) -> None:
        """The metadata has changed; sync."""
        ...

    def missed(self) -> None:
        """Some changes will never be told to a `Listener`; sync."""
        ...


Page: TypeAlias = list[bytes]
"""A list of events as JSON (`event.encode`), in the order of the answer; never empty."""


def id_of(json: bytes) -> bytes:
    """The id, in hex, of an event as JSON, which begins with `{"id":"`."""
    return json[7:71]


class Saved(Enum):
    """The outcome of one event of a batch."""

    STORED = auto()
    """Durable, and new."""
    DUPLICATE = auto()
    """This id is stored already."""
    SUPERSEDED = auto()
    """A newer version of its address is stored already, or one of the same age with a lower id."""
    DELETED = auto()
    """Its author, or for a gift wrap one of its recipients, has asked to delete it; or it is as old as a version of its
    address that was deleted or has expired, or older."""
    VANISHED = auto()
    """Its author, or for a gift wrap one of its recipients, has asked to vanish, and it is not newer than that."""
    FAILED = auto()
    """The store could not take it, while it took others of the batch. Sending it again may help."""


class StoreError(Exception):
    """A failure of the store; the message may be sent to clients. Sending the same events again may help."""


class QueryTooLarge(StoreError):
    """A question that asks for more at once than the store can look for: asking it again does not help."""


class CannotCompact(StoreError):
    """A store that cannot be compacted while it is used, with what is to be done instead."""


class StoreRefused(Exception):
    """A store that cannot be opened, with the reason for the operator: it is in use, or of a newer version."""


class StoreInUse(StoreRefused):
    """Another process has it open, which the message names."""


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """The state of a store's cache: events that it keeps now, and bytes of memory that it uses."""

    events: int
    bytes: int
    hits: int
    """Events that were asked for and there, since the start."""
    misses: int
    """Events that were asked for and not there."""


@dataclass(frozen=True, slots=True)
class NoteStatistics:
    """What a store has told others over a bus, and heard from them."""

    is_connected: bool
    sent: int
    """Notes that others can hear."""
    heard: int
    """Notes of others."""
    dropped: int
    """Notes that found no room while the bus was away: the others have read from the store what was in them."""
    gaps: int
    """How often something may have been missed, and was read from the store, the start included."""


@dataclass(frozen=True, slots=True)
class SharingStatistics:
    """What others on the same store have been heard to do."""

    heard: dict[str, int]
    """Events of others by the way that brought them first: `bus`, or `index`, the store itself."""
    seconds_behind: float
    """Since the last look for what others have done was begun that was carried through."""
    notes: NoteStatistics | None = None
    """None without a bus."""


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """The state of a store; sizes in bytes, and `free_bytes` of room left where its file is, if it has one."""

    backend: str
    disk_bytes: int = 0
    wal_bytes: int = 0
    trouble: str | None = None
    """Why it stores nothing at the moment, although it still tries; None if it does."""
    cache: CacheStatistics | None = None
    """None if it has none."""
    degraded: str | None = None
    """What is worse than it should be, although everything is stored; None if nothing is."""
    sharing: SharingStatistics | None = None
    """None if there are no others."""
    free_bytes: int | None = None
    failed_requests: dict[str, int] | None = None
    """Requests that a cluster did not carry out so far, by why; None if there is no cluster."""


class Scannable(Protocol):
    """The part of a store that an export needs."""

    def scan(self) -> AsyncGenerator[Page, None]:
        """Yield everything that is stored, in the order in which it came.

        Raises:
            StoreError: from a step, when the store could not answer.
        """
        ...


class Queryable(Protocol):
    """The part of a store that answers questions."""

    @property
    def has_all_words(self) -> bool:
        """False while words of stored events are being made, so that searches may not find all of these yet."""
        ...

    @property
    def readers(self) -> int:
        """The number of questions of clients that it works on at a time: pages of answers, counts, and the like."""
        ...

    def query_nowait(self, filters: Sequence[Filter]) -> Page | None:
        """Return the whole answer of `query` at once; None if that could hold up the loop for more than a moment.

        It never raises `StoreError`: it returns None, and `query` will raise.
        """
        ...

    def query(self, filters: Sequence[Filter]) -> AsyncGenerator[Page, None]:
        """Yield what is stored and matches any of the filters; every filter has a limit.

        Cancelling a step ends the work behind it. Nothing is held between pages.

        Raises:
            StoreError: from a step, when the store could not answer.
        """
        ...

    async def count(self, filters: Sequence[Filter]) -> int:
        """Count the stored events that match any of the filters, each once; limits and `sort:` play no part (NIP-45).

        Raises:
            StoreError: the store could not answer.
        """
        ...

    async def sketch(self, filter_: Filter, offset: int) -> Sketch:
        """Count the stored events that match a filter of `hyperloglog.canonical_offset`, and their keys, as a sketch.

        Args:
            filter_: the filter.
            offset: where in a pubkey the sketch looks, 8 to 23.

        Raises:
            StoreError: the store could not answer.
        """
        ...

    def records(self, filter_: Filter) -> AsyncGenerator[bytes, None]:
        """Yield what is stored and matches, as sync records of 40 bytes: created_at in 8 bytes, big-endian, and the id.

        Each page is some records joined, newest first; the filter's limit counts, if it has one.

        Raises:
            StoreError: from a step, when the store could not answer.
        """
        ...


class Insight(Protocol):
    """The part of a store that tells operators how it answers, what it holds, and what it would say."""

    async def explain(self, filter_: Filter, seconds: float) -> Explanation:
        """Answer a filter as `query` would, throw the answer away, and tell what that took.

        Args:
            filter_: it has a limit.
            seconds: after which what is still looked for is given up; it may be looked for twice.

        Raises:
            StoreError: the store could not answer.
        """
        ...

    async def tally(self) -> Holdings:
        """Count what is stored; it may take long, holds nothing up, and may be cancelled.

        What is stored or removed meanwhile may be in one of the numbers and not in another. A store of several shards
        finds the biggest authors by asking each shard for its own, so that of authors of like size one may be missing.

        Raises:
            StoreError: the store could not answer.
        """
        ...

    async def foresee(self, event: Event) -> Saved:
        """Tell what would become of an event if it were saved now, and save nothing.

        Args:
            event: not ephemeral.

        Raises:
            StoreError: the store could not tell.
        """
        ...


class ReadableMetadata(Protocol):
    """The part of a store that tells the relay's own small values by name, such as its bans."""

    async def get_metadata(self) -> dict[str, bytes]:
        """Return all values by name.

        Raises:
            StoreError: the store could not answer.
        """
        ...


class Metadata(ReadableMetadata, Protocol):
    """The part of a store that keeps these values; durable."""

    async def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
        """Put values under names, or delete those whose value is None; all or nothing if there are transactions.

        Args:
            changes: values by name; names have 1 to 256 characters.

        Raises:
            StoreError: it failed; a part may be kept where there are no transactions.
        """
        ...


class Store(Queryable, Scannable, Forgettable, Metadata, Insight, Inspectable, Compactable, Archive, Protocol):
    """A store of events; every method may be called from many tasks, `save_many` from `writers` at a time."""

    @property
    def description(self) -> str:
        """One line for the banner: which store, and where."""
        ...

    @property
    def is_shared(self) -> bool:
        """True if other relays may read and write it, too."""
        ...

    @property
    def writers(self) -> int:
        """The number of batches that it saves at a time."""
        ...

    async def save_many(self, events: Sequence[Event]) -> list[Saved]:
        """Store a batch of verified events that are not ephemeral.

        Raises:
            StoreError: nothing of the batch was stored.
        """
        ...

    async def remove(self, filters: Sequence[Filter]) -> int:
        """Remove what matches any of the filters and everything derived from it; returns the number of events.

        It is meant for what operators ban. It leaves no tombstone: the same events may be stored again. The filters'
        limits and readers play no part. The archive forgets what matches, too.

        Raises:
            StoreError: it failed; a part may be gone.
        """
        ...

    def follow(self, listener: Listener | None) -> bool:
        """Call this listener, and no other, with every change from now on; None: nobody.

        It is called before the method that made the change returns. Returns False if others change the store, too,
        whose changes would not be noticed.
        """
        ...

    def hear(self, audience: Audience | None) -> None:
        """Let this audience, and no other, hear of what others do from now on; None: nobody.

        It hears nothing of what this object was asked to do. Where there are no others, it is never called.
        """
        ...

    def spread(self, events: Sequence[Event]) -> None:
        """Have the audiences of others get events that nobody stores (NIP-01, "Kinds"); never waits, and may fail."""
        ...

    async def sweep(self) -> int:
        """Remove expired events (NIP-40), and bar what is as old as they were at their addresses; returns their number.

        The archive forgets what went longer ago than it is to be kept.

        Raises:
            StoreError: it failed; a part may be gone.
        """
        ...

    async def known(self, ids: Sequence[str]) -> set[str]:
        """Return those of the ids (64 hex characters each) that are known to be stored now.

        It saves their verification. An id that is left out may be stored all the same, where asking would cost more
        than verifying again; `save_many` decides.

        Raises:
            StoreError: the store could not tell.
        """
        ...

    def known_nowait(self, ids: Sequence[str]) -> set[str] | None:
        """Return what `known` does, for a few ids at once; None if that could hold up the loop."""
        ...

    async def probe(self) -> None:
        """Write something meaningless and commit it, to see whether the store takes writes.

        Raises:
            StoreError: it does not.
        """
        ...

    def statistics(self) -> StoreStatistics:
        """Return the state of the store."""
        ...
