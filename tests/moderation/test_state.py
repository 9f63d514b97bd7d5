"""Every change of the operators' lists has one owner: memory and store agree, and the later decision wins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, NOW
from trio_relay import MemoryStore, PolicyOptions, Relay, Rules, StoreError, open_relay
from trio_relay.moderation.state import ModerationState
from trio_relay.policy.lists import Change, ListEntry, ListName, Lists

pytestmark = pytest.mark.usefixtures("inline_threads")

BANNED = f"banned-pubkeys/{ALICE.pubkey}"


class ConflictingStore(MemoryStore):
    """A store of several relays, in which to forget a ban conflicts: it is tried again, and lands later."""

    is_shared = True

    async def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
        if changes == {BANNED: None}:
            await trio.sleep(3)
        await super().put_metadata(changes)


@asynccontextmanager
async def open_house(store: MemoryStore) -> AsyncIterator[Relay]:
    rules = Rules(options=PolicyOptions(sweep_seconds=60))
    async with open_relay(store, rules=rules, clock=lambda: NOW + trio.current_time()) as relay:
        yield relay


def ban(until: int | None = None) -> Change:
    return Change(ListName.BANNED_PUBKEYS, ALICE.pubkey, ListEntry(until=until))


async def test_a_key_that_is_banned_anew_while_its_old_ban_is_swept_away_stays_banned(
    autojump_clock: MockClock,
) -> None:
    store = ConflictingStore()
    async with open_house(store) as relay:
        await relay.moderation.state.amend([ban(until=NOW + 50)])
        await trio.sleep(61)  # the sweep forgets what has expired, and is still writing
        await relay.moderation.state.amend([ban()])
        await trio.sleep(3)
        assert BANNED in await store.get_metadata()
        assert relay.rules.is_banned(ALICE.pubkey, NOW + 64)
        await trio.sleep(60)  # the next look at the store
        assert relay.rules.is_banned(ALICE.pubkey, NOW + 124)
    assert BANNED in await store.get_metadata()


class SlowStore(MemoryStore):
    """Writes when it is let, fails where a test says so, and notes what it was asked to write."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = trio.Semaphore(0)
        self.failing = 0
        self.written: list[set[str]] = []

    async def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
        self.written.append(set(changes))
        await self.turns.acquire()
        if self.failing:
            self.failing -= 1
            raise StoreError("no space left")
        await super().put_metadata(changes)


def state_of(store: MemoryStore) -> ModerationState:
    return ModerationState(store, Rules(), lambda: NOW)


def kind(number: int, reason: str = "") -> Change:
    return Change(ListName.DISALLOWED_KINDS, str(number), ListEntry(reason))


def banned(state: ModerationState) -> dict[str, str]:
    """The kinds that are disallowed in memory, and why."""
    entries = state.rules.lists.entries(ListName.DISALLOWED_KINDS, NOW)
    return {item: entry.reason for item, entry in entries.items()}


async def stored(store: MemoryStore) -> set[str]:
    return {name.partition("/")[2] for name in await store.get_metadata()}


async def outcome_of(state: ModerationState, outcomes: dict[str, str], name: str, *changes: Change) -> None:
    try:
        await state.amend(changes)
        outcomes[name] = "stored"
    except StoreError as error:
        outcomes[name] = str(error)


async def test_a_change_counts_before_anything_waits_and_one_write_takes_all_that_wait_along() -> None:
    store, outcomes = SlowStore(), dict[str, str]()
    state = state_of(store)
    async with trio.open_nursery() as nursery:
        for number in (1, 2, 3):
            nursery.start_soon(outcome_of, state, outcomes, str(number), kind(number))
            await wait_all_tasks_blocked()
        assert banned(state).keys() == {"1", "2", "3"}
        assert store.written == [{"disallowed-kinds/1"}]
        for _ in range(2):
            store.turns.release()
    assert store.written[1:] == [{"disallowed-kinds/2", "disallowed-kinds/3"}]
    assert outcomes == dict.fromkeys("123", "stored")
    assert await stored(store) == {"1", "2", "3"}


async def test_what_could_not_be_stored_is_undone_and_its_follower_is_told() -> None:
    store, told = SlowStore(), list[Change]()
    store.failing = 1
    store.turns.release()
    state = state_of(store)
    state.subscribe(told.extend)
    with pytest.raises(StoreError, match="no space left"):
        await state.amend([kind(1), kind(2)])
    assert (banned(state), await stored(store)) == ({}, set())
    gone = [Change(ListName.DISALLOWED_KINDS, item) for item in ("2", "1")]
    assert told == [kind(1), kind(2), *gone]


async def test_a_failure_undoes_nothing_that_was_decided_later() -> None:
    store, outcomes = SlowStore(), dict[str, str]()
    store.failing = 1
    state = state_of(store)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome_of, state, outcomes, "first", kind(1, "first"), kind(2, "first"))
        await wait_all_tasks_blocked()
        nursery.start_soon(outcome_of, state, outcomes, "later", kind(1, "later"))
        await wait_all_tasks_blocked()
        store.turns.release()
        await wait_all_tasks_blocked()
        assert (outcomes, banned(state)) == ({"first": "no space left"}, {"1": "later"})
        store.turns.release()
    assert outcomes == {"first": "no space left", "later": "stored"}
    assert await stored(store) == {"1"}


async def test_where_both_fail_what_stood_before_stands_again() -> None:
    store, outcomes = SlowStore(), dict[str, str]()
    state = state_of(store)
    store.turns.release()
    await state.amend([kind(1, "before")])
    store.failing = 2
    async with trio.open_nursery() as nursery:
        for name in ("first", "later"):
            nursery.start_soon(outcome_of, state, outcomes, name, kind(1, name))
            await wait_all_tasks_blocked()
        for _ in range(2):
            store.turns.release()
    assert outcomes == dict.fromkeys(("first", "later"), "no space left")
    assert banned(state) == {"1": "before"}


async def test_a_store_that_hangs_is_waited_for_in_bounded_time(autojump_clock: MockClock) -> None:
    store, outcomes = SlowStore(), dict[str, str]()
    state = state_of(store)
    async with trio.open_nursery() as nursery:
        for number in (1, 2, 3):
            nursery.start_soon(outcome_of, state, outcomes, str(number), kind(number))
    assert outcomes == dict.fromkeys("123", "the relay's store takes too long")
    assert banned(state) == {}
    assert trio.current_time() <= 25


async def test_who_waits_and_who_writes_have_refused_when_their_time_is_up(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_relay.moderation.state.WAIT_SECONDS", 1)
    store, outcomes = SlowStore(), dict[str, str]()
    state = state_of(store)
    async with trio.open_nursery() as nursery:
        for number in (1, 2):
            nursery.start_soon(outcome_of, state, outcomes, str(number), kind(number))
            await wait_all_tasks_blocked()
    assert outcomes == dict.fromkeys("12", "the relay's store takes too long")
    assert (banned(state), trio.current_time()) == ({}, 1)
    store.turns.release()
    await state.amend([kind(3)])
    assert banned(state).keys() == await stored(store) == {"3"}


async def test_a_caller_who_goes_away_leaves_memory_and_store_equal(autojump_clock: MockClock) -> None:
    store = SlowStore()
    state = state_of(store)

    async def impatient() -> None:
        with trio.move_on_after(1):
            await state.amend([kind(1)])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(impatient)
        await trio.sleep(2)
        store.turns.release()
    assert banned(state).keys() == await stored(store) == {"1"}


@pytest.mark.parametrize("fails", [False, True])
async def test_a_deferred_change_is_stored_later_and_never_over_a_later_amendment(fails: bool) -> None:
    store, outcomes = SlowStore(), dict[str, str]()
    state = state_of(store)
    state.defer([kind(1, "deferred"), kind(2, "deferred")])
    assert (banned(state), store.written) == ({"1": "deferred", "2": "deferred"}, [])
    store.failing = int(fails)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome_of, state, outcomes, "later", kind(1, "later"))
        await wait_all_tasks_blocked()
        nursery.start_soon(state.store_deferred)
        for _ in range(3):
            store.turns.release()
    assert await stored(store) == {"1", "2"}
    state.rules.load(await store.get_metadata())
    assert banned(state) == {"1": "deferred" if fails else "later", "2": "deferred"}


async def test_nothing_is_learned_while_it_is_open_what_is_stored() -> None:
    """What this relay has just decided would else be taken for what another has taken back."""
    store = SlowStore()
    state = state_of(store)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(state.amend, [kind(1)])
        await wait_all_tasks_blocked()
        assert await state.learn() is None
        assert banned(state).keys() == {"1"}
        store.turns.release()
    store.turns.release()
    await store.put_metadata({"disallowed-kinds/2": b"{}"})
    assert await state.learn() == [Change(ListName.DISALLOWED_KINDS, "2", ListEntry())]
    assert banned(state).keys() == {"1", "2"}


def contents(lists: Lists) -> dict[str, dict[str, ListEntry]]:
    return {name: lists.entries(name, 0) for name in ListName if lists.holds_any(name)}


async def lists_of(store: MemoryStore) -> dict[str, dict[str, ListEntry]]:
    lists = Lists()
    lists.load(await store.get_metadata())
    return contents(lists)


class RestlessStore(MemoryStore):
    """A store whose writes take any time, and of which many fail."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.random = random

    async def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
        await trio.sleep(self.random.uniform(0, 3))
        if self.random.random() < 0.3:
            raise StoreError("no luck")
        await super().put_metadata(changes)


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_is_decided_at_the_same_time_memory_has_what_the_store_has(
    seed: int, autojump_clock: MockClock
) -> None:
    random = Random(seed)
    store = RestlessStore(random)
    state = ModerationState(store, Rules(), lambda: NOW + trio.current_time())
    failed = 0

    async def decide(changes: Sequence[Change]) -> None:
        nonlocal failed
        try:
            await state.amend(changes)
        except StoreError:
            failed += 1

    def some_change() -> Change:
        name = random.choice([ListName.BANNED_PUBKEYS, ListName.MEMBERS, ListName.REPORTED_EVENTS])
        until = random.choice([None, NOW + random.randrange(60)])
        return Change(name, random.choice("abc"), random.choice([None, ListEntry(str(random.random()), until)]))

    async with trio.open_nursery() as nursery:
        for _ in range(60):
            nursery.start_soon(decide, [some_change() for _ in range(random.randrange(1, 4))])
            await trio.sleep(random.uniform(0, 1))
            if random.random() < 0.1:
                state.defer([Change(ListName.REPORTED_EVENTS, random.choice("abc"), ListEntry(str(random.random())))])
    while True:
        try:
            await state.store_deferred()
            break
        except StoreError:
            continue
    assert failed
    assert await lists_of(store) == contents(state.rules.lists)


async def test_what_is_put_on_the_queue_and_taken_off_while_the_store_fails_is_forgotten(
    autojump_clock: MockClock,
) -> None:
    store = SlowStore()
    store.turns.release()
    state = ModerationState(store, Rules(), lambda: NOW)
    state.defer([Change(ListName.REPORTED_EVENTS, item, ListEntry()) for item in "abc"])
    state.defer([Change(ListName.REPORTED_EVENTS, item) for item in "abd"])
    await state.store_deferred()
    await state.store_deferred()
    assert store.written == [{"reported-events/c"}]
