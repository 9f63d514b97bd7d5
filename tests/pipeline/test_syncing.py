"""The sets of syncs: of all that is public one is kept, which follows the store; others are read each time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB, NOW, made_up
from tests.support.obedient_store import SyncedStore
from tests.support.pipeline import open_desk, turns_of
from tests.support.syncing import FIRST, ids_of
from trio_relay import Event, Filter, MemoryStore, Store, SyncOptions
from trio_relay.nostr.access import NOBODY, Reader
from trio_relay.nostr.errors import Rejected
from trio_relay.nostr.negentropy.wire import read_ranges
from trio_relay.pipeline.statistics import SyncStatistics
from trio_relay.pipeline.sync_sets import SetTooLarge, Sync, SyncSets
from trio_relay.policy.identity import Identity

NOTES: Final = [made_up(str(number), created_at=NOW + number) for number in range(6)]
MESSAGE: Final = ALICE.event("psst", kind=4, tags=[["p", BOB.pubkey]])
ALL: Final = Filter()
KEPT_SECONDS: Final = 600


def ids_in(session: Sync) -> set[str]:
    """What the session compares; closes it."""
    (listed,) = read_ranges(session.reply(FIRST))
    session.close()
    return {listed.payload[at : at + 32].hex() for at in range(0, len(listed.payload), 32)}


async def found(syncing: SyncSets, filter_: Filter = ALL, reader: Reader = NOBODY) -> set[str]:
    return ids_in(await syncing.open(filter_, reader))


async def syncing_of(
    store: Store, *events: Event, most: int = 1_000, most_of_all: int = 4_000, seconds: float = 10.0
) -> SyncSets:
    await store.save_many(events)
    return SyncSets(store, SyncOptions(max_events=most, max_events_of_all=most_of_all), turns_of(seconds))


async def test_the_set_of_all_is_read_once_for_every_time_that_is_asked_for() -> None:
    store = SyncedStore()
    syncing = await syncing_of(store, *NOTES)
    assert await found(syncing) == ids_of(NOTES)
    assert await found(syncing, Filter(since=NOW + 2)) == ids_of(NOTES[2:])
    assert await found(syncing, Filter(until=NOW + 2)) == ids_of(NOTES[:3])
    assert await found(syncing, Filter(since=NOW + 2, until=NOW + 2)) == {NOTES[2].id}
    assert await found(syncing, Filter(since=NOW + 9, until=NOW + 1)) == set()
    assert store.calls["records"] == 1
    assert syncing.statistics() == SyncStatistics(sessions=0, sets_read=1, kept=6, held=0)


async def test_the_set_of_all_takes_room_once_and_from_those_that_are_read_each_time() -> None:
    store = SyncedStore()
    await store.save_many(NOTES)
    syncing = SyncSets(store, SyncOptions(max_events=6, max_events_of_all=12), turns_of(10.0))
    kept = [await syncing.open(ALL, NOBODY) for _ in range(3)]
    alone = await syncing.open(Filter(kinds=frozenset([1])), NOBODY)
    with pytest.raises(Rejected, match="too many syncs are running"):
        await syncing.open(Filter(kinds=frozenset([1])), NOBODY)
    for session in (*kept, alone):
        assert ids_in(session) == ids_of(NOTES)
    syncing.forget_all()
    both = [await syncing.open(Filter(kinds=frozenset([1])), NOBODY) for _ in range(2)]
    assert [ids_in(session) for session in both] == 2 * [ids_of(NOTES)]


async def test_no_set_is_larger_than_all_together_may_be() -> None:
    store = SyncedStore()
    await store.save_many(NOTES)
    syncing = SyncSets(store, SyncOptions(max_events=6, max_events_of_all=5), turns_of(10.0))
    for filter_ in (ALL, Filter(kinds=frozenset([1]))):
        with pytest.raises(SetTooLarge, match="more than 5 events"):
            await syncing.open(filter_, NOBODY)
    assert syncing.statistics().held == 0


@pytest.mark.parametrize(
    ("one", "reader"),
    [
        (Filter(kinds=frozenset([1])), NOBODY),
        (Filter(limit=1_000), NOBODY),
        (ALL, Reader(frozenset([ALICE.pubkey]))),
    ],
    ids=["a kind", "a limit", "somebody who has authenticated"],
)
async def test_other_sets_are_read_each_time_and_held_by_their_sessions(one: Filter, reader: Reader) -> None:
    store = SyncedStore()
    syncing = await syncing_of(store, *NOTES)
    sessions = [await syncing.open(one, reader) for _ in range(2)]
    assert store.calls["records"] == 2
    assert syncing.statistics() == SyncStatistics(sessions=2, sets_read=2, kept=0, held=12)
    for session in sessions:
        assert ids_in(session) == ids_of(NOTES)
    assert syncing.statistics() == SyncStatistics(sessions=0, sets_read=2, kept=0, held=0)


@pytest.mark.parametrize(
    "one", [Filter(limit=0), Filter(ids=frozenset()), Filter(kinds=frozenset([1]), since=2, until=1)]
)
async def test_for_a_filter_that_can_match_nothing_the_store_is_not_asked(one: Filter) -> None:
    store = SyncedStore()
    syncing = await syncing_of(store, *NOTES)
    assert await found(syncing, one) == set()
    assert (store.calls["records"], syncing.statistics().sets_read) == (0, 0)


async def test_private_events_are_neither_read_nor_followed_into_it() -> None:
    store = MemoryStore()
    syncing = await syncing_of(store, *NOTES, MESSAGE)
    assert await found(syncing) == ids_of(NOTES)
    more = [BOB.event("psst", kind=4, tags=[["p", ALICE.pubkey]]), BOB.event("hello")]
    await store.save_many(more)
    assert await found(syncing) == ids_of([*NOTES, more[1]])
    assert syncing.statistics().sets_read == 1


async def test_which_kinds_are_private_is_what_the_relay_says() -> None:
    store = MemoryStore()
    nobody = Reader(private_kinds=frozenset([1]))
    await store.save_many([*NOTES, MESSAGE])
    syncing = SyncSets(store, SyncOptions(), turns_of(10.0), nobody)
    assert await found(syncing, reader=nobody) == {MESSAGE.id}
    like, note = ALICE.event(kind=7), ALICE.event()
    await store.save_many([like, note])
    assert await found(syncing, reader=nobody) == ids_of([MESSAGE, like])


async def _save(store: Store) -> set[str]:
    event = BOB.event("came meanwhile", created_at=NOW + 100)
    await store.save_many([event])
    return ids_of([*NOTES, event])


async def _save_old(store: Store) -> set[str]:
    event = BOB.event("came meanwhile", created_at=NOW - 100)
    await store.save_many([event])
    return ids_of([*NOTES, event])


async def _remove(store: Store) -> set[str]:
    await store.remove([Filter(ids=frozenset(ids_of(NOTES[2:4])))])
    return ids_of(NOTES[:2] + NOTES[4:])


async def _remove_and_save(store: Store) -> set[str]:
    await store.remove([Filter()])
    await store.save_many([NOTES[1], NOTES[5]])
    return ids_of([NOTES[1], NOTES[5]])


async def _come_and_go(store: Store) -> set[str]:
    event = ALICE.event("short")
    await store.save_many([event])
    request = ALICE.event(kind=5, tags=[["e", event.id]])
    await store.save_many([request])
    return ids_of([*NOTES, request])


@pytest.mark.parametrize("happens", [_save, _save_old, _remove, _remove_and_save, _come_and_go])
@pytest.mark.parametrize("pages", [0, 1, 2])
async def test_what_changes_while_it_is_read_is_in_it(
    happens: Callable[[Store], Awaitable[set[str]]], pages: int
) -> None:
    """At the first of three pages, or at a later one."""
    store = SyncedStore(page_events=2)
    syncing = await syncing_of(store, *NOTES)
    sessions: list[Sync] = []

    async def open_() -> None:
        sessions.append(await syncing.open(ALL, NOBODY))

    async with trio.open_nursery() as nursery:
        store.block("record page")
        nursery.start_soon(open_)
        for _ in range(pages):
            await wait_all_tasks_blocked()
            store.step("record page")
        await wait_all_tasks_blocked()
        assert store.completed["record page"] == pages
        expected = await happens(store)
        store.release("record page")
    assert ids_in(sessions[0]) == expected
    assert await found(syncing) == expected
    assert syncing.statistics().sets_read == 1


async def test_who_asks_while_it_is_read_waits_for_the_same_set() -> None:
    store = SyncedStore()
    syncing = await syncing_of(store, *NOTES)
    sessions: list[Sync] = []

    async def open_(filter_: Filter) -> None:
        sessions.append(await syncing.open(filter_, NOBODY))

    async with trio.open_nursery() as nursery:
        store.block("records")
        for since in (None, NOW + 2):
            nursery.start_soon(open_, Filter(since=since))
        await wait_all_tasks_blocked()
        store.release("records")
    assert sorted(len(ids_in(session)) for session in sessions) == [4, 6]
    assert store.calls["records"] == 1


async def test_a_cancelled_reading_leaves_nothing_and_the_next_begins_anew() -> None:
    store = SyncedStore(page_events=2)
    syncing = await syncing_of(store, *NOTES)
    async with trio.open_nursery() as nursery:
        store.block("record page")
        nursery.start_soon(syncing.open, ALL, NOBODY)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert store.cancelled["record page"] == 1
    assert syncing.statistics() == SyncStatistics(sessions=0, sets_read=1, kept=0, held=0)
    store.release("record page")
    await store.remove([Filter(ids=frozenset([NOTES[0].id]))])
    assert await found(syncing) == ids_of(NOTES[1:])
    assert syncing.statistics().sets_read == 2


async def test_a_session_keeps_its_set_whatever_becomes_of_the_one_that_is_kept() -> None:
    store = MemoryStore()
    syncing = await syncing_of(store, *NOTES)
    session = await syncing.open(ALL, NOBODY)
    await store.remove([Filter()])
    assert await found(syncing) == set()
    assert ids_in(session) == ids_of(NOTES)


async def test_it_goes_when_nobody_has_asked_for_it_for_ten_minutes(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    syncing = await syncing_of(store, *NOTES)
    syncing.forget_idle()
    assert await found(syncing) == ids_of(NOTES)
    for _ in range(2):
        await trio.sleep(KEPT_SECONDS)
        syncing.forget_idle()
        assert await found(syncing) == ids_of(NOTES)
    assert syncing.statistics().sets_read == 1
    await trio.sleep(KEPT_SECONDS + 1)
    assert syncing.statistics().kept == 6
    syncing.forget_idle()
    assert syncing.statistics().kept == 0
    await store.save_many([BOB.event()])
    assert await found(syncing) == ids_of([*NOTES, BOB.event()])
    assert syncing.statistics().sets_read == 2


@pytest.mark.usefixtures("inline_threads")
async def test_a_relay_lets_it_go_by_itself(autojump_clock: MockClock) -> None:
    store = MemoryStore(lambda: NOW)
    await store.save_many(NOTES)
    async with open_desk(store) as (relay, _):
        (await relay.open_sync(ALL, Identity())).close()
        await trio.sleep(KEPT_SECONDS)
        assert relay.statistics().syncing.kept == 6
        await trio.sleep(120)
        assert relay.statistics().syncing.kept == 0


async def test_too_many_to_be_kept_are_read_in_part_for_ten_minutes(autojump_clock: MockClock) -> None:
    """Then it is tried again: some may have gone."""
    store = SyncedStore()
    syncing = await syncing_of(store, *NOTES, most=5)
    some = Filter(since=NOW + 2)
    for reads in (2, 3):
        assert await found(syncing, some) == ids_of(NOTES[2:])
        assert (store.calls["records"], syncing.statistics().kept) == (reads, 0)
    with pytest.raises(SetTooLarge) as caught:
        await syncing.open(ALL, NOBODY)
    assert (caught.value.most, syncing.statistics().sessions) == (5, 0)
    await store.remove([Filter(ids=frozenset([NOTES[0].id]))])
    await trio.sleep(KEPT_SECONDS)
    assert await found(syncing) == ids_of(NOTES[1:])
    assert syncing.statistics().kept == 0
    await trio.sleep(1)
    assert await found(syncing) == ids_of(NOTES[1:])
    assert syncing.statistics().kept == 5


class Shared(SyncedStore):
    """A store that others change too."""

    is_shared = True


async def test_what_others_change_too_is_read_each_time_and_held() -> None:
    store = Shared()
    syncing = await syncing_of(store, *NOTES)
    session = await syncing.open(ALL, NOBODY)
    assert syncing.statistics() == SyncStatistics(sessions=1, sets_read=1, kept=0, held=6)
    await store.remove([Filter(ids=frozenset([NOTES[0].id]))])
    assert await found(syncing) == ids_of(NOTES[1:])
    assert ids_in(session) == ids_of(NOTES)
    assert syncing.statistics() == SyncStatistics(sessions=0, sets_read=2, kept=0, held=0)
