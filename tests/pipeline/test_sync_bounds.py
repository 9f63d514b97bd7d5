"""How many syncs a relay has, and how many events their sets hold together; whatever fails gives its room back."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.pipeline.test_syncing import ALL, NOTES, found, ids_in, syncing_of
from tests.support.obedient_store import SyncedStore
from tests.support.syncing import ids_of
from trio_relay import Filter, MemoryStore
from trio_relay.nostr.access import NOBODY
from trio_relay.nostr.errors import Rejected
from trio_relay.pipeline import sync_sets as module
from trio_relay.pipeline.statistics import SyncStatistics
from trio_relay.pipeline.sync_sets import SetTooLarge, Sync, SyncSets

NOTES_ONLY = Filter(kinds=frozenset([1]))
both_sets = pytest.mark.parametrize("one", [ALL, NOTES_ONLY], ids=["kept", "read"])


async def refused(syncing: SyncSets, filter_: Filter) -> str:
    with pytest.raises(Rejected) as caught:
        await syncing.open(filter_, NOBODY)
    return str(caught.value)


@both_sets
async def test_a_relay_has_so_many_syncs_and_no_more(monkeypatch: pytest.MonkeyPatch, one: Filter) -> None:
    monkeypatch.setattr(module, "MOST_SESSIONS", 2)
    syncing = await syncing_of(MemoryStore(), *NOTES)
    sessions = [await syncing.open(one, NOBODY) for _ in range(2)]
    assert await refused(syncing, one) == "error: too many syncs are running"
    sessions.pop().close()
    assert await found(syncing, one) == ids_of(NOTES)
    assert syncing.statistics().sessions == 1


async def test_those_that_are_being_opened_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SESSIONS", 1)
    store = SyncedStore()
    syncing = await syncing_of(store, *NOTES)
    async with trio.open_nursery() as nursery:
        store.block("records")
        nursery.start_soon(syncing.open, ALL, NOBODY)
        await wait_all_tasks_blocked()
        assert await refused(syncing, NOTES_ONLY) == "error: too many syncs are running"
        nursery.cancel_scope.cancel()
    store.release("records")
    assert await found(syncing, NOTES_ONLY) == ids_of(NOTES)


async def test_sets_together_hold_so_many_events_while_they_are_read_too() -> None:
    """Of six events each, 24 may be held; the fifth set is refused at its first page."""
    store = SyncedStore(page_events=2)
    syncing = await syncing_of(store, *NOTES, most=6, most_of_all=24)
    sessions: list[Sync] = []

    async def open_() -> None:
        sessions.append(await syncing.open(NOTES_ONLY, NOBODY))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            await open_()
        store.block("record page")
        nursery.start_soon(open_)
        for _ in range(3):
            await wait_all_tasks_blocked()
            store.step("record page")
        await wait_all_tasks_blocked()
        store.release("record page")
    assert syncing.statistics().held == 24
    pages = store.completed["record page"]
    assert await refused(syncing, NOTES_ONLY) == "error: too many syncs are running"
    assert store.completed["record page"] == pages + 1
    assert await refused(syncing, ALL) == "error: too many syncs are running"
    assert syncing.statistics() == SyncStatistics(sessions=4, sets_read=6, kept=0, held=24)
    for session in sessions:
        assert ids_in(session) == ids_of(NOTES)
    assert await found(syncing, ALL) == ids_of(NOTES)
    assert syncing.statistics() == SyncStatistics(sessions=0, sets_read=7, kept=6, held=0)


@both_sets
async def test_a_set_that_fails_at_a_later_page_gives_its_room_back(one: Filter) -> None:
    store = SyncedStore(page_events=2)
    syncing = await syncing_of(store, *NOTES)
    store.block("record page")
    async with trio.open_nursery() as nursery:

        async def fail() -> None:
            assert await refused(syncing, one) == "error: disk is gone"

        nursery.start_soon(fail)
        await wait_all_tasks_blocked()
        store.step("record page")
        await wait_all_tasks_blocked()
        own = 0 if one is ALL else 2  # the set that is kept is nobody's own
        assert syncing.statistics() == SyncStatistics(sessions=1, sets_read=1, kept=0, held=own)
        store.failing["record page"] = "disk is gone"
        store.release("record page")
    assert syncing.statistics() == SyncStatistics(sessions=0, sets_read=1, kept=0, held=0)


async def test_one_that_asks_for_too_much_at_once_is_refused_as_that() -> None:
    store = SyncedStore(page_events=2)
    syncing = await syncing_of(store, *NOTES)
    store.too_large["record page"] = "ask for less"
    assert await refused(syncing, Filter(kinds=frozenset([1]))) == "invalid: ask for less"
    assert syncing.statistics().sessions == 0


@both_sets
async def test_so_does_one_that_is_cancelled(one: Filter) -> None:
    store = SyncedStore(page_events=2)
    syncing = await syncing_of(store, *NOTES)
    async with trio.open_nursery() as nursery:
        store.block("record page")
        nursery.start_soon(syncing.open, one, NOBODY)
        await wait_all_tasks_blocked()
        store.step("record page")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert syncing.statistics() == SyncStatistics(sessions=0, sets_read=1, kept=0, held=0)


@both_sets
async def test_so_does_one_that_is_late(autojump_clock: MockClock, one: Filter) -> None:
    """Each page has its time."""
    store = SyncedStore(page_events=2)
    syncing = await syncing_of(store, *NOTES, seconds=2.5)
    store.block("record page")
    reason = "error: the sync's set took more than 2.5 seconds to read (query_seconds)"
    assert await refused(syncing, one) == reason
    assert trio.current_time() == pytest.approx(2.5)
    assert syncing.statistics() == SyncStatistics(sessions=0, sets_read=1, kept=0, held=0)


@both_sets
async def test_so_does_one_that_is_too_large(one: Filter) -> None:
    store = SyncedStore(page_events=2)
    syncing = await syncing_of(store, *NOTES, most=5)
    with pytest.raises(SetTooLarge):
        await syncing.open(one, NOBODY)
    assert (syncing.statistics().sessions, syncing.statistics().held) == (0, 0)
