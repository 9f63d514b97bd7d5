"""The sets that clients compare theirs with (NIP-77): read from the store, and one of them kept, following it.

Most syncs are of an author or of a kind, and their set is read when it is asked for. To read all there is takes seconds
a million events, so that set stays for a while once it was asked for, and is told what is stored and what goes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Final

import trio

from trio_relay.nostr.access import NOBODY, Reader
from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.negentropy.items import Items, ItemSet
from trio_relay.nostr.negentropy.protocol import reply
from trio_relay.pipeline.options import SyncOptions
from trio_relay.pipeline.paging import Pager
from trio_relay.pipeline.query_turns import QueryTurns
from trio_relay.pipeline.statistics import SyncStatistics
from trio_relay.places import Places
from trio_relay.policy.identity import Identity
from trio_relay.scoreboard import Scoreboard
from trio_relay.shares import Shares
from trio_relay.store.base import QueryTooLarge, Store, StoreError

_RECORD: Final = 40
_KEPT_SECONDS: Final = 600.0
"""After so long without a sync of all there is, that set goes."""


MOST_SESSIONS: Final = 256
"""Of the whole relay: a snapshot of the set that is kept takes up to a quarter of a megabyte by itself."""
_MOST_SESSIONS_OF_ONE: Final = 64
"""Of one address."""
_IDLE_SECONDS: Final = 5.0
"""A session of which nothing was heard for so long makes room where there is none."""
_CROWD: Final = 16
"""Sessions of one address, of which the one that was heard of last the longest ago makes room in any case."""


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
        scoreboard: of the workers whose syncs count too; None: there are no others.
    """

    def __init__(
        self,
        store: Store,
        options: SyncOptions,
        turns: QueryTurns,
        nobody: Reader = NOBODY,
        scoreboard: Scoreboard | None = None,
    ) -> None:
        self.options = options
        self._store = store
        self._turns = turns
        self._itself = Identity()
        """Is charged for the set of all there is: if who asks first were, all others would wait for as long."""
        self._nobody = nobody
        self._following = _Following(nobody.private_kinds)
        self._too_large_until = -math.inf
        self._building = trio.Lock()
        others, others_events = (scoreboard.syncs, scoreboard.sync_events) if scoreboard else (None, None)
        self._places: Places[Sync] = Places(
            MOST_SESSIONS, _MOST_SESSIONS_OF_ONE, _idle_since, _IDLE_SECONDS, crowd=_CROWD, elsewhere=others
        )
        self._events: Shares[str] = Shares(options.max_events_of_all, elsewhere=others_events)
        self._holders: dict[Sync, None] = {}
        """Sessions with a set of their own."""
        self._everything = Sync(self, frame_bytes=0)
        """Nobody's, and always busy: holds what is kept, once, whoever compares with it."""
        self._sets_read = 0

    def take_options(self, options: SyncOptions) -> None:
        """Go by other bounds from now on; syncs that are open go on as they were begun."""
        self.options = options
        self._events.bound(options.max_events_of_all, 0)
        self._too_large_until = -math.inf

    async def open(self, filter_: Filter, reader: Reader, who: Identity | None = None) -> Sync:
        """The set of what is stored, matches the filter, and may be read by this reader, as it is now.

        Args:
            filter_: what the set is of.
            reader: who may read it.
            who: is charged for it; None: nobody.

        Raises:
            Rejected: it is too large, there are too many, or the store could not tell.
        """
        session = Sync(self, self.options.frame_bytes, None if who is None else who.origin)
        with self._opening(session):
            items = await self._of_all(filter_) if self._is_of_all(filter_, reader) else None
            if items is None:
                collection = await self._read(filter_.read_by(reader), session, who)
                items = collection.snapshot()
        session.begin(items)
        return session

    @contextmanager
    def _opening(self, session: Sync) -> Iterator[None]:
        """Give a session its place, from which another may have to go; it has none if this fails.

        Raises:
            Rejected: there is none, or what went wrong within, in words for the client.
        """
        if self._places.lack(session.origin) is not None:
            idlest = self._places.put_out(session.origin, trio.current_time())
            if idlest is None:
                raise _too_many()
            idlest.make_room()
        self._places.take(session, session.origin)
        try:
            yield
        except trio.TooSlowError:
            self.close(session)
            reason = f"the sync's set took more than {self._turns.seconds:g} seconds to read (query_seconds)"
            raise Rejected(Prefix.ERROR, reason) from None
        except QueryTooLarge as error:
            self.close(session)
            raise Rejected(Prefix.INVALID, str(error)) from error
        except StoreError as error:
            self.close(session)
            raise Rejected(Prefix.ERROR, str(error)) from error
        except BaseException:
            self.close(session)
            raise

    def close(self, session: Sync) -> None:
        """A session has ended. For `Sync`."""
        self._places.give_back(session)
        if session.held:
            self._events.give_back(session.origin, session.held)
            session.held = 0
        self._holders.pop(session, None)

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
                    collection = await self._read(Filter(reader=self._nobody), self._everything, self._itself)
                except SetTooLarge:
                    self._drop()
                    self._too_large_until = trio.current_time() + _KEPT_SECONDS
                    return None
                except BaseException:
                    self._drop()
                    raise
                following.complete(collection)
            following.used = trio.current_time()
            assert following.collection is not None, "it was there, or has been read"
            items = following.collection.snapshot(filter_.since, filter_.until)
            if following.is_stale:
                self._drop()
        if len(items) > self.options.largest:
            raise SetTooLarge(self.options.largest)
        return items

    async def _read(self, filter_: Filter, session: Sync, who: Identity | None) -> ItemSet:
        """The set, whose events count as `held` by this sync from the first page on."""
        collection = ItemSet()
        if not filter_.wants_stored:
            return collection
        self._sets_read += 1
        async with aclosing(Pager(partial(self._store.records, filter_), self._turns, who)) as pages:
            while (page := await pages.next_page()) is not None:
                self._reserve(session, len(page) // _RECORD)
                collection.extend(page)
                await trio.lowlevel.checkpoint()
        return collection

    def _reserve(self, session: Sync, more: int) -> None:
        most = self.options.largest
        if session.held + more > most:
            raise SetTooLarge(most)
        while self._events.lack(None, more) is not None:
            self._largest_idle(session, more).make_room()
        self._events.take(session.origin, more)
        session.held += more
        self._holders[session] = None

    def _largest_idle(self, newcomer: Sync, more: int) -> Sync:
        """The session whose set makes room for that of another: one that is idle, of the address that holds most.

        An address that holds more than half of all that may be held makes room for others in any case. What it holds
        on other workers counts, but only sessions of this one make room.

        Raises:
            Rejected: there is none.
        """
        now, crowd = trio.current_time(), self.options.max_events_of_all // 2
        sums = {session.holder: self._held_with(session) for session in (*self._holders, newcomer)}
        greedy = {holder for holder, held in sums.items() if held > crowd} - {newcomer.holder}
        idle = [
            session
            for session in self._holders
            if not session.is_busy and (now - session.last_heard >= _IDLE_SECONDS or session.holder in greedy)
        ]
        found = max(idle, key=lambda session: (sums[session.holder], -session.last_heard), default=None)
        is_own = found is not None and found.holder == newcomer.holder
        if found is None or not (is_own or sums[found.holder] >= sums[newcomer.holder] + more):
            raise _too_many()
        return found

    def _held_with(self, session: Sync) -> int:
        """How many events are held by all sessions that count as this one does."""
        return session.held if session.origin is None else self._events.held_everywhere_by(session.origin)

    def forget_idle(self) -> None:
        """Let the set of all there is go, if nobody has asked for it of late."""
        if self._following.collection is not None and trio.current_time() - self._following.used > _KEPT_SECONDS:
            self._drop()

    def forget_all(self) -> None:
        """Read the set of all there is anew for the next who asks: changes of the store were missed."""
        self._following.is_stale = True
        if self._following.collection is not None:
            self._drop()

    def _drop(self) -> None:
        self._store.follow(None)
        self._following.end()
        self.close(self._everything)

    def statistics(self) -> SyncStatistics:
        """How syncs are."""
        kept = self._following.collection
        own = self._events.held - self._everything.held
        return SyncStatistics(self._places.held, self._sets_read, 0 if kept is None else len(kept), own)


class Sync:
    """One sync; `close` it at last.

    Args:
        syncing: whose it is.
        frame_bytes: of its answers.
        origin: whom it counts as.
    """

    def __init__(self, syncing: SyncSets, frame_bytes: int, origin: str | None = None) -> None:
        self.origin = origin
        self.held = 0
        """Items that it alone holds."""
        self.last_heard = trio.current_time()
        self.is_busy = True
        """True while its set is read or a message is being answered: the two sides take turns."""
        self.give_way: Callable[[], None] | None = None
        """Ends the sync for another's sake and says so; whoever has opened it sets this."""
        self.longest = 2 * frame_bytes
        """Bytes of a message that is read at all."""
        self._syncing = syncing
        self._items: Items | None = None
        self._frame_bytes = frame_bytes

    @property
    def holder(self) -> object:
        """Whom what it holds is counted for."""
        return self if self.origin is None else self.origin

    def begin(self, items: Items) -> None:
        """Its set has been read. For `SyncSets`."""
        self._items = items
        self.is_busy = False
        self.last_heard = trio.current_time()

    def make_room(self) -> None:
        """End for another's sake. For `SyncSets`."""
        if self.give_way is not None:
            self.give_way()
        self.close()

    def reply(self, message: bytes) -> bytes:
        """The answer to a message of the client; may be called in a thread.

        Raises:
            Rejected: it is none of the protocol.
        """
        assert self._items is not None, "the set has been read"
        return reply(self._items, message, self._frame_bytes)

    def close(self) -> None:
        """The session is over."""
        self._syncing.close(self)


def _too_many() -> Rejected:
    return Rejected(Prefix.ERROR, "too many syncs are running")


def _idle_since(session: Sync) -> float | None:
    return None if session.is_busy else session.last_heard


class _Following:
    """The set of all public events, and the changes that came while it was read."""

    def __init__(self, private_kinds: frozenset[int]) -> None:
        self.collection: ItemSet | None = None
        self.is_stale = False
        """True once changes were missed since it was begun."""
        self._private_kinds = private_kinds
        self.used = -math.inf
        self._missed: list[tuple[Sequence[Event], Sequence[tuple[int, str]]]] | None = None

    def begin(self) -> None:
        self._missed = []
        self.is_stale = False

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
