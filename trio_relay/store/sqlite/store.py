"""The store in one SQLite file: one writer, a few readers, and checkpoints of the write-ahead log.

One task at a time writes, in a thread of its own, one batch for each commit. Readers have a few connections, used in
threads that can be interrupted. Checkpoints run beside the writer on another connection, so that no commit waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import apsw
import structlog
import trio

from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.scoreboard import Scoreboard
from trio_relay.store.base import Audience, CannotCompact, Listener, Saved, StoreError, StoreStatistics
from trio_relay.store.inspection import Compacted
from trio_relay.store.sqlite import fetch, schema
from trio_relay.store.sqlite.archive import Keeping
from trio_relay.store.sqlite.batch_writer import BatchWriter, last_seq
from trio_relay.store.sqlite.options import SqliteOptions
from trio_relay.store.sqlite.read_pool import ReadPool, kept, store_error
from trio_relay.store.sqlite.shrinking import can_shrink, give_back
from trio_relay.store.sqlite.tally import free_room, size_of
from trio_relay.store.sqlite.threads import Worker
from trio_relay.store.sqlite.transaction import described, transaction
from trio_relay.store.sqlite.upgrade import upgrade
from trio_relay.store.sqlite.words import prepare_words

log = structlog.get_logger("trio_relay.store")
T = TypeVar("T")

_PAGE_BYTES: Final = 4_096
PAGES_BEFORE_CHECKPOINT: Final = 4_000
PAGES_BEFORE_PAUSING: Final = 16_384
"""A log of 64 MiB: work of many commits then lets a checkpoint finish first."""
PAGES_BEFORE_WAITING: Final = 65_536
"""A log of 256 MiB: the writer then waits for a whole checkpoint, so that the file does not grow further."""
LOG_BYTES_KEPT: int = PAGES_BEFORE_WAITING * _PAGE_BYTES
"""What a log that begins anew keeps of its file: more than this only a long reader makes it, such as a backup."""
_PROBE_BYTES: Final = 2**20
"""The probe's size: after a batch that failed, a full disk may have a little room left, but not this much."""
REMOVED_AT_A_TIME: Final = 500
"""Events removed in one commit, so that the next batch does not wait for long."""
_WRITER_BUSY_MS: Final = 250
EVENTS_BETWEEN_NEWS: Final = 100_000
SECONDS_AFTER_FAILURE: Final = 60
"""Until the making of words is tried again."""


class Folded(Enum):
    """How much a checkpoint has moved from the log into the database."""

    WHOLE = auto()
    """Everything that it could; in the modes that wait, everything."""
    PARTLY = auto()
    """A part: a reader took too long."""
    NOT = auto()
    """Unknown: the database takes no writes."""


class SqliteStore(ReadPool):
    """A `Store` over one file; made by `open_sqlite` alone."""

    writers = 1
    is_shared = False

    def __init__(
        self, options: SqliteOptions, clock: Callable[[], float] = time.time, scoreboard: Scoreboard | None = None
    ) -> None:
        connection = apsw.Connection(options.path)
        schema.tune(connection, cache_bytes=options.page_bytes_of_writer)
        schema.prepare(connection, options.path)
        upgrade(connection, options.path)
        self._unworded = prepare_words(connection, last_seq(connection), search=options.search)
        super().__init__(options, clock)
        self._is_worded = options.search  # as far as they are made: see `complete_words`
        self.worded = trio.Event()
        """Set when the index has the words of all events."""
        self._connection = connection
        self._connection.pragma("synchronous", options.synchronous)
        # Only a whole checkpoint waits, for readers, and no event is stored in the meantime.
        self._connection.set_busy_timeout(_WRITER_BUSY_MS)
        self._connection.pragma("journal_size_limit", LOG_BYTES_KEPT)
        self._wal_pages = 0
        self._page_bytes = int(connection.pragma("page_size"))
        self._connection.set_wal_hook(self._wal_grew)
        self._scoreboard = scoreboard
        keeping = Keeping(connection, clock) if options.archive else None
        self._writer = BatchWriter(connection, search=options.search, scoreboard=scoreboard, keeping=keeping)
        self._finish_vanishing()
        # The writer and a probe share one connection, and so one thread.
        self._writing = Worker("trio-relay writer")
        self._checkpointer = self._connect(apsw.SQLITE_OPEN_READWRITE)
        self._checkpoint_due, self._checkpoint_over = trio.Event(), trio.Event()
        self._listener: Listener | None = None
        self.newest = last_seq(connection)
        """The last number of an event up to the commit that a listener is told of, or was told of last."""
        self._writes = 0
        self._patient_until = 0
        self._quick.share_snapshot()

    @property
    def description(self) -> str:
        return f"sqlite {self._path} (synchronous={self._options.synchronous})"

    @property
    def has_all_words(self) -> bool:
        return self.worded.is_set()

    async def save_many(self, events: Sequence[Event]) -> list[Saved]:
        outcomes = await self._commit(partial(self._writer.save, events))
        for place, event in enumerate(events if self._writer.vanishing else ()):
            # The tombstone is durable: the rest is done now, when the request comes again, or when the store is opened.
            if event.id in self._writer.vanishing and not await self._vanish(event.id):
                outcomes[place] = Saved.FAILED
        return outcomes

    async def _vanish(self, request_id: str) -> bool:
        """Carry out a request to vanish in portions, with other commits in between; returns False if that failed."""
        try:
            while not await self._portion(partial(self._writer.vanish, request_id)):
                pass
        except StoreError as error:
            log.warning("a key has not vanished completely", error=str(error))
            return False
        return True

    def _finish_vanishing(self) -> None:
        for request_id in list(self._writer.vanishing):
            while not self._writer.vanish(request_id):
                if self._wal_pages > PAGES_BEFORE_CHECKPOINT:
                    _checkpoint(self._connection, apsw.SQLITE_CHECKPOINT_PASSIVE)

    async def remove(self, filters: Sequence[Filter]) -> int:
        self._check(filters)
        # The search runs beside the writer, and removal goes in portions, so that events are stored in between.
        removed = await self.remove_rows(await self._read(partial(fetch.matching, filters=filters)))
        # What was replaced meanwhile is found now.
        await self.forget_archived(await self.archived_ids(filters))
        return removed

    async def remove_rows(self, seqs: Sequence[int]) -> int:
        """Remove the events of these numbers; returns how many were still there.

        Raises:
            StoreError: it failed; a part may be gone.
        """
        removed = 0
        for start in range(0, len(seqs), REMOVED_AT_A_TIME):
            part = seqs[start : start + REMOVED_AT_A_TIME]
            removed += await self._portion(partial(self._writer.remove, part))
        return removed

    async def forget(self, ids: Sequence[str]) -> int:
        return await self._portion(partial(self._writer.forget, ids))

    async def forget_archived(self, ids: Sequence[str]) -> None:
        """Remove these ids from the archive.

        Raises:
            StoreError: it failed; a part may be gone.
        """
        for start in range(0, len(ids), REMOVED_AT_A_TIME):
            part = ids[start : start + REMOVED_AT_A_TIME]
            await self._portion(partial(self._writer.forget_archived, part))

    async def sweep(self) -> int:
        now, swept = int(self._clock()), 0
        if seconds := self._options.archive_seconds:
            while await self._portion(partial(self._writer.forget_older, now - seconds)):
                pass
        if self._writer.earliest > now:
            await trio.lowlevel.checkpoint()
            return 0
        while portion := await self._portion(partial(self._writer.sweep, now)):
            swept += portion
        return swept

    async def compact(self) -> Compacted:
        if not await self._write(partial(can_shrink, self._connection)):
            raise CannotCompact(
                "this file cannot be compacted while a relay uses it, since an older version has made it: stop the"
                " relay and run `trio-relay compact` once"
            )
        await self._fold_all()  # what is in the log alone has no size yet
        before = size_of(self._path)
        has_more = True
        while has_more:
            began = trio.current_time()
            has_more = await self._portion(partial(give_back, self._connection))
            await trio.sleep(trio.current_time() - began)  # so that the writer has half of its time for new events
        await self._fold_all()
        return Compacted(before, size_of(self._path))

    def follow(self, listener: Listener | None) -> bool:
        self._listener = listener
        self._writer.is_followed = listener is not None
        return True

    def hear(self, audience: Audience | None) -> None:
        """There are no others: the file is this process's alone."""

    def spread(self, events: Sequence[Event]) -> None:
        """There are no others."""

    async def get_metadata(self) -> dict[str, bytes]:
        # On the writer's connection: it is open, and a value may be longer than a page of answers.
        return await self._write(partial(kept, self._connection))

    async def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
        await self._commit(partial(self._writer.put_metadata, changes))

    def _expired_by(self) -> int | None:
        now = int(self._clock())
        return now if self._writer.earliest <= now else None

    async def _commit(self, work: Callable[[], T]) -> T:
        """Run a transaction in the writer's thread, and keep its log from growing for ever."""
        result = await self._write(work)
        # Also for a commit whose task was cancelled.
        while self._writer.changes:
            added, removed, self.newest = self._writer.changes.popleft()
            if self._listener is not None:
                self._listener(added, removed)
        if self._wal_pages > PAGES_BEFORE_CHECKPOINT:
            self._checkpoint_due.set()
        if self._wal_pages > max(PAGES_BEFORE_WAITING, self._patient_until):
            await self._fold_all()
        return result

    async def _portion(self, work: Callable[[], T]) -> T:
        """Commit one of many portions: like `_commit`, but checkpoints get time, so that the log stays small."""
        result = await self._commit(work)
        if self._wal_pages > PAGES_BEFORE_PAUSING and self._checkpoint_due.is_set():
            await self._checkpoint_over.wait()
        return result

    async def _fold_all(self) -> None:
        """Wait for a whole checkpoint; if a long reader prevents it, the log may grow by a quarter."""
        if self._scoreboard is not None:
            # What others take a snapshot of from here on is in the database, so that they hold no log.
            await self._write(partial(_checkpoint, self._connection, apsw.SQLITE_CHECKPOINT_PASSIVE))
            self._renew_snapshots()
        folded = await self._write(partial(_checkpoint, self._connection, apsw.SQLITE_CHECKPOINT_RESTART))
        self._patient_until = 0 if folded is Folded.WHOLE else self._wal_pages * 5 // 4

    def _renew_snapshots(self) -> None:
        """Have other processes end the snapshots that they share: the log cannot begin anew while one holds it."""
        if self._scoreboard is not None:
            self._scoreboard.commit()
            if self._listener is not None:
                self._listener([], [])

    async def probe(self) -> None:
        await self._write(partial(_probe, self._connection))

    def statistics(self) -> StoreStatistics:
        cache = None if self._cache is None else self._cache.statistics()
        log_bytes = size_of(Path(f"{self._path}-wal"))
        return StoreStatistics("sqlite", size_of(self._path), log_bytes, cache=cache, free_bytes=free_room(self._path))

    async def checkpoint_regularly(self) -> None:
        """Run a checkpoint whenever the log has grown enough, beside the writer."""
        while True:
            await self._checkpoint_due.wait()
            self._checkpoint_due = trio.Event()
            folded = await trio.to_thread.run_sync(_checkpoint, self._checkpointer, apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._renew_snapshots()
            self._checkpoint_over.set()
            self._checkpoint_over = trio.Event()
            if folded is Folded.NOT:
                await trio.sleep(1)

    async def complete_words(self) -> None:
        """Make the words that are missing in portions, beside everything else; then set `worded`.

        Searches find what has its words by then. A portion is followed by a rest of its own length, so that the writer
        has half of its time for new events whatever there is to do.
        """
        if self._unworded:
            log.info("making the index of words beside the relay", path=str(self._path), events=self._unworded)
            reported = 0
            while (until := await self._word_portion()) is not None:
                if until - reported >= EVENTS_BETWEEN_NEWS:
                    log.info("still making the index of words", events=until)
                    reported = until
            log.info("the index of words is complete", path=str(self._path))
        if self._scoreboard is not None:
            self._scoreboard.is_worded = True
        self.worded.set()

    async def _word_portion(self) -> int | None:
        """Return the number of the last event that has its words now, 0 if it failed; None if all have."""
        began = trio.current_time()
        try:
            until = await self._portion(self._writer.index_words)
        except StoreError as error:
            log.warning("the index of words has to wait", error=str(error))
            await trio.sleep(SECONDS_AFTER_FAILURE)
            return 0
        await trio.sleep(trio.current_time() - began)
        return until or None

    def close(self) -> None:
        """Run a last checkpoint and close every connection; blocks."""
        super().close()
        self._writing.close()
        self._checkpointer.close()
        _checkpoint(self._connection, apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._connection.close()

    def _wal_grew(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        # The limits are meant for pages of 4 KiB; a copy may have others.
        self._wal_pages = pages * self._page_bytes // _PAGE_BYTES
        return apsw.SQLITE_OK

    async def _write(self, work: Callable[[], T]) -> T:
        # Not interruptible: a batch is stored as a whole or not at all, and its commit is short.
        try:
            if not self._writes:
                self._quick.drop_snapshot()
            self._writes += 1
            try:
                return await self._writing.run(work)
            finally:
                if self._scoreboard is not None:
                    self._scoreboard.commit()  # before anybody is told
                self._writes -= 1
                # A snapshot that was taken before the last of these commits must not be used after it.
                if not self._writes:
                    self._quick.share_snapshot()
        except apsw.Error as error:
            raise store_error(error) from error


def _checkpoint(connection: apsw.Connection, mode: int) -> Folded:
    """Run a checkpoint as far as it goes."""
    try:
        connection.wal_checkpoint(mode=mode)
    except apsw.BusyError:
        return Folded.PARTLY  # a reader goes on; the next checkpoint gets the rest
    except apsw.Error as error:
        # Nothing is lost: the log keeps what the database does not have yet.
        log.warning("checkpoint failed", error=described(error))
        return Folded.NOT
    return Folded.WHOLE


def _probe(connection: apsw.Connection) -> None:
    with transaction(connection):
        connection.execute("INSERT INTO probe VALUES (zeroblob(?))", (_PROBE_BYTES,)).fetchall()
    with transaction(connection):
        connection.execute("DELETE FROM probe").fetchall()
