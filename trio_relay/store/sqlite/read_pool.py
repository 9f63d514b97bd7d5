"""The reading side of the SQLite store: a few connections, used in threads that can be interrupted."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import TypeVar

import apsw
import structlog
import trio
from msgspec.structs import replace

from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.hyperloglog import Sketch
from trio_relay.store.archive import Archived
from trio_relay.store.base import Page, Saved, StoreError, StoreRefused
from trio_relay.store.insight import Explanation, Holdings
from trio_relay.store.inspection import Inspected, Space, Verify
from trio_relay.store.judge import by_itself, judge
from trio_relay.store.sqlite import archive, checking, fetch, schema
from trio_relay.store.sqlite.batch_writer import look_up
from trio_relay.store.sqlite.event_cache import EventCache
from trio_relay.store.sqlite.explain import Inquiry
from trio_relay.store.sqlite.loop_reader import LoopReader
from trio_relay.store.sqlite.options import SqliteOptions
from trio_relay.store.sqlite.survey import Survey
from trio_relay.store.sqlite.tally import kinds_of, space, tally
from trio_relay.store.sqlite.threads import run_interruptibly
from trio_relay.store.sqlite.transaction import described
from trio_relay.store.sqlite.words import is_worded
from trio_relay.store.surveyed import NO_KINDS, Surveyed

log = structlog.get_logger("trio_relay.store")
T = TypeVar("T")
R = TypeVar("R")


class ReadPool:
    """Reads from one file; made by `open_sqlite_for_reading`, and the base of `SqliteStore`."""

    def __init__(self, options: SqliteOptions, clock: Callable[[], float] = time.time) -> None:
        self._options = options
        self._clock = clock
        self._path = Path(options.path)
        self._cache = EventCache(options.event_cache_bytes) if options.event_cache_bytes else None
        if not self._path.is_file():
            raise StoreRefused(f"{options.path} does not exist")
        # One more than clients are given at a time: what the relay looks for itself, such as what a ban is to remove,
        # may take long, and neither waits for the other.
        connections = options.readers + 1
        self._reading = trio.CapacityLimiter(connections)
        self._idle = [self._connect(apsw.SQLITE_OPEN_READONLY) for _ in range(connections)]
        # Known ids are looked up on a connection of their own: events must not wait behind queries.
        self._knowing = trio.CapacityLimiter(1)
        self._knower = self._connect(apsw.SQLITE_OPEN_READONLY)
        schema.check(self._knower, options.path, is_read_only=True)
        self._is_worded = is_worded(self._knower)
        self._quick_connection = self._connect(apsw.SQLITE_OPEN_READONLY)
        self._quick = LoopReader(self._quick_connection, cache=self._cache)
        self._asking_why = trio.CapacityLimiter(2)

    @property
    def has_all_words(self) -> bool:
        return self._is_worded

    @property
    def readers(self) -> int:
        return self._options.readers

    async def known(self, ids: Sequence[str]) -> set[str]:
        async with self._knowing:
            return await _answer(self._knower, partial(fetch.known, ids=ids))

    def known_nowait(self, ids: Sequence[str]) -> set[str] | None:
        return self._quick.known(ids)

    def query_nowait(self, filters: Sequence[Filter]) -> Page | None:
        return self._quick.query(filters, self._expired_by())

    async def query(self, filters: Sequence[Filter]) -> AsyncGenerator[Page, None]:
        self._check(filters)
        cursor = fetch.Cursor()
        now = int(self._clock())
        begin = partial(fetch.first_page, filters=filters, cursor=cursor, now=now, cache=self._cache)
        page = await self._first(begin)
        while page:
            yield page
            page = await self._read_living(partial(fetch.next_page, cursor=cursor)) if cursor.seqs else []

    async def _first(self, begin: Callable[..., Page]) -> Page:
        return await self._read_living(begin)

    async def count(self, filters: Sequence[Filter]) -> int:
        self._check(filters)
        return await self._read_living(partial(fetch.count, filters=filters))

    async def sketch(self, filter_: Filter, offset: int) -> Sketch:
        # The filter gives the offset, as it did when its events were stored.
        return await self._read_living(partial(fetch.sketch, filter_=filter_))

    async def records(self, filter_: Filter) -> AsyncGenerator[bytes, None]:
        self._check([filter_])
        joined = await self._read_living(partial(fetch.record_numbers, filter_=filter_))
        for part in fetch.record_parts(joined):
            if page := await self._read_living(partial(fetch.records, part=part)):
                yield page

    async def explain(self, filter_: Filter, seconds: float) -> Explanation:
        self._check([filter_])
        inquiry = Inquiry(filter_, int(self._clock()), self._expired_by())
        async with self._aside() as connection:
            with trio.move_on_after(seconds):
                await _answer(connection, partial(inquiry.answer, cache=self._cache))
            with trio.move_on_after(seconds):
                await _answer(connection, inquiry.walk)
        return inquiry.told()

    async def tally(self) -> Holdings:
        async with self._aside() as connection:
            return await _answer(connection, tally)

    async def space(self) -> Space:
        async with self._aside() as connection:
            return await _answer(connection, partial(space, path=self._path))

    async def inspect(self, verify: Verify | None = None) -> AsyncGenerator[Inspected, None]:
        async with self._aside() as connection:
            portions = checking.inspect(connection, verify)
            while (portion := await _answer(connection, lambda _: next(portions, None))) is not None:
                yield portion

    async def kinds_of(self, filters: Sequence[Filter]) -> dict[int, int]:
        self._check(filters)
        async with self._aside() as connection:
            return await _answer(connection, partial(kinds_of, filters=filters))

    async def foresee(self, event: Event) -> Saved:
        bare = by_itself(event)
        return await self._read(lambda connection: judge([bare], look_up(connection, [bare])).outcomes[0])

    async def archived(self, filter_: Filter) -> AsyncGenerator[list[Archived], None]:
        left = filter_.limit
        async with aclosing(self._archive_pages(replace(filter_, reader=None))) as pages:
            async for page in pages:
                if left is not None:
                    page, left = page[:left], left - len(page)
                if page:
                    yield page
                if left is not None and left <= 0:
                    return

    async def archived_ids(self, filters: Sequence[Filter]) -> list[str]:
        """Return the ids of all in the archive that matches any of the filters, whatever stands in the store.

        Raises:
            StoreError: the store could not answer.
        """
        ids: dict[str, None] = {}
        for filter_ in filters:
            async with aclosing(self._archive_pages(replace(filter_, reader=None), is_whole=True)) as pages:
                ids |= {one.id: None async for page in pages for one in page}
        return list(ids)

    async def _archive_pages(self, filter_: Filter, *, is_whole: bool = False) -> AsyncGenerator[list[Archived], None]:
        if filter_.is_hopeless or (filter_.limit == 0 and not is_whole):
            return
        async with self._aside() as connection:
            before: int | None = None
            while True:
                read = partial(archive.page_of, filter_=filter_, before=before, is_whole=is_whole)
                page, before = await _answer(connection, read)
                yield page
                if before is None:
                    return

    @asynccontextmanager
    async def _aside(self) -> AsyncIterator[apsw.Connection]:
        """Open a connection for what operators ask: it may take long, and neither clients nor bans wait for it.

        Raises:
            StoreError: it cannot be opened.
        """
        async with self._asking_why:
            try:
                connection = await trio.to_thread.run_sync(self._connect, apsw.SQLITE_OPEN_READONLY)
            except apsw.Error as error:
                raise store_error(error) from error
            with closing(connection):
                yield connection

    def _expired_by(self) -> int | None:
        """Return the second up to which expired events are left out; None if no stored event has expired."""
        return int(self._clock())  # another process may store events that expire

    async def _read_living(self, work: Callable[..., T]) -> T:
        """Read with `expired_by` as of the moment when the work begins: it may have waited for long."""
        return await self._read(lambda connection: work(connection, expired_by=self._expired_by()))

    def _check(self, filters: Sequence[Filter]) -> None:
        if not self._is_worded and fetch.any_search(filters):
            raise StoreError("the relay keeps no index of words")

    async def scan(self) -> AsyncGenerator[Page, None]:
        cursor = fetch.Cursor()
        after = 0
        while True:
            await self._read(partial(fetch.fill_scan, after=after, cursor=cursor))
            if not cursor.seqs:
                return
            after = cursor.seqs[-1]
            while page := await self._read(partial(fetch.next_page, cursor=cursor)):
                yield page

    async def survey(
        self, until: int | None = None, *, tagged: AbstractSet[int] | None = NO_KINDS, weighs: bool = True
    ) -> AsyncGenerator[list[Surveyed], None]:
        walk = Survey(until, tagged)
        while portion := await self._read(walk.portion):
            yield portion

    async def get_metadata(self) -> dict[str, bytes]:
        # On a connection of its own: a value may be longer than a page of answers, which readers are held to.
        def read() -> dict[str, bytes]:
            with closing(apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
                schema.tune(connection, cache_bytes=self._options.page_bytes_each)
                return kept(connection)

        try:
            return await trio.to_thread.run_sync(read)
        except apsw.Error as error:
            raise store_error(error) from error

    def close(self) -> None:
        """Close every connection; blocks."""
        for connection in (*self._idle, self._knower, self._quick_connection):
            connection.close()

    def _connect(self, flags: int) -> apsw.Connection:
        connection = apsw.Connection(str(self._path), flags=flags)
        schema.tune(connection, cache_bytes=self._options.page_bytes_each)
        if flags & apsw.SQLITE_OPEN_READONLY:
            fetch.limit_answers(connection)
        return connection

    async def _read(self, work: Callable[[apsw.Connection], T]) -> T:
        try:
            self._reading.acquire_nowait()  # a turn of the loop less than with `async with`
        except trio.WouldBlock:
            await self._reading.acquire()
        connection = self._idle.pop()
        try:
            return await _answer(connection, work)
        finally:
            self._idle.append(connection)
            self._reading.release()


@asynccontextmanager
async def open_sqlite_for_reading(options: SqliteOptions) -> AsyncIterator[ReadPool]:
    """Open the store in this file for reading, also while a relay uses it.

    Raises:
        StoreRefused: there is no such file, it is of a newer version, or it cannot be read.
    """
    store = opened(ReadPool, options)
    try:
        yield store
    finally:
        store.close()


def kept(connection: apsw.Connection) -> dict[str, bytes]:
    """Return the relay's own values by name; blocks."""
    rows: list[tuple[str, bytes]] = connection.execute("SELECT name, value FROM kept").fetchall()  # type: ignore[assignment]  # as the table is
    return dict(rows)


def opened(make: Callable[[SqliteOptions], R], options: SqliteOptions) -> R:
    """Call `make` with the options.

    Raises:
        StoreRefused: the file cannot be opened.
    """
    try:
        return make(options)
    except apsw.CantOpenError as error:
        if not Path(options.path).is_file():
            raise StoreRefused(f"{options.path}: {described(error)}") from error
        # What cannot be opened is its log, or the memory beside it.
        raise schema.no_log(options.path, described(error)) from error
    except apsw.Error as error:
        log.error("the store cannot be opened", path=options.path, error=described(error))
        raise StoreRefused(f"{options.path}: {described(error)}") from error


async def _answer(connection: apsw.Connection, work: Callable[[apsw.Connection], T]) -> T:
    try:
        return await run_interruptibly(partial(work, connection), connection.interrupt)
    except apsw.Error as error:
        raise store_error(error) from error


def store_error(error: apsw.Error) -> StoreError:
    """Turn an error of SQLite into what clients may be told."""
    if isinstance(error, apsw.FullError):
        return StoreError("the relay's disk is full")
    return StoreError(f"the relay's store failed ({type(error).__name__})")
