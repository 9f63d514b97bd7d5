"""Every backend under the contract, and what its tests share: a new backend joins with one entry in `BACKENDS`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryDirectory
from typing import Final, Protocol, TypeAlias

from tests.support.indices import emptied
from tests.support.members import open_members
from trio_relay import Filter, MemoryStore, SqliteOptions, open_sqlite
from trio_relay.nostr.event import Event, decode
from trio_relay.store import archive
from trio_relay.store.base import Page, Queryable, Scannable, Store

Clock: TypeAlias = Callable[[], float]
Archiving: TypeAlias = archive.Archiving
OFF: Final = archive.NOTHING_KEPT


class Opens(Protocol):
    """Opens an empty store, by default one that keeps nothing of what goes."""

    def __call__(self, archiving: Archiving = OFF, clock: Clock = time.time) -> AbstractAsyncContextManager[Store]:
        """For as long as the context lasts."""
        ...


@dataclass(frozen=True, slots=True)
class Backend:
    """How a test gets an empty store, how many examples of a property it may cost, and what it answers at once.

    Nothing is late here (see `conftest.patience`), so that each backend has to answer at once whatever it ever does.
    """

    open: Opens
    examples: int
    answers_at_once: Callable[[Sequence[Filter]], bool]
    needs_node: bool = False


@asynccontextmanager
async def _memory(
    archiving: archive.Archiving = archive.NOTHING_KEPT, clock: Callable[[], float] = time.time
) -> AsyncIterator[Store]:
    yield MemoryStore(clock, archiving)


@asynccontextmanager
async def _sqlite(
    archiving: archive.Archiving = archive.NOTHING_KEPT, clock: Callable[[], float] = time.time
) -> AsyncIterator[Store]:
    with TemporaryDirectory() as folder:
        options = SqliteOptions(
            path=f"{folder}/relay.db",
            synchronous="normal",
            readers=2,
            archive=archiving.is_on,
            archive_seconds=archiving.seconds,
        )
        async with open_sqlite(options, clock=clock) as store:
            yield store


@asynccontextmanager
async def _kept(
    archiving: archive.Archiving = archive.NOTHING_KEPT, clock: Callable[[], float] = time.time
) -> AsyncIterator[Store]:
    settings = {"archive": archiving.is_on, "archive_seconds": archiving.seconds}
    async with open_members(1, clock=clock, **settings) as [member]:
        yield member


def _only_nothing(filters: Sequence[Filter]) -> bool:
    return not any(filter_.wants_stored for filter_ in filters)


BACKENDS: Final = {
    "memory": Backend(_memory, 100, answers_at_once=_only_nothing),
    "sqlite": Backend(
        _sqlite,
        50,
        answers_at_once=lambda filters: len(filters) <= 4 and sum(filter_.size for filter_ in filters) <= 500,
    ),
    "kept": Backend(
        _kept,
        10,
        answers_at_once=lambda filters: len(filters) <= 4 and sum(filter_.size for filter_ in filters) <= 500,
    ),
    # What was written is remembered, and no search sees it yet; then the other way round.
    "opensearch": Backend(emptied, 10, answers_at_once=_only_nothing, needs_node=True),
    "opensearch, refreshed": Backend(
        partial(emptied, is_refreshed=True), 10, answers_at_once=_only_nothing, needs_node=True
    ),
}


async def ask(store: Queryable, *filters: Filter) -> list[Event]:
    """What the store answers, in its order; a filter without a limit gets one that nothing here exceeds."""
    return list(map(decode, await ask_raw(store, *filters)))


async def ask_raw(store: Queryable, *filters: Filter) -> list[bytes]:
    """The same as the bytes that the store gave."""
    limited = [filter_.with_limit(default=10_000, most=10_000) for filter_ in filters]
    async with aclosing(store.query(limited)) as pages:
        return lines([page async for page in pages])


def ask_at_once(store: Store, *filters: Filter) -> list[Event] | None:
    """What the store answers without waiting; fails on a None where this backend has to answer."""
    limited = [filter_.with_limit(default=10_000, most=10_000) for filter_ in filters]
    page = store.query_nowait(limited)
    if page is None:
        assert not BACKENDS[store.statistics().backend].answers_at_once(limited)
        return None
    return list(map(decode, page))


async def records(store: Queryable, filter_: Filter) -> list[tuple[int, str]]:
    """(created_at, id) of each record that the store gives, in its order."""
    async with aclosing(store.records(filter_)) as pages:
        found = [page async for page in pages]
    assert all(page and len(page) % 40 == 0 for page in found)
    joined = b"".join(found)
    return [
        (int.from_bytes(joined[at : at + 8], "big"), joined[at + 8 : at + 40].hex()) for at in range(0, len(joined), 40)
    ]


async def everything(store: Scannable) -> list[Event]:
    """What the store holds, in the order in which it came."""
    async with aclosing(store.scan()) as pages:
        return list(map(decode, lines([page async for page in pages])))


async def archived(store: archive.Archive, filter_: Filter | None = None) -> list[archive.Archived]:
    """What the archive has that matches, what went last first; no page may be empty."""
    async with aclosing(store.archived(filter_ or Filter())) as pages:
        found = [page async for page in pages]
    assert all(found)
    return [one for page in found for one in page]


def lines(pages: Iterable[Page]) -> list[bytes]:
    """The events of an answer; no page may be empty."""
    flat = []
    for page in pages:
        assert page
        flat += page
    return flat
