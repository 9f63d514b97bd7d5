"""The parts of a SQLite store, for tests that drive one of them, or let it fail: nobody else looks into it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import apsw
import trio

from trio_relay import Event, Filter
from trio_relay.nostr.event import decode
from trio_relay.store import insight
from trio_relay.store.sqlite import ReadPool, SqliteStore, event_cache, explain, fetch, planner, schema
from trio_relay.store.sqlite.batch_writer import BatchWriter, insert_events


@dataclass(frozen=True, slots=True)
class Inside:
    """What a store writes with, as it is now."""

    connection: apsw.Connection
    checkpointer: apsw.Connection
    writer: BatchWriter


@dataclass(frozen=True, slots=True)
class Readers:
    """What a store reads with, as it is now.

    Args:
        read: runs a query on a reader's connection in a thread, which may be interrupted.
        limit: who may read at a time.
        idle: connections for that which nobody uses.
        knower: the connection that tells which events are known.
        quick: the connection that is read from in the loop.
        lapsed: the time up to which events have expired that are still there, or None.
    """

    read: Callable[[Callable[[apsw.Connection], Any]], Awaitable[Any]]
    limit: trio.CapacityLimiter
    idle: Sequence[apsw.Connection]
    knower: apsw.Connection
    quick: apsw.Connection
    expired_by: Callable[[], int | None]


def inside(store: SqliteStore) -> Inside:
    """Look into what a store writes with."""
    return Inside(store._connection, store._checkpointer, store._writer)


def readers(store: ReadPool) -> Readers:
    """Look into what a store reads with."""
    return Readers(store._read, store._reading, store._idle, store._knower, store._quick_connection, store._expired_by)


def answer_through(connection: apsw.Connection, filter_: Filter, cache_bytes: int) -> list[Event]:
    """What a filter finds through an empty cache with this room, in two questions."""
    select = planner.plan([filter_])
    assert select is not None
    cache = event_cache.EventCache(cache_bytes)
    return list(map(decode, fetch.whole_answer(connection, select, cache)))


def database_of(events: Iterable[Event]) -> apsw.Connection:
    """The tables of a store with these events, in memory."""
    connection = apsw.Connection(":memory:")
    schema.prepare(connection, "")
    insert_events(connection, list(enumerate(events, 1)))
    return connection


def filled(events: Sequence[Event]) -> apsw.Connection:
    """A store's tables in memory in which these were saved, with their words."""
    connection = apsw.Connection(":memory:")
    schema.prepare(connection, "")
    BatchWriter(connection).save(events)
    return connection


def explained(connection: apsw.Connection, filter_: Filter, now: int) -> insight.Explanation:
    """What is told of an answer, and of the rows that it went through."""
    inquiry = explain.Inquiry(filter_, now, None)
    inquiry.answer(connection, None)
    inquiry.walk(connection)
    return inquiry.told()


Answer: TypeAlias = tuple[list[str], list[object]]
"""SQLite's plan, and the rows."""


def counted_and_not(connection: apsw.Connection, filter_: Filter) -> Iterator[tuple[Answer, Answer]]:
    """What each SELECT for a filter answers with its rows counted, and without."""
    connection.create_scalar_function("gone_through", lambda *_row: True, 1)
    searches = [planner.plan_one(filter_), planner.plan_newest(filter_)]
    for select in searches if filter_.search is not None else [planner.plan([filter_])]:
        assert select is not None
        counting = explain.counting(select)
        assert counting.sql != select.sql
        yield _answer(connection, counting), _answer(connection, select)


def _answer(connection: apsw.Connection, select: Any) -> Answer:
    plan = connection.execute(f"EXPLAIN QUERY PLAN {select.sql}", tuple(select.bindings))
    return [str(row[3]) for row in plan], list(connection.execute(select.sql, tuple(select.bindings)))
