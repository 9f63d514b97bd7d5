"""The store over one SQLite file: who may write, which thread does what, and when the log is folded back.

One task at a time writes, in a thread of its own hop, a batch a commit. Readers have a few connections, each hop
interruptible. Checkpoints run beside the writer on a third connection, so that no commit waits for one.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

import apsw
import msgspec
import structlog
import trio
from msgspec import Meta

from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.store.base import Page, Saved, StoreError, StoreRefused, StoreStatistics
from trio_relay.store.sqlite import reading, schema, wording
from trio_relay.store.sqlite.lock import PidLock
from trio_relay.store.sqlite.quick import QuickReader
from trio_relay.store.sqlite.threads import Worker, run_interruptibly
from trio_relay.store.sqlite.upgrade import upgrade
from trio_relay.store.sqlite.writing import BatchWriter

log = structlog.get_logger("trio_relay.store")
T = TypeVar("T")
R = TypeVar("R")

_PAGES_BEFORE_CHECKPOINT: Final = 4_000
_PAGES_BEFORE_WAITING: Final = 65_536
"""A log of 256 MiB: the writer then waits for a whole checkpoint instead of letting the file grow on."""
_PROBE_BYTES: Final = 2**20
"""A batch that failed may leave a little room behind, too little for the next one; a store that is well has more."""
_MAPPED_BYTES: Final = 2**31
_WRITER_BUSY_MS: Final = 250
_CLOSE_SECONDS: Final = 10


class SqliteOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how the SQLite store keeps events."""

    path: Annotated[
        str,
        Meta(
            min_length=1,
            description="The database file; its folder is made if need be.",
            extra={"unit": "path"},
        ),
    ] = "data/relay.db"
    synchronous: Annotated[
        Literal["full", "normal"],
        Meta(
            description=(
                "full: OK true is said after the batch has reached the disk. normal: a power cut may take the last"
                " moments with it, a killed process may not."
            )
        ),
    ] = "full"
    readers: Annotated[
        int,
        Meta(ge=1, le=64, description="Queries that read at the same time.", extra={"unit": "connections"}),
    ] = 4
    cache_bytes: Annotated[
        int, Meta(ge=2**20, description="Page cache of each connection.", extra={"unit": "bytes"})
    ] = 67_108_864
    search: Annotated[
        bool,
        Meta(
            description=(
                "Keep an index of words; off, a filter with `search` is refused. Switched on again, the words of the"
                " events that came meanwhile are put into it at the next start."
            )
        ),
    ] = True


class Folded(Enum):
    """What a checkpoint has brought from the log into the database."""

    WHOLE = auto()
    """All that it could; of the modes that wait, all there was."""
    PARTLY = auto()
    """Not all: somebody was reading for too long."""
    NOT = auto()
    """Nothing sure: the database takes no writes."""


class SqliteReader:
    """The reading side of one file; made by `open_sqlite_for_reading`, and a part of `SqliteStore`."""

    def __init__(self, options: SqliteOptions, clock: Callable[[], float] = time.time) -> None:
        self._options = options
        self._clock = clock
        self._path = Path(options.path)
        if not self._path.is_file():
            raise StoreRefused(f"{options.path} does not exist")
        self._reading = trio.CapacityLimiter(options.readers)
        self._idle = [self._connect(apsw.SQLITE_OPEN_READONLY) for _ in range(options.readers)]
        # What is known is asked on a connection of its own: events must not wait for a place among queries.
        self._knowing = trio.CapacityLimiter(1)
        self._knower = self._connect(apsw.SQLITE_OPEN_READONLY)
        schema.check(self._knower, options.path, is_read_only=True)
        self._is_worded = wording.is_worded(self._knower)
        self._quick_connection = self._connect(apsw.SQLITE_OPEN_READONLY)
        self._quick = QuickReader(self._quick_connection)

    async def known(self, ids: Sequence[str]) -> set[str]:
        async with self._knowing:
            return await _answer(self._knower, partial(reading.known, ids=ids))

    def known_nowait(self, ids: Sequence[str]) -> set[str] | None:
        return self._quick.known(ids)

    def query_nowait(self, filters: Sequence[Filter]) -> Page | None:
        return self._quick.query(filters)

    async def query(self, filters: Sequence[Filter]) -> AsyncGenerator[Page, None]:
        self._check(filters)
        cursor = reading.Cursor()
        page = await self._read(partial(reading.first_page, filters=filters, cursor=cursor, now=int(self._clock())))
        while page:
            yield page
            page = await self._read(partial(reading.next_page, cursor=cursor)) if cursor.seqs else []

    async def count(self, filters: Sequence[Filter]) -> int:
        self._check(filters)
        return await self._read(partial(reading.count, filters=filters))

    def _check(self, filters: Sequence[Filter]) -> None:
        if not self._is_worded and reading.any_search(filters):
            raise StoreError("the relay keeps no index of words")

    async def scan(self) -> AsyncGenerator[Page, None]:
        cursor = reading.Cursor()
        after = 0
        while True:
            await self._read(partial(reading.fill_scan, after=after, cursor=cursor))
            if not cursor.seqs:
                return
            after = cursor.seqs[-1]
            while page := await self._read(partial(reading.next_page, cursor=cursor)):
                yield page

    def close(self) -> None:
        """Close every connection; blocks."""
        for connection in (*self._idle, self._knower, self._quick_connection):
            connection.close()

    def _connect(self, flags: int) -> apsw.Connection:
        connection = apsw.Connection(str(self._path), flags=flags)
        schema.tune(connection, cache_bytes=self._options.cache_bytes)
        if flags & apsw.SQLITE_OPEN_READONLY:
            reading.limit_answers(connection)
            # A large store's pages come from the system's cache without a copy: a third of the cost where few are warm.
            connection.pragma("mmap_size", _MAPPED_BYTES)
        return connection

    async def _read(self, work: Callable[[apsw.Connection], T]) -> T:
        async with self._reading:
            connection = self._idle.pop()
            try:
                return await _answer(connection, work)
            finally:
                self._idle.append(connection)


class SqliteStore(SqliteReader):
    """A `Store` over one file; made by `open_sqlite` alone."""

    writers = 1

    def __init__(self, options: SqliteOptions, clock: Callable[[], float] = time.time) -> None:
        connection = apsw.Connection(options.path)
        schema.tune(connection, cache_bytes=options.cache_bytes)
        schema.prepare(connection, options.path)
        upgrade(connection, options.path)
        wording.prepare(connection, options.path, search=options.search)
        super().__init__(options, clock)
        self._connection = connection
        self._connection.pragma("synchronous", options.synchronous)
        # It waits for readers only, in a whole checkpoint, and meanwhile nobody's event is stored.
        self._connection.set_busy_timeout(_WRITER_BUSY_MS)
        self._connection.set_wal_hook(self._wal_grew)
        self._writer = BatchWriter(self._connection, search=options.search)
        # The writer and a probe share one connection, and so one thread.
        self._writing = Worker("trio-relay writer")
        self._checkpointer = self._connect(apsw.SQLITE_OPEN_READWRITE)
        self._checkpoint_due = trio.Event()
        self._wal_pages = 0
        self._patient_until = 0
        self._quick.share_snapshot()

    @property
    def description(self) -> str:
        return f"sqlite {self._path} (synchronous={self._options.synchronous})"

    async def save_many(self, events: Sequence[Event]) -> list[Saved]:
        outcomes = await self._write(partial(self._writer.save, events))
        if self._wal_pages > _PAGES_BEFORE_CHECKPOINT:
            self._checkpoint_due.set()
        if self._wal_pages > max(_PAGES_BEFORE_WAITING, self._patient_until):
            await self._fold_all()
        return outcomes

    async def _fold_all(self) -> None:
        """Wait for a whole checkpoint; where a long reader prevents it, the log may grow by a quarter meanwhile."""
        folded = await self._write(partial(_checkpoint, self._connection, apsw.SQLITE_CHECKPOINT_RESTART))
        self._patient_until = 0 if folded is Folded.WHOLE else self._wal_pages * 5 // 4

    async def probe(self) -> None:
        await self._write(partial(_probe, self._connection))

    def statistics(self) -> StoreStatistics:
        return StoreStatistics("sqlite", _size(self._path), _size(Path(f"{self._path}-wal")))

    async def checkpoint_regularly(self) -> None:
        """Fold the log back into the database whenever it has grown enough, beside the writer."""
        while True:
            await self._checkpoint_due.wait()
            self._checkpoint_due = trio.Event()
            folded = await trio.to_thread.run_sync(_checkpoint, self._checkpointer, apsw.SQLITE_CHECKPOINT_PASSIVE)
            if folded is Folded.NOT:
                await trio.sleep(1)

    def close(self) -> None:
        """Fold the log back and close every connection; blocks."""
        super().close()
        self._writing.close()
        self._checkpointer.close()
        _checkpoint(self._connection, apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._connection.close()

    def _wal_grew(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    async def _write(self, work: Callable[[], T]) -> T:
        # Not interruptible: a batch happens whole or not at all, and its commit is short.
        try:
            self._quick.drop_snapshot()
            try:
                return await self._writing.run(work)
            finally:
                self._quick.share_snapshot()
        except apsw.Error as error:
            raise _told(error) from error


@asynccontextmanager
async def open_sqlite(options: SqliteOptions, *, clock: Callable[[], float] = time.time) -> AsyncIterator[SqliteStore]:
    """The store on this file, for this process alone, while the context lasts.

    Args:
        options: which file, and how.
        clock: seconds since 1970, for searches that look at ages.

    Raises:
        StoreRefused: another process holds the file, it is of a newer make, or it cannot be opened.
    """
    path = Path(options.path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = PidLock(path)
    except OSError as error:
        raise StoreRefused(f"{path}: {error.strerror}") from error
    try:
        store = _open(partial(SqliteStore, clock=clock), options)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.checkpoint_regularly)
                yield store
                nursery.cancel_scope.cancel()
        finally:
            with trio.move_on_after(_CLOSE_SECONDS, shield=True):
                await trio.to_thread.run_sync(store.close, abandon_on_cancel=True)
    finally:
        lock.release()


@asynccontextmanager
async def open_sqlite_for_reading(options: SqliteOptions) -> AsyncIterator[SqliteReader]:
    """The store on this file to read from, also while a relay runs on it.

    Raises:
        StoreRefused: there is no such file, it is of a newer make, or it cannot be read.
    """
    store = _open(SqliteReader, options)
    try:
        yield store
    finally:
        store.close()


def _open(make: Callable[[SqliteOptions], R], options: SqliteOptions) -> R:
    try:
        return make(options)
    except apsw.Error as error:
        raise StoreRefused(f"{options.path}: {error}") from error


async def _answer(connection: apsw.Connection, work: Callable[[apsw.Connection], T]) -> T:
    try:
        return await run_interruptibly(partial(work, connection), connection.interrupt)
    except apsw.Error as error:
        raise _told(error) from error


def _checkpoint(connection: apsw.Connection, mode: int) -> Folded:
    """Fold the log back as far as it goes."""
    try:
        connection.wal_checkpoint(mode=mode)
    except apsw.BusyError:
        return Folded.PARTLY  # somebody reads on; the next checkpoint gets the rest
    except apsw.Error as error:
        # Nothing is lost by it: the log keeps what the database has not got yet.
        log.warning("checkpoint failed", error=str(error))
        return Folded.NOT
    return Folded.WHOLE


def _probe(connection: apsw.Connection) -> None:
    with connection:
        connection.execute("INSERT INTO probe VALUES (zeroblob(?))", (_PROBE_BYTES,)).fetchall()
    with connection:
        connection.execute("DELETE FROM probe").fetchall()


def _told(error: apsw.Error) -> StoreError:
    if isinstance(error, apsw.FullError):
        return StoreError("the relay's disk is full")
    return StoreError(f"the relay's store failed ({type(error).__name__})")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
