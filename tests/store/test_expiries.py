"""What expires while a store is open, and what queries cost as long as nothing has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final

import apsw
import pytest
import trio
import trio.testing

from tests.store.files import opened_for_reading, options
from tests.store.inside import inside, readers
from tests.support.backends import ask, records
from tests.support.keys import ALICE, BOB, NOW
from trio_relay import Filter, Saved, StoreError, open_sqlite
from trio_relay.nostr.event import Event, decode
from trio_relay.store.sqlite import SqliteStore, batch_writer, deletes, fetch, planner

SOON: Final = NOW + 10
EVERYTHING: Final = Filter(limit=10)
QUESTIONS: Final = [
    EVERYTHING,
    Filter(kinds=frozenset([1]), limit=10),
    Filter(tags=(("t", frozenset(["x"])),), limit=10),
    Filter(authors=frozenset([ALICE.pubkey]), limit=10),
]


def note(expiry: int | None = SOON, content: str = "", kind: int = 1) -> Event:
    last = [] if expiry is None else [["expiration", str(expiry)]]
    return ALICE.event(content, kind=kind, tags=[["t", "x"], ["d", "x"], *last])


BRIEF, LASTING, PLAIN = note(), note(2**40), note(None)


class Clock:
    """A time of day that stands still until told."""

    now = NOW + 0.5

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def opened_at(path: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
    with trio.fail_after(60):
        async with open_sqlite(options(path), clock=clock) as store:
            yield store


@pytest.fixture
def clock() -> Clock:
    """Ten seconds before something expires."""
    return Clock()


@pytest.fixture
async def store(path: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
    """One that is empty."""
    async with opened_at(path, clock) as store:
        yield store


def expiries(store: SqliteStore) -> int:
    """How many stored events are known to expire."""
    return int(inside(store).connection.execute("SELECT count(*) FROM expiry").get)


async def found(store: SqliteStore, filter_: Filter) -> set[str]:
    """The ids that every way to ask gives."""
    page = store.query_nowait([filter_])
    assert page is not None
    ids = {decode(json).id for json in page}
    assert {event.id for event in await ask(store, filter_)} == ids
    assert {event_id for _, event_id in await records(store, filter_)} == ids
    assert await store.count([filter_]) == len(ids)
    return ids


@pytest.mark.parametrize("one", QUESTIONS)
async def test_it_is_found_until_its_second_comes(store: SqliteStore, clock: Clock, one: Filter) -> None:
    await store.save_many([BRIEF, LASTING, PLAIN])
    clock.now = SOON - 0.001
    assert await found(store, one) == {BRIEF.id, LASTING.id, PLAIN.id}
    assert await store.sweep() == 0
    clock.now = SOON
    assert await found(store, one) == {LASTING.id, PLAIN.id}
    assert await store.sweep() == 1
    assert await found(store, one) == {LASTING.id, PLAIN.id}


async def test_a_lone_id_is_not_found_either(store: SqliteStore, clock: Clock) -> None:
    await store.save_many([BRIEF])
    one = Filter(ids=frozenset([BRIEF.id]), limit=1)
    assert await found(store, one) == {BRIEF.id}
    clock.now = SOON
    assert await found(store, one) == set()


async def test_queries_ask_nothing_of_expiries_before_the_first_is_due_and_after_it_was_swept(
    store: SqliteStore, clock: Clock
) -> None:
    assert readers(store).expired_by() is None
    await store.save_many([LASTING, PLAIN, BRIEF])
    assert readers(store).expired_by() is None
    clock.now = SOON
    assert readers(store).expired_by() == SOON
    await store.sweep()
    assert readers(store).expired_by() is None
    for expired_by, has_it in ((None, False), (SOON, True)):
        select = planner.plan([EVERYTHING], expired_by)
        assert select is not None
        assert ("expiry" in select.sql) == has_it


async def test_what_comes_expired_is_found_by_nobody(store: SqliteStore, clock: Clock) -> None:
    """Its batch is committed only after everybody asks."""
    clock.now = SOON
    assert await store.save_many([PLAIN, BRIEF]) == [Saved.STORED] * 2
    assert await found(store, EVERYTHING) == {PLAIN.id}


async def test_it_is_known_again_when_the_store_is_opened_anew(path: Path, clock: Clock) -> None:
    async with opened_at(path, clock) as store:
        await store.save_many([BRIEF, PLAIN])
    clock.now = SOON
    async with opened_at(path, clock) as store:
        assert await found(store, EVERYTHING) == {PLAIN.id}
        assert await store.sweep() == 1


async def test_who_only_reads_finds_nothing_expired_either(path: Path, clock: Clock) -> None:
    async with opened_at(path, clock) as store:
        await store.save_many([BRIEF, LASTING])
        async with opened_for_reading(path) as reader:  # at the real time of day
            assert await ask(reader, EVERYTHING) == [LASTING]
            assert await reader.count([EVERYTHING]) == 1


async def test_what_goes_in_another_way_leaves_no_expiry_behind(store: SqliteStore) -> None:
    profiles = [ALICE.event(kind=0, created_at=NOW + at, tags=[["expiration", str(SOON)]]) for at in range(2)]
    await store.save_many([BRIEF, LASTING, profiles[0]])
    assert expiries(store) == 3
    await store.save_many([profiles[1]])
    assert expiries(store) == 3
    await store.save_many([ALICE.event(kind=5, tags=[["e", BRIEF.id]])])
    assert expiries(store) == 2
    await store.remove([Filter(ids=frozenset([LASTING.id]))])
    assert expiries(store) == 1
    await store.save_many([ALICE.event(kind=62, created_at=NOW + 5)])
    assert expiries(store) == 0


async def test_ephemeral_kinds_never_expire_wherever_they_come_from(store: SqliteStore, clock: Clock) -> None:
    event = note(kind=20_001)
    await store.save_many([event])
    clock.now = SOON
    assert expiries(store) == 0
    assert await found(store, EVERYTHING) == {event.id}


async def test_a_batch_that_fails_expires_nothing_and_hinders_no_sweep(
    store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            inside(store).writer,
            "_insert_tombstones",
            lambda _ruling: inside(store).connection.execute("SELECT * FROM nowhere"),
        )
        with pytest.raises(StoreError):
            await store.save_many([BRIEF])
    clock.now = SOON
    await store.save_many([PLAIN])
    assert await found(store, EVERYTHING) == {PLAIN.id}
    assert await store.sweep() == 0
    assert readers(store).expired_by() is None


async def test_a_sweep_that_fails_removes_nothing(
    store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.save_many([BRIEF, PLAIN, BOB.event(tags=[["expiration", "1"]])])
    clock.now = SOON
    with monkeypatch.context() as patch:
        patch.setattr(deletes, "_DELETE", "DELETE FROM nowhere WHERE ?1")
        with pytest.raises(StoreError, match=r"^the relay's store failed \(SQLError\)$"):
            await store.sweep()
    assert expiries(store) == 2
    assert await found(store, EVERYTHING) == {PLAIN.id}
    assert await store.sweep() == 2


async def test_what_expires_while_a_query_waits_for_its_turn_is_not_found(store: SqliteStore, clock: Clock) -> None:
    await store.save_many([BRIEF, PLAIN])
    answers: list[object] = []

    async def note_answers() -> None:
        answers.append(await ask(store, EVERYTHING))
        answers.append(await records(store, EVERYTHING))
        answers.append(await store.count([EVERYTHING]))

    holders = [object() for _ in range(int(readers(store).limit.total_tokens))]
    for holder in holders:
        readers(store).limit.acquire_on_behalf_of_nowait(holder)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(note_answers)
        await trio.testing.wait_all_tasks_blocked()
        clock.now = SOON
        for holder in holders:
            readers(store).limit.release_on_behalf_of(holder)
    assert answers == [[PLAIN], [(PLAIN.created_at, PLAIN.id)], 1]


async def test_what_expires_between_two_pages_is_not_in_the_second(
    store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "RECORD_PART", 1)
    big = [ALICE.event("x" * 300_000, created_at=NOW - 1 - at, tags=[["expiration", str(SOON)]]) for at in range(3)]
    await store.save_many([*big, PLAIN])
    async with aclosing(store.query([EVERYTHING])) as pages:
        assert decode((await anext(pages))[0]) == PLAIN
        clock.now = SOON
        assert [page async for page in pages] == []
    clock.now = NOW
    async with aclosing(store.records(EVERYTHING)) as parts:
        assert (await anext(parts))[8:] == bytes.fromhex(PLAIN.id)
        clock.now = SOON
        assert [part async for part in parts] == []


def test_who_follows_hears_of_a_sweep_although_the_next_expiry_cannot_be_told(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = apsw.Connection(str(file))
    writer = batch_writer.BatchWriter(connection)
    writer.is_followed = True
    writer.save([BRIEF])
    writer.changes.clear()
    monkeypatch.setattr(batch_writer, "earliest_expiry", lambda _connection: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        writer.sweep(SOON)
    connection.close()
    assert [change[:2] for change in writer.changes] == [([], [(BRIEF.created_at, BRIEF.id)])]


def test_no_table_is_sorted_to_find_what_has_expired(file: Path) -> None:
    connection = apsw.Connection(str(file))
    rows = connection.execute(
        "EXPLAIN QUERY PLAN SELECT seq FROM expiry WHERE at <= 1 ORDER BY at LIMIT 500"
    ).fetchall()
    connection.close()
    assert [str(row[3]) for row in rows] == ["SEARCH expiry USING COVERING INDEX expiry_at (at<?)"]
