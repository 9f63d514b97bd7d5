"""The keeper's side: one process has the file, commits what all bring, and tells each what the others changed.

Saves of all members that wait become one commit. Each commit is told to every member before its outcomes are, so a
member has heard of all that was added before it answers anybody. A member that does not read what it is told holds up
nobody: beyond 8 MiB it is told no commits, but where to read on in the file once it reads again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import trio

from trio_relay.link import Calls, Link, Refused, Tells
from trio_relay.nostr.event import Event
from trio_relay.nostr.kinds import VANISH
from trio_relay.store.base import Listener, Saved, StoreError
from trio_relay.store.kept.feed import (
    GONE,
    OUTCOMES,
    Behind,
    Changed,
    SavedBatch,
    encode,
    event_of,
    follow_of,
    ids_of,
    metadata_of,
    raws_of,
    save_of,
    seqs_of,
)

MOST_UNREAD: int = 8 * 2**20
"""Bytes that wait for a member; not Final: tests set another."""


class KeepableStore(Protocol):
    """What a store needs to be kept for others."""

    @property
    def newest(self) -> int:
        """The last number of an event up to the commit that followers are told of, or were told of last."""
        ...

    async def save_many(self, events: Sequence[Event]) -> list[Saved]:
        """See `Store`."""
        ...

    def follow(self, listener: Listener | None) -> bool:
        """See `Store`."""
        ...

    async def remove_rows(self, seqs: Sequence[int]) -> int:
        """Remove the events of these numbers; returns how many were still there.

        Raises:
            StoreError: it failed; a part may be gone.
        """
        ...

    async def forget_archived(self, ids: Sequence[str]) -> None:
        """Remove these ids from the archive.

        Raises:
            StoreError: it failed; a part may be gone.
        """
        ...

    async def sweep(self) -> int:
        """See `Store`."""
        ...

    async def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
        """See `Store`."""
        ...

    async def probe(self) -> None:
        """See `Store`."""
        ...


@dataclass(slots=True, eq=False)
class _MemberBatch:
    """Events that are to be saved, and where their outcomes go.

    Attributes:
        events: as the store gets them: whoever sees one of these objects again knows whose it was.
        raws: the same as they came, to be passed on; none of the keeper's own.
        member: who sent them; None: the keeper itself.
        number: the member's.
        error: why nothing of it is stored; None once it is.
        told: places of those that others were told of.
    """

    events: list[Event]
    raws: list[msgspec.Raw]
    member: Member | None = None
    number: int = 0
    outcomes: list[Saved] = field(default_factory=list)
    error: StoreError | None = field(default_factory=lambda: StoreError(GONE))
    told: set[int] = field(default_factory=set)
    ended: trio.Event = field(default_factory=trio.Event)

    @property
    def passed(self) -> list[msgspec.Raw]:
        """Those that were stored and gone with the same commit, replaced or deleted by what came with them."""
        if self.outcomes.count(Saved.STORED) == len(self.told):
            return []
        stored = (place for place, outcome in enumerate(self.outcomes) if outcome is Saved.STORED)
        return [self.raws[place] for place in stored if place not in self.told]


class Member:
    """One process that the store is kept for; made by `Keeper.join`.

    Attributes:
        newest: the last number of an event before those that it is told of.
    """

    def __init__(self, keeper: Keeper, link: Link) -> None:
        self.newest = keeper.store.newest
        self._keeper = keeper
        self._link = link
        self._missed_own: list[str] = []
        self._is_behind = False
        self._follows = False
        link.on_room = self._catch_up

    @property
    def waiting(self) -> int:
        """Bytes that it was told and has not read."""
        return self._link.waiting

    @property
    def tells(self) -> Tells:
        """What the link takes for this member."""
        return {"save": self._save, "spread": self._spread, "follow": self._follow}

    @property
    def calls(self) -> Calls:
        """What the link answers for this member."""
        questions = {"remove": self._remove, "forget": self._forget, "sweep": self._sweep}
        return questions | {"put": self._put, "probe": self._probe}

    async def run(self) -> None:
        """What it is told is sent by its link; this waits until cancelled."""
        await trio.sleep_forever()

    def leave(self) -> None:
        """It has gone; what it sent is still saved."""
        self._keeper.leave(self)

    async def _save(self, payload: bytes) -> None:
        message = save_of(payload)
        events = list(map(event_of, message.events))
        self._keeper.take(_MemberBatch(events, message.events, self, message.number))

    async def _spread(self, payload: bytes) -> None:
        self._keeper.spread(raws_of(payload), self)

    async def _follow(self, payload: bytes) -> None:
        message = follow_of(payload)
        self._follows = message.follows
        self._link.tell("follows", encode(message.number))

    async def _remove(self, payload: bytes) -> bytes:
        with _refusing():
            return encode(await self._keeper.store.remove_rows(seqs_of(payload)))

    async def _forget(self, payload: bytes) -> bytes:
        with _refusing():
            await self._keeper.store.forget_archived(ids_of(payload))
        return b""

    async def _sweep(self, _payload: bytes) -> bytes:
        with _refusing():
            return encode(await self._keeper.store.sweep())

    async def _put(self, payload: bytes) -> bytes:
        with _refusing():
            await self._keeper.store.put_metadata(metadata_of(payload))
        return b""

    async def _probe(self, _payload: bytes) -> bytes:
        with _refusing():
            await self._keeper.store.probe()
        return b""

    def changed(self, newest: int, added: list[msgspec.Raw], own: list[str], removed: list[tuple[int, str]]) -> None:
        """Tell of a commit."""
        if self._is_behind or self._link.waiting > MOST_UNREAD:
            self._is_behind = True
            self._missed_own += own
        elif self._follows:
            self._link.tell("changed", encode(Changed(newest, added, own, removed)))
        else:
            self._link.tell("changed", encode(Changed(newest, added)))

    def ephemeral(self, raws: list[msgspec.Raw]) -> None:
        """Tell of what nobody stores; a member that is behind misses it."""
        if not self._is_behind and self._link.waiting <= MOST_UNREAD:
            self._link.tell("ephemeral", encode(raws))

    def saved(self, batch: _MemberBatch) -> None:
        """Tell what became of a batch of this member."""
        outcomes = bytes(map(OUTCOMES.index, batch.outcomes))
        self._link.tell("saved", encode(SavedBatch(batch.number, outcomes, str(batch.error or ""))))

    def _catch_up(self) -> None:
        if self._is_behind:
            self._is_behind = False
            own, self._missed_own = self._missed_own, []
            self._link.tell("behind", encode(Behind(self._keeper.store.newest, own)))


class Keeper:
    """Keeps a store for members, and for its own process by `save`.

    Args:
        store: nobody else may write to it.
        most: events of one commit; a batch that begins below goes in whole.
    """

    def __init__(self, store: KeepableStore, most: int) -> None:
        self.store = store
        """What is kept."""
        self._most = most
        self._members: dict[Member, None] = {}
        self._waiting: deque[_MemberBatch] = deque()
        self._long: deque[_MemberBatch] = deque()
        self._came = trio.Event()
        self._long_came = trio.Event()
        self._on_their_way: dict[str, list[tuple[_MemberBatch, int]]] = {}
        """By id, the batches that an event is in, and its place there: the same may come from several."""
        self._unfinished: dict[_MemberBatch, None] = {}
        self.commits = 0
        """Commits that were told."""
        self.told: Callable[[int, float], None] = lambda _events, _seconds: None
        """Called after each commit with the number of its events and how long it took; sync."""
        store.follow(self._changed)

    def join(self, link: Link) -> Member:
        """Keep the store for one more process, whose reading begins now: it is told of every commit from here on."""
        member = Member(self, link)
        self._members[member] = None
        return member

    def leave(self, member: Member) -> None:
        """Tell a member nothing more. For `Member`."""
        self._members.pop(member, None)

    async def save(self, events: Sequence[Event]) -> list[Saved]:
        """Save events of the keeper's own process, together with those of others; as `Store.save_many`.

        Raises:
            StoreError: nothing of the batch was stored.
        """
        batch = _MemberBatch(list(events), [])
        self.take(batch)
        await batch.ended.wait()
        if batch.error is not None:
            raise batch.error
        return batch.outcomes

    def take(self, batch: _MemberBatch) -> None:
        """Have a batch saved, and its outcomes told. For `Member`."""
        self._unfinished[batch] = None
        # A request to vanish may have a million events removed: nobody else waits for it.
        if any(event.kind == VANISH for event in batch.events):
            self._long.append(batch)
            self._long_came.set()
        else:
            self._waiting.append(batch)
            self._came.set()

    async def settled(self) -> None:
        """Wait until all that has come by now is saved, or is not."""
        for batch in list(self._unfinished):
            await batch.ended.wait()

    def spread(self, raws: list[msgspec.Raw], sender: Member | None = None) -> None:
        """Have all members but the sender get events that nobody stores."""
        for member in self._members:
            if member is not sender:
                member.ephemeral(raws)

    async def run(self) -> None:
        """Commit what comes, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run_long)
            while True:
                await self._came.wait()
                self._came = trio.Event()
                while batches := self._gather():
                    await self._commit(batches)

    async def _run_long(self) -> None:
        while True:
            await self._long_came.wait()
            self._long_came = trio.Event()
            while self._long:
                await self._commit([self._long.popleft()])

    def _gather(self) -> list[_MemberBatch]:
        batches: list[_MemberBatch] = []
        events = 0
        while self._waiting and events < self._most:
            batches.append(self._waiting.popleft())
            events += len(batches[-1].events)
        return batches

    async def _commit(self, batches: list[_MemberBatch]) -> None:
        for batch in batches:
            for place, event in enumerate(batch.events):
                self._on_their_way.setdefault(event.id, []).append((batch, place))
        began, events = trio.current_time(), [event for batch in batches for event in batch.events]
        try:
            outcomes = iter(await self.store.save_many(events))
            self.told(len(events), trio.current_time() - began)
            for batch in batches:
                batch.outcomes = [next(outcomes) for _ in batch.events]
                batch.error = None
                if batch.member is not None and (passed := batch.passed):
                    self.spread(passed, batch.member)  # subscribers of their sender get them, too
        except StoreError as error:
            for batch in batches:
                batch.error = error
        finally:
            for batch in batches:
                self._end(batch)

    def _end(self, batch: _MemberBatch) -> None:
        for place, event in enumerate(batch.events):
            on_their_way = self._on_their_way[event.id]
            on_their_way.remove((batch, place))
            if not on_their_way:
                del self._on_their_way[event.id]
        del self._unfinished[batch]
        batch.ended.set()
        if batch.member is not None:
            batch.member.saved(batch)

    def _changed(self, added: Sequence[Event], removed: Sequence[tuple[int, str]]) -> None:
        """Tell all members of a commit."""
        self.commits += 1
        origins = [self._origin(event) for event in added]
        senders = {sender for _, sender in origins}
        raws = [raw for raw, _ in origins]
        gone = list(removed)
        for member in self._members:
            others, own = raws, []
            if member in senders:
                others = [raw for raw, sender in origins if sender is not member]
                own = [event.id for event, (_, sender) in zip(added, origins, strict=True) if sender is member]
            member.changed(self.store.newest, others, own, gone)

    def _origin(self, event: Event) -> tuple[msgspec.Raw, Member | None]:
        """An event as it is told, and who sent it."""
        for batch, place in self._on_their_way.get(event.id, ()):
            if batch.events[place] is event and batch.member is not None:
                batch.told.add(place)
                return batch.raws[place], batch.member
        return msgspec.Raw(encode(event)), None


@contextmanager
def _refusing() -> Iterator[None]:
    """Tell the member why the store has failed."""
    try:
        yield
    except StoreError as error:
        raise Refused(str(error)) from error
