"""A member's side: reads the file that another process keeps, saves by that process, and hears what others have added.

Whoever asks finds what was acknowledged to anybody before: the scoreboard counts commits, so a snapshot that many
queries share is never older than the last one. It may be newer than what the keeper has told of so far. Such an answer
waits for that: then all that it holds was noted, and no subscriber gets an event twice.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from itertools import count
from typing import Any, Final

import msgspec
import structlog
import trio

from trio_relay.link import Link, LinkEnded, Refused, Tells
from trio_relay.nostr.event import Event, decode
from trio_relay.nostr.filter import Filter
from trio_relay.scoreboard import Scoreboard
from trio_relay.store.base import Audience, CannotCompact, Listener, Page, Saved, StoreError, StoreStatistics
from trio_relay.store.inspection import Compacted
from trio_relay.store.kept.feed import (
    GONE,
    OUTCOMES,
    Follow,
    Save,
    behind_of,
    changed_of,
    encode,
    event_of,
    events_of,
    number_of,
    saved_of,
)
from trio_relay.store.sqlite import ReadPool, SqliteOptions, fetch
from trio_relay.store.sqlite.read_pool import opened

log = structlog.get_logger("trio_relay.store")

MOST_UNREAD: int = 8 * 2**20
"""Bytes that wait for the keeper, beyond which it is not told of events that nobody stores; tests set another."""
_LAST_SECONDS: Final = 5.0
"""How long a save that is cancelled waits for its outcome: what is saved anyway should be known to be."""


class KeptStore(ReadPool):
    """A `Store` over a file that the process at the other end of a link keeps; made by `open_kept` alone."""

    is_shared = False
    writers = 2
    """So that the keeper has the next batch when it has committed one."""

    def __init__(
        self, options: SqliteOptions, link: Link, scoreboard: Scoreboard, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(options, clock)
        self._is_worded = options.search
        self._link = link
        self._scoreboard = scoreboard
        self._numbers = count(1)
        self._saving: dict[int, _Saving] = {}
        self._audience: Audience | None = None
        self._listener: Listener | None = None
        self._followed = self._follows = 0
        """How often it was changed who follows, and up to which time the keeper goes by it."""
        self.heard_until = 0
        """The last number of an event of which this process has heard all that others have added up to there."""
        self._heard = trio.Event()
        self._has_ended = False
        self._seen = -1
        link.on_end = self.end

    @property
    def description(self) -> str:
        return f"sqlite {self._path} (synchronous={self._options.synchronous}), kept by another process"

    @property
    def has_all_words(self) -> bool:
        return self._scoreboard.is_worded

    @property
    def tells(self) -> Tells:
        """What the link takes for this store."""
        return {
            "changed": self._take_changed,
            "saved": self._take_saved,
            "ephemeral": self._take_ephemeral,
            "behind": self._take_behind,
            "follows": self._take_follows,
        }

    def begin(self, newest: int) -> None:
        """The keeper tells of commits from the one on that follows this last number of an event."""
        self.heard_until = newest

    def end(self) -> None:
        """Nothing can be saved any more: the link has ended, or this store is closed."""
        self._has_ended = True
        self._heard.set()
        for saving in self._saving.values():
            saving.end(error=GONE)

    async def save_many(self, events: Sequence[Event]) -> list[Saved]:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._has_ended:
            raise StoreError(GONE)
        number = next(self._numbers)
        saving = self._saving[number] = _Saving({event.id: event for event in events})
        self._link.tell("save", encode(Save(number, [msgspec.Raw(encode(event)) for event in events])))
        try:
            try:
                await saving.ended.wait()
            except trio.Cancelled:
                with trio.move_on_after(_LAST_SECONDS, shield=True):
                    await saving.ended.wait()
                raise
        finally:
            del self._saving[number]
        if saving.error:
            raise StoreError(saving.error)
        return saving.outcomes

    async def remove(self, filters: Sequence[Filter]) -> int:
        self._check(filters)
        seqs = await self._read(partial(fetch.matching, filters=filters))
        removed = number_of(await ask(self._link, "remove", encode(seqs), GONE))
        if ids := await self.archived_ids(filters):
            await ask(self._link, "forget", encode(ids), GONE)
        return removed

    async def forget(self, ids: Sequence[str]) -> int:
        return await self.remove([Filter(ids=frozenset(ids))])

    async def sweep(self) -> int:
        return number_of(await ask(self._link, "sweep", b"", GONE))

    async def compact(self) -> Compacted:
        await trio.lowlevel.checkpoint()
        raise CannotCompact("the file is another process's to compact")

    async def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
        await ask(self._link, "put", encode(changes), GONE)

    async def probe(self) -> None:
        await ask(self._link, "probe", b"", GONE)

    def follow(self, listener: Listener | None) -> bool:
        self._listener = listener
        self._followed += 1
        self._link.tell("follow", encode(Follow(self._followed, listener is not None)))
        return True

    async def _take_follows(self, payload: bytes) -> None:
        self._follows = number_of(payload)
        self._wake()

    async def records(self, filter_: Filter) -> AsyncGenerator[bytes, None]:
        # What is read before the keeper knows that somebody follows could go without a word.
        await self._until(lambda: self._follows == self._followed)
        async with aclosing(super().records(filter_)) as pages:
            async for page in pages:
                yield page

    def hear(self, audience: Audience | None) -> None:
        self._audience = audience

    def spread(self, events: Sequence[Event]) -> None:
        if self._link.waiting <= MOST_UNREAD:
            self._link.tell("spread", encode(events))

    def statistics(self) -> StoreStatistics:
        # The keeper tells how large the file is: else a sum over all would count it more than once.
        return StoreStatistics("sqlite", cache=None if self._cache is None else self._cache.statistics())

    def known_nowait(self, ids: Sequence[str]) -> set[str] | None:
        self._freshen()
        return super().known_nowait(ids)

    def query_nowait(self, filters: Sequence[Filter]) -> Page | None:
        self._freshen()
        page = super().query_nowait(filters)
        # What is too new to be told of yet takes the long way, which waits for that.
        return None if page and not self._has_heard_of_all() else page

    def _has_heard_of_all(self) -> bool:
        newest = self._quick.newest()
        return newest is not None and newest <= self.heard_until

    def _freshen(self) -> None:
        """Take a new snapshot for the loop's queries if anything was committed since the last one."""
        commits = self._scoreboard.commits()
        if commits != self._seen:
            self._seen = commits
            self._quick.share_snapshot()

    def _expired_by(self) -> int | None:
        now = int(self._clock())
        return now if self._scoreboard.earliest_expiry <= now else None

    async def _first(self, begin: Callable[..., Page]) -> Page:
        def read(connection: Any, expired_by: int | None) -> tuple[Page, int]:
            page = begin(connection, expired_by=expired_by)
            return page, fetch.newest(connection) if page else 0

        page, newest = await self._read_living(read)
        await self._until(lambda: newest <= self.heard_until)
        return page

    async def _until(self, is_told: Callable[[], bool]) -> None:
        """Wait until the keeper has told so much."""
        while not is_told():
            if self._has_ended:
                raise StoreError(GONE)
            await self._heard.wait()

    def _wake(self) -> None:
        self._heard.set()
        self._heard = trio.Event()

    async def _take_changed(self, payload: bytes) -> None:
        changed = changed_of(payload)
        # Each worker would take apart all that comes to any of them.
        is_wanted = self._listener is not None or (self._audience is not None and self._audience.is_listening)
        added = list(map(event_of, changed.added)) if is_wanted else []
        await self._take_in(added, changed.newest, [*added, *self._own(changed.own)], changed.removed)

    def _own(self, ids: Sequence[str]) -> list[Event]:
        """Events that this process has sent, and whose outcomes have not come."""
        sent = {event_id: event for saving in self._saving.values() for event_id, event in saving.events.items()}
        return [sent[event_id] for event_id in ids if event_id in sent]

    async def _take_in(
        self, added: list[Event], newest: int, changed: list[Event], removed: Sequence[tuple[int, str]] = ()
    ) -> None:
        audience = self._audience
        if added and audience is not None:
            audience.note(added)
        self.heard_until = max(self.heard_until, newest)
        self._wake()
        # Although nobody asks: a snapshot that lasts keeps the log of the file from being folded back.
        self._freshen()
        if self._listener is not None and (changed or removed):
            self._listener(changed, removed)
        if added and audience is not None:
            await audience.deliver(added)

    async def _take_saved(self, payload: bytes) -> None:
        batch = saved_of(payload)
        if (saving := self._saving.get(batch.number)) is not None:  # else nobody waits for it any more
            saving.end([OUTCOMES[place] for place in batch.outcomes], batch.error)

    async def _take_ephemeral(self, payload: bytes) -> None:
        if self._audience is not None and self._audience.is_listening:
            await self._audience.deliver(events_of(payload))

    async def _take_behind(self, payload: bytes) -> None:
        """Read from the file what the keeper did not tell of, since this process did not read."""
        behind = behind_of(payload)
        own = set(behind.own)
        try:
            async with aclosing(self._pages_between(self.heard_until, behind.newest)) as pages:
                async for page, until in pages:
                    events = [event for event in map(decode, page) if event.id not in own]
                    await self._take_in(events, until, [])
        except StoreError as error:
            log.error("what was stored while this worker stood still is not delivered live", error=str(error))
        self.heard_until = max(self.heard_until, behind.newest)
        await self._take_in([], behind.newest, [])
        if self._audience is not None:
            self._audience.missed()

    async def _pages_between(self, after: int, until: int) -> AsyncGenerator[tuple[Page, int], None]:
        cursor = fetch.Cursor()
        while after < until:
            await self._read(partial(fetch.fill_scan, after=after, cursor=cursor))
            cursor.seqs = [seq for seq in cursor.seqs if seq <= until]
            last = cursor.seqs[-1] if cursor.seqs else until
            while page := await self._read(partial(fetch.next_page, cursor=cursor)):
                yield page, after if cursor.seqs else last
            after = last


async def ask(link: Link, what: str, payload: bytes, gone: str) -> bytes:
    """Ask the keeper for something that its store may fail to do.

    Args:
        link: to the keeper.
        what: the question's name.
        payload: of it.
        gone: what is said where the keeper cannot answer any more.

    Raises:
        StoreError: it failed, or the keeper is gone.
    """
    try:
        return await link.call(what, payload)
    except Refused as refusal:
        raise StoreError(str(refusal)) from None
    except LinkEnded:
        raise StoreError(gone) from None


class _Saving:
    """A batch whose outcomes have not come."""

    def __init__(self, events: dict[str, Event]) -> None:
        self.events = events
        self.ended = trio.Event()
        self.outcomes: list[Saved] = []
        self.error = ""

    def end(self, outcomes: list[Saved] | None = None, error: str = "") -> None:
        self.outcomes, self.error = outcomes or [], error
        self.ended.set()


@asynccontextmanager
async def open_kept(
    options: SqliteOptions, link: Link, scoreboard: Scoreboard, *, clock: Callable[[], float] = time.time
) -> AsyncIterator[KeptStore]:
    """Open a store whose keeper is at the other end of a link, for as long as the context lasts.

    The link has to run with the store's `tells`, and `begin` has to be called before it does.

    Args:
        options: the file, and how it is read here.
        link: to the keeper.
        scoreboard: the keeper's.
        clock: seconds since 1970, for expiry and for searches that look at ages.

    Raises:
        StoreRefused: the file cannot be opened.
    """
    store = opened(lambda options: KeptStore(options, link, scoreboard, clock), options)
    try:
        yield store
    finally:
        store.end()
        store.close()
