"""Answers from the cache of events are those of the database, whatever was removed, and nothing is looked up twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import apsw
import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.files import opened, options
from tests.store.inside import answer_through, inside, readers
from tests.store.quickness import Clock
from tests.support.backends import ask, ask_at_once, everything
from tests.support.keys import ALICE, BOB, NOW, made_up
from tests.support.marks import examples
from tests.support.oracles import naive_query
from tests.support.readers import reading
from tests.support.strategies import events, filters, histories, tags
from trio_relay import Event, Filter, StoreError, open_sqlite
from trio_relay.store.sqlite import SqliteStore

EVERYTHING: Final = Filter(limit=100)
NOTES: Final = [made_up(str(number), created_at=NOW - number) for number in range(5)]


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with opened(path) as store:
        yield store


def cached(store: SqliteStore) -> tuple[int, int, int]:
    """How many events its cache keeps, how many were found there, and how many not."""
    found = store.statistics().cache
    assert found is not None
    return found.events, found.hits, found.misses


def statements_of(connection: apsw.Connection) -> list[str]:
    """The statements that this connection runs from now on."""
    ran: list[str] = []

    def note(_: apsw.Cursor, sql: str, __: object) -> bool:
        ran.append(sql)
        return True

    connection.exec_trace = note
    return ran


async def test_what_was_asked_for_is_not_looked_up_again(store: SqliteStore) -> None:
    await store.save_many(NOTES)
    assert ask_at_once(store, EVERYTHING) == NOTES
    ran = statements_of(readers(store).quick)
    assert ask_at_once(store, EVERYTHING) == NOTES
    assert ask_at_once(store, replace_limit(2)) == NOTES[:2]
    assert len(ran) == 2
    assert not any("json" in sql for sql in ran)


async def test_threads_and_the_loop_share_it(store: SqliteStore) -> None:
    await store.save_many(NOTES)
    assert await ask(store, EVERYTHING) == NOTES
    ran = statements_of(readers(store).quick)
    assert ask_at_once(store, EVERYTHING) == NOTES
    assert not any("json" in sql for sql in ran)


async def test_only_what_is_missing_is_looked_up(store: SqliteStore) -> None:
    await store.save_many(NOTES[1:])
    assert ask_at_once(store, EVERYTHING) == NOTES[1:]
    _, hits, misses = cached(store)
    await store.save_many(NOTES[:1])
    assert ask_at_once(store, EVERYTHING) == NOTES
    assert cached(store) == (5, hits + 4, misses + 1)


async def test_without_room_there_is_none(path: Path) -> None:
    async with open_sqlite(msgspec.structs.replace(options(path), event_cache_bytes=0)) as store:
        await store.save_many(NOTES)
        for _ in range(2):
            assert ask_at_once(store, EVERYTHING) == await ask(store, EVERYTHING) == NOTES
        assert store.statistics().cache is None


async def test_no_event_gets_the_number_of_another_whose_bytes_are_cached(store: SqliteStore) -> None:
    """Neither when the newest is removed, nor when a batch is rolled back, nor in both together."""
    await store.save_many(NOTES[:1])
    assert ask_at_once(store, EVERYTHING) == NOTES[:1]
    await store.remove([Filter(ids=frozenset([NOTES[0].id]))])
    await store.save_many(NOTES[1:2])
    assert ask_at_once(store, EVERYTHING) == NOTES[1:2]
    inside(store).connection.execute("CREATE TRIGGER no BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(StoreError):
        await store.save_many(NOTES[2:3])
    assert ask_at_once(store, EVERYTHING) == NOTES[1:2]
    inside(store).connection.execute("DROP TRIGGER no")
    await store.save_many(NOTES[3:4])
    assert ask_at_once(store, EVERYTHING) == [NOTES[1], NOTES[3]]


async def test_a_commit_that_fails_leaves_nothing_behind(store: SqliteStore) -> None:
    inside(store).connection.set_commit_hook(lambda: True)
    with pytest.raises(StoreError):
        await store.save_many(NOTES[:2])
    inside(store).connection.set_commit_hook(None)
    assert cached(store)[0] == 0
    await store.save_many(NOTES[2:4])
    assert ask_at_once(store, EVERYTHING) == await ask(store, EVERYTHING) == NOTES[2:4]


async def test_what_goes_between_the_two_questions_is_left_out_as_a_whole(path: Path) -> None:
    """One version is found, and before it is fetched another one takes its place: the answer has the other one."""
    older, newer = ALICE.event("older", kind=0), ALICE.event("newer", kind=0, created_at=NOW + 1)
    async with opened(path) as store:
        await store.save_many([older, *NOTES])
        with closing(apsw_connection(path)) as connection:
            done = False

            def replace_it(_: apsw.Cursor, sql: str, __: object) -> bool:
                nonlocal done
                if "carray" in sql and not done:
                    done = True
                    inside(store).writer.save([newer])
                return True

            connection.exec_trace = replace_it
            assert answer_through(connection, EVERYTHING, 2**20) == [newer, *NOTES]
            assert done


@pytest.mark.parametrize("room", [0, 2**20])
async def test_an_answer_longer_than_a_page_comes_in_several(path: Path, room: int) -> None:
    long = [made_up(f"{number}" + "x" * 200_000, created_at=NOW - number) for number in range(4)]
    async with open_sqlite(msgspec.structs.replace(options(path), event_cache_bytes=room)) as store:
        await store.save_many(long)
        for _ in range(2):
            assert store.query_nowait([EVERYTHING]) is None
            assert await ask(store, EVERYTHING) == long
            assert ask_at_once(store, replace_limit(2)) == long[:2]
            assert ask_at_once(store, Filter(until=long[2].created_at, limit=9)) == long[2:]


async def test_a_private_event_that_is_cached_is_for_those_concerned(store: SqliteStore) -> None:
    letter = ALICE.event("secret", kind=4, tags=[["p", BOB.pubkey]])
    await store.save_many([letter])
    for keys, expected in (([BOB.pubkey], [letter]), ([], []), ([ALICE.pubkey], [letter]), (["c" * 64], [])):
        assert ask_at_once(store, Filter(kinds=frozenset([1, 4]), reader=reading(*keys))) == expected


def replace_limit(limit: int) -> Filter:
    return msgspec.structs.replace(EVERYTHING, limit=limit)


def apsw_connection(path: Path) -> apsw.Connection:
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happens to the stores: a batch comes, filters are banned, time passes, or a REQ is asked."""

    batch: list[Event]
    banned: Filter | None
    seconds: int
    asked: list[Filter]


@st.composite
def steps(draw: st.DrawFn) -> list[Step]:
    """What happens, in its order: versions, deletions, expiries and requests to vanish among the events."""
    history = draw(histories(20))
    lapsing = st.integers(1, 6).map(lambda seconds: ["expiration", str(NOW + seconds)])
    brief = events(st.tuples(tags, lapsing).map(lambda both: [*both[0], both[1]]))
    history += draw(st.lists(brief, max_size=4)) + list(map(vanish, draw(st.lists(events(), max_size=2))))
    history = draw(st.permutations(history))
    found: list[Step] = []
    while history or len(found) < 4:
        size = draw(st.integers(1, 6))
        batch, history = history[:size], history[size:]
        banned = draw(st.none() | filters(batch)) if draw(st.booleans()) else None
        asked = draw(st.lists(filters(batch, st.integers(1, 30)), max_size=2))
        found.append(Step(batch, banned, draw(st.integers(0, 2)), [*asked, EVERYTHING]))
    return found


def vanish(event: Event) -> Event:
    """A request to vanish by the same author at the same time."""
    return msgspec.structs.replace(event, id=event.id[::-1], kind=62, tags=[["relay", "ALL_RELAYS"]])


@pytest.mark.slow
@settings(max_examples=examples(25))
@given(steps())
def test_any_history_is_answered_alike_with_a_cache_of_any_size(happens: list[Step]) -> None:
    """The answers are those that the naive query finds among what a scan, which uses no cache, says is there."""

    async def main() -> None:
        clock = Clock()
        clock.now = NOW
        async with AsyncExitStack() as stack:
            stores = [await stack.enter_async_context(with_room(room, clock)) for room in (0, 2_500, 2**26)]
            for step in happens:
                outcomes = [await store.save_many(step.batch) for store in stores]
                assert outcomes[0] == outcomes[1] == outcomes[2]
                for store in stores:
                    await agree(store, step.asked, clock)
                clock.now += step.seconds
                for store in stores:
                    await agree(store, step.asked, clock)
                    if step.banned is not None:
                        await store.remove([step.banned])
                    await store.sweep()
                    await agree(store, step.asked, clock)
                assert await everything(stores[0]) == await everything(stores[1]) == await everything(stores[2])

    trio.run(main)


@asynccontextmanager
async def with_room(room: int, clock: Clock) -> AsyncIterator[SqliteStore]:
    """A new store with a cache of so many bytes."""
    with TemporaryDirectory() as folder:
        sized = msgspec.structs.replace(options(Path(folder) / "relay.db"), event_cache_bytes=room)
        async with open_sqlite(sized, clock=clock) as store:
            yield store


async def agree(store: SqliteStore, asked: list[Filter], clock: Clock) -> None:
    """A thread and the loop answer as the naive query does."""
    alive = [event for event in await everything(store) if lapses(event) > clock.now]
    for request in asked:
        expected = naive_query([request], alive)
        assert await ask(store, request) == expected
        assert ask_at_once(store, request) == expected


def lapses(event: Event) -> float:
    return min((int(tag[1]) for tag in event.tags if tag[0] == "expiration"), default=inf)
