"""The sets that clients compare theirs with (NIP-77): read from the store, and one of them kept, following it.

Most syncs are of an author or of a kind, and their set is read when it is asked for. To read all there is takes seconds
a million events, so that set stays for a while once it was asked for, and is told what is stored and what goes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial
from typing import Annotated, Final

import msgspec
import trio
from msgspec import Meta

from trio_relay.nostr.access import NOBODY, Reader
from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.negentropy.items import Items, ItemSet
from trio_relay.nostr.negentropy.protocol import reply
from trio_relay.pipeline.paging import paged
from trio_relay.pipeline.query_turns import QueryTurns
from trio_relay.pipeline.statistics import SyncStatistics
from trio_relay.policy.identity import Identity
from trio_relay.store.base import QueryTooLarge, Store, StoreError

_RECORD: Final = 40
_KEPT_SECONDS: Final = 600.0
"""After so long without a sync of all there is, that set goes."""
_SETS_HELD: Final = 4
"""So many of the largest sets may be held by all sessions together, each of them for itself."""


_MOST_SESSIONS: Final = 256
"""Of the whole relay: a snapshot of the set that is kept takes up to a quarter of a megabyte by itself."""


class SyncOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sync of sets of events (NIP-77)."""

    enabled: Annotated[bool, Meta(description="Answer NEG-OPEN; if off, it is refused and not advertised.")] = True
    max_events: Annotated[
        int, Meta(ge=1, description="Most events of one sync; larger sets are refused.", extra={"unit": "events"})
    ] = 1_000_000
    max_sessions: Annotated[
        int, Meta(ge=1, description="Most open syncs of one connection.", extra={"unit": "syncs"})
    ] = 4
    idle_seconds: Annotated[
        float,
        Meta(
            gt=0,
            description="How long a client may be silent before the relay ends its sync.",
            extra={"unit": "seconds"},
        ),
    ] = 60.0
    frame_bytes: Annotated[
        int,
        Meta(
            ge=4_096,
            le=2**20,
            description=(
                "Longest message of a sync before it becomes hex, which doubles it; at most a quarter of an outbox."
            ),
            extra={"unit": "bytes"},
        ),
    ] = 131_072


class SetTooLarge(Rejected):
    """A set has more events than a sync may have; `most` is how many that is."""

    def __init__(self, most: int) -> None:
        super().__init__(Prefix.BLOCKED, f"this sync is of more than {most} events (max_events)")
        self.most = most


class SyncSets:
    """Makes the sets, and bounds them.

    Args:
        store: has the events.
        options: the bounds.
        turns: each page of a set has one.
        nobody: a reader who has not authenticated.
    """

    def __init__(self, store: Store, options: SyncOptions, turns: QueryTurns, nobody: Reader = NOBODY) -> None:
        self.options = options
        self._store = store
        self._turns = turns
        self._itself = Identity()
        """Is charged for the set of all there is: if who asks first were, all others would wait for as long."""
        self._nobody = nobody
        self._following = _Following(nobody.private_kinds)
        self._too_large_until = -math.inf
        self._building = trio.Lock()
        self._sessions = 0
        self._sets_read = 0
        self._held = 0

    async def open(self, filter_: Filter, reader: Reader, who: Identity | None = None) -> Sync:
        """The set of what is stored, matches the filter, and may be read by this reader, as it is now.

        Args:
            filter_: what the set is of.
            reader: who may read it.
            who: is charged for it; None: nobody.

        Raises:
            Rejected: it is too large, there are too many, or the store could not tell.
        """
        held = 0
        if self._sessions >= _MOST_SESSIONS:
            raise _too_many()
        self._sessions += 1
        try:
            items = await self._of_all(filter_) if self._is_of_all(filter_, reader) else None
            if items is None:
                collection, held = await self._read(filter_.read_by(reader), who)
                items = collection.snapshot()
        except trio.TooSlowError:
            self._sessions -= 1
            reason = f"the sync's set took more than {self._turns.seconds:g} seconds to read (query_seconds)"
            raise Rejected(Prefix.ERROR, reason) from None
        except QueryTooLarge as error:
            self._sessions -= 1
            raise Rejected(Prefix.INVALID, str(error)) from error
        except StoreError as error:
            self._sessions -= 1
            raise Rejected(Prefix.ERROR, str(error)) from error
        except BaseException:
            self._sessions -= 1
            raise
        return Sync(self, items, held, self.options.frame_bytes)

    def close(self, session: Sync) -> None:
        """A session has ended. For `Sync`."""
        self._sessions -= 1
        self._held -= session.held

    def _is_of_all(self, filter_: Filter, reader: Reader) -> bool:
        """True if the answer is a part of the set that is kept; it is kept only where nobody else writes."""
        is_plain = filter_ == Filter(since=filter_.since, until=filter_.until)
        is_kept = not self._store.is_shared and trio.current_time() > self._too_large_until
        return is_plain and is_kept and not reader.keys

    async def _of_all(self, filter_: Filter) -> Items | None:
        """Of all public events, those of a filter's time; None if all of them are too many to be kept."""
        following = self._following
        async with self._building:
            await self._store.sweep()  # what is kept doesn't know what has expired meanwhile
            if following.collection is None:
                following.begin()
                self._store.follow(following.changed)
                try:
                    collection, number = await self._read(Filter(reader=self._nobody), self._itself)
                except SetTooLarge:
                    self._drop()
                    self._too_large_until = trio.current_time() + _KEPT_SECONDS
                    return None
                except BaseException:
                    self._drop()
                    raise
                self._held -= number  # it is held once, whoever compares with it
                following.complete(collection)
            following.used = trio.current_time()
            assert following.collection is not None, "it was there, or has been read"
            items = following.collection.snapshot(filter_.since, filter_.until)
        if len(items) > self.options.max_events:
            raise SetTooLarge(self.options.max_events)
        return items

    async def _read(self, filter_: Filter, who: Identity | None) -> tuple[ItemSet, int]:
        """The set, and how many events it counts for among those that are `held`: from the first page on."""
        collection, number = ItemSet(), 0
        if not filter_.wants_stored:
            return collection, number
        self._sets_read += 1
        try:
            async with aclosing(paged(partial(self._store.records, filter_), self._turns, who)) as pages:
                async for page in pages:
                    number += self._reserve(number, len(page) // _RECORD)
                    collection.extend(page)
                    await trio.lowlevel.checkpoint()
        except BaseException:
            self._held -= number
            raise
        return collection, number

    def _reserve(self, number: int, more: int) -> int:
        if number + more > self.options.max_events:
            raise SetTooLarge(self.options.max_events)
        if self._held + more > _SETS_HELD * self.options.max_events:
            raise _too_many()
        self._held += more
        return more

    def forget_idle(self) -> None:
        """Let the set of all there is go, if nobody has asked for it of late."""
        if self._following.collection is not None and trio.current_time() - self._following.used > _KEPT_SECONDS:
            self._drop()

    def _drop(self) -> None:
        self._store.follow(None)
        self._following.end()

    def statistics(self) -> SyncStatistics:
        """How syncs are."""
        kept = self._following.collection
        return SyncStatistics(self._sessions, self._sets_read, 0 if kept is None else len(kept), self._held)


class Sync:
    """One sync; `close` it at last.

    Args:
        syncing: whose it is.
        items: what it compares.
        held: items that it alone holds.
        frame_bytes: of its answers.
    """

    def __init__(self, syncing: SyncSets, items: Items, held: int, frame_bytes: int) -> None:
        self.held = held
        self.last_heard = trio.current_time()
        self.is_busy = False
        """True while a message is being answered: the two sides take turns."""
        self.longest = 2 * frame_bytes
        """Bytes of a message that is read at all."""
        self._syncing = syncing
        self._items = items
        self._frame_bytes = frame_bytes

    def reply(self, message: bytes) -> bytes:
        """The answer to a message of the client; may be called in a thread.

        Raises:
            Rejected: it is none of the protocol.
        """
        return reply(self._items, message, self._frame_bytes)

    def close(self) -> None:
        """The session is over; once only."""
        self._syncing.close(self)


def _too_many() -> Rejected:
    return Rejected(Prefix.ERROR, "too many syncs are running")


class _Following:
    """The set of all public events, and the changes that came while it was read."""

    def __init__(self, private_kinds: frozenset[int]) -> None:
        self.collection: ItemSet | None = None
        self._private_kinds = private_kinds
        self.used = -math.inf
        self._missed: list[tuple[Sequence[Event], Sequence[tuple[int, str]]]] | None = None

    def begin(self) -> None:
        self._missed = []

    def complete(self, collection: ItemSet) -> None:
        """It has been read: what changed meanwhile may be in it or not, and is now what it was last."""
        missed, self._missed = self._missed or [], None
        self.collection = collection
        for added, removed in missed:
            self.changed(added, removed)

    def end(self) -> None:
        self.collection = self._missed = None

    def changed(self, added: Sequence[Event], removed: Sequence[tuple[int, str]]) -> None:
        """The store has changed: first what is removed went, then what is added came."""
        if self._missed is not None:
            self._missed.append((added, removed))
        elif self.collection is not None:
            for created_at, event_id in removed:
                self.collection.discard(created_at, bytes.fromhex(event_id))
            for event in added:
                if event.kind not in self._private_kinds:
                    self.collection.add(event.created_at, bytes.fromhex(event.id))
