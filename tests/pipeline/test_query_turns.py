"""Turns of queries over the whole relay: by address and by key, waiting is not working, and no turn is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, NOW
from tests.support.ledger import Ledger
from tests.support.pipeline import ids, open_desk, subscription, waiting
from tests.support.working_store import WorkingStore, of_kind
from trio_relay import Filter, Relay
from trio_relay.nostr.errors import Rejected
from trio_relay.pipeline import fair_queue, query_turns
from trio_relay.policy.identity import Identity

HEAVY, LIGHT, LONGEST = 1, 7, 3
"""Kinds: what asks for them takes three seconds, ten milliseconds, and longer than it may."""
SECONDS = {HEAVY: 3.0, LIGHT: 0.01, LONGEST: 11.0}


def client(number: int, *, has_one_address: bool) -> Identity:
    return Identity(origin="192.0.2.1" if has_one_address else f"198.51.{number // 200}.{number % 200}")


def bystander() -> Identity:
    return Identity(origin="203.0.113.9")


@asynccontextmanager
async def crowd(relay: Relay, clients: int, *, has_one_address: bool) -> AsyncIterator[None]:
    """So many clients count what takes long meanwhile, two at a time each, again and again."""

    async def count_for_ever(who: Identity) -> None:
        while True:
            await relay.count([of_kind(HEAVY)], who)

    async with trio.open_nursery() as nursery:
        for number in range(clients):
            who = client(number, has_one_address=has_one_address)
            nursery.start_soon(count_for_ever, who)
            nursery.start_soon(count_for_ever, who)
        yield
        nursery.cancel_scope.cancel()


async def seconds_of(relay: Relay, who: Identity, kind: int) -> float:
    began = trio.current_time()
    await relay.count([of_kind(kind)], who)
    return trio.current_time() - began


@pytest.mark.slow
@pytest.mark.parametrize("has_one_address", [True, False], ids=["one address", "many addresses"])
@pytest.mark.parametrize("clients", [12, 200])
async def test_a_bystander_waits_for_one_short_step_at_most(
    clients: int, has_one_address: bool, autojump_clock: MockClock
) -> None:
    store = WorkingStore(SECONDS)
    async with open_desk(store, query_wait_seconds=10_000) as (relay, _):
        async with crowd(relay, clients, has_one_address=has_one_address):
            await trio.sleep(60)
            who = bystander()
            for _ in range(20):
                assert await seconds_of(relay, who, LIGHT) <= fair_queue.LONG_QUANTUM + SECONDS[LIGHT] + 1e-6
                await trio.sleep(5)
        assert store.done[HEAVY] >= 2 * 160 / 3 - 4  # they have two of four readers at least, all the time
        assert relay.statistics().turns.running == relay.statistics().turns.waiting == 0
    assert store.most_at_work == 4 if not has_one_address else 3


@pytest.mark.slow
async def test_two_hundred_newcomers_at_once_delay_a_bystander_by_a_quantum_each(autojump_clock: MockClock) -> None:
    """Nobody knows yet that theirs is long; three of four readers are at work for them, the last one changes hands."""
    store = WorkingStore(SECONDS)
    async with open_desk(store, query_wait_seconds=10_000) as (relay, _), crowd(relay, 200, has_one_address=False):
        await wait_all_tasks_blocked()
        assert await seconds_of(relay, bystander(), LIGHT) <= 200 * fair_queue.QUANTUM + SECONDS[LIGHT]


async def test_answers_take_turns_as_counts_do(autojump_clock: MockClock) -> None:
    store = WorkingStore(SECONDS)
    await store.save_many([ALICE.event("seen", kind=LIGHT)])
    async with open_desk(store) as (relay, _), crowd(relay, 12, has_one_address=True):
        await trio.sleep(10)
        target = subscription(of_kind(LIGHT))
        began = trio.current_time()
        assert await relay.answer(target, bystander()).send() is True
        assert trio.current_time() - began == pytest.approx(SECONDS[LIGHT])
        assert ids(await waiting(target.recipient))[-1] == "EOSE"


async def test_sets_of_syncs_take_turns_too(autojump_clock: MockClock) -> None:
    async with open_desk(WorkingStore(SECONDS)) as (relay, _), crowd(relay, 12, has_one_address=True):
        await trio.sleep(10)
        began = trio.current_time()
        (await relay.open_sync(of_kind(LIGHT, None), bystander())).close()
        assert trio.current_time() - began == pytest.approx(SECONDS[LIGHT])
        heavy = client(0, has_one_address=True)
        with trio.move_on_after(1) as patience:
            await relay.open_sync(of_kind(LIGHT, None), heavy)
        assert patience.cancelled_caught  # its address has two steps at work


async def test_the_first_to_ask_for_the_set_of_all_there_is_does_not_make_others_wait_with_it(
    autojump_clock: MockClock,
) -> None:
    """It is charged to the set itself: the next one waits for the set alone, not for the turn of a heavy one."""
    store = WorkingStore(SECONDS)
    store.is_shared = False  # else no set would be kept
    async with open_desk(store) as (relay, _), crowd(relay, 12, has_one_address=True):
        await trio.sleep(10)
        began = trio.current_time()
        (await relay.open_sync(Filter(), client(0, has_one_address=True))).close()
        assert trio.current_time() == began


async def test_one_key_gains_nothing_by_many_addresses(autojump_clock: MockClock) -> None:
    store = WorkingStore(SECONDS)
    async with open_desk(store) as (relay, _), trio.open_nursery() as nursery:
        for number in range(12):
            who = client(number, has_one_address=False)
            who.keys.add(ALICE.pubkey)
            nursery.start_soon(partial(relay.count, [of_kind(HEAVY)], who))
        await wait_all_tasks_blocked()
        assert relay.statistics().turns.running == 2
        nursery.cancel_scope.cancel()


async def test_clients_without_an_address_have_turns_by_connection(autojump_clock: MockClock) -> None:
    async with open_desk(WorkingStore(SECONDS)) as (relay, _), trio.open_nursery() as nursery:
        for who in (Identity(), Identity()):
            for _ in range(3):
                nursery.start_soon(partial(relay.count, [of_kind(HEAVY)], who))
        await wait_all_tasks_blocked()
        assert (relay.statistics().turns.running, relay.statistics().turns.waiting) == (4, 2)
        nursery.cancel_scope.cancel()


async def test_waiting_is_not_counted_against_the_deadline(autojump_clock: MockClock) -> None:
    """Twelve counts of three seconds each, two at a time: the last ones wait for longer than a query may take."""
    async with open_desk(WorkingStore(SECONDS), query_seconds=4) as (relay, _):
        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(partial(relay.count, [of_kind(HEAVY)], client(0, has_one_address=True)))
        turns = relay.statistics().turns
        assert relay.statistics().queries.counts == {"answered": 12}
        assert turns.waited.count == 10
        assert turns.waited.total == pytest.approx(2 * (3 + 6 + 9 + 12 + 15))


async def test_work_is_still_counted_against_the_deadline(autojump_clock: MockClock) -> None:
    async with open_desk(WorkingStore(SECONDS)) as (relay, _):
        with pytest.raises(Rejected, match=r"^error: the query took more than 10 seconds \(query_seconds\)$"):
            await relay.count([of_kind(LONGEST)], bystander())
        assert relay.statistics().turns.running == 0


BUSY = "error: the relay is overloaded: no turn came within 5 seconds (query_wait_seconds); ask again later"


async def test_who_gets_no_turn_is_told_that_the_relay_is_overloaded(autojump_clock: MockClock) -> None:
    async with open_desk(WorkingStore({HEAVY: 9}, readers=1), query_wait_seconds=5) as (relay, _):
        who, target = bystander(), subscription(of_kind(LIGHT))

        async def answer() -> None:
            assert await relay.answer(target, who).send() is False

        async def count() -> None:
            with pytest.raises(Rejected) as refused:
                await relay.count([of_kind(LIGHT)], who)
            assert str(refused.value) == BUSY

        async def sync() -> None:
            with pytest.raises(Rejected) as refused:
                await relay.open_sync(of_kind(LIGHT, None), who)
            assert str(refused.value) == BUSY

        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.count, [of_kind(HEAVY)])
            await wait_all_tasks_blocked()
            for ask in (answer, count, sync):
                nursery.start_soon(ask)
        assert await waiting(target.recipient) == [["CLOSED", "sub", BUSY]]
        statistics = relay.statistics()
        assert statistics.queries.outcomes == {"overloaded": 1}
        assert statistics.queries.counts == {"overloaded": 1, "answered": 1}
        assert statistics.turns.waiting == 0
        assert statistics.turns.waited.total == pytest.approx(15)


async def test_between_its_pages_a_long_answer_lets_others_in(autojump_clock: MockClock) -> None:
    store = WorkingStore(SECONDS, readers=1, page_events=1)
    await store.save_many([ALICE.event(str(age), created_at=NOW - age) for age in range(5)])
    async with open_desk(store) as (relay, _), trio.open_nursery() as nursery:
        target = subscription(of_kind(HEAVY))
        nursery.start_soon(relay.answer(target, client(0, has_one_address=True)).send)
        await trio.sleep(1)
        assert await seconds_of(relay, bystander(), LIGHT) == pytest.approx(2 + SECONDS[LIGHT])
        assert relay.statistics().turns.running == 1  # the next page


async def test_a_step_that_had_to_yield_is_begun_anew_and_answers_once(autojump_clock: MockClock) -> None:
    store = WorkingStore(SECONDS, readers=2)
    notes = [ALICE.event(str(age), created_at=NOW - age) for age in range(3)]
    await store.save_many(notes)
    async with open_desk(store) as (relay, _):
        targets = [subscription(of_kind(HEAVY)) for _ in range(2)]
        async with trio.open_nursery() as nursery:
            for number, target in enumerate(targets):
                nursery.start_soon(relay.answer(target, client(number, has_one_address=False)).send)
            await trio.sleep(1)
            assert await seconds_of(relay, bystander(), LIGHT) == pytest.approx(SECONDS[LIGHT])
        assert [ids(await waiting(target.recipient)) for target in targets] == [
            [*(one.id for one in notes), "EOSE"]
        ] * 2
        assert (store.begun[HEAVY], store.done[HEAVY], relay.statistics().turns.yielded) == (3, 2, 1)


async def test_a_client_that_stops_waiting_leaves_its_place_to_others(autojump_clock: MockClock) -> None:
    turns = query_turns.QueryTurns(1, 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns.run, bystander(), partial(trio.sleep, 1))
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.5):
            await turns.run(bystander(), partial(trio.sleep, 1))
        assert (turns.statistics().running, turns.statistics().waiting) == (1, 0)
    assert turns.statistics().running == 0
    await turns.run(bystander(), trio.lowlevel.checkpoint)


async def test_a_turn_that_comes_as_its_client_leaves_goes_to_the_next(autojump_clock: MockClock) -> None:
    turns = query_turns.QueryTurns(1, 10)
    done: list[int] = []

    async def work(number: int) -> None:
        await trio.sleep(1)
        done.append(number)

    async with trio.open_nursery() as nursery:
        leaves = trio.CancelScope()

        async def leave_as_it_comes() -> None:
            with leaves:
                await turns.run(bystander(), partial(work, 2))

        async def go() -> None:
            await turns.run(None, partial(work, 1))
            leaves.cancel()  # in the same breath in which the next turn is given

        nursery.start_soon(go)
        await wait_all_tasks_blocked()
        nursery.start_soon(leave_as_it_comes)
        await wait_all_tasks_blocked()
        nursery.start_soon(turns.run, bystander(), partial(work, 3))
    assert done == [1, 3]
    assert (turns.statistics().running, turns.statistics().waiting) == (0, 0)


VISITS = st.tuples(
    st.integers(0, 6),  # of which address
    st.sampled_from([None, "key", "other key"]),
    st.sampled_from([0.0, 0.01, 0.1, 1.0, 3.0]),  # when it comes
    st.sampled_from([0.0, 0.01, 0.1, 2.0, 12.0]),  # how long it works
    st.sampled_from([None, 0.0, 0.01, 1.0, 3.0]),  # after what time it is cancelled
    st.booleans(),
)


@given(places=st.integers(1, 5), visits=st.lists(VISITS, max_size=25))
def test_every_step_is_served_or_refused_or_cancelled_and_no_turn_is_lost(
    places: int, visits: list[tuple[int, str | None, float, float, float | None, bool]]
) -> None:
    async def main() -> None:
        turns = query_turns.QueryTurns(places, seconds=10, wait_seconds=20)
        ends: list[str] = []
        at_work = 0

        async def work(seconds: float) -> str:
            nonlocal at_work
            at_work += 1
            assert at_work <= places
            try:
                await trio.sleep(seconds)
            finally:
                at_work -= 1
            return "served"

        async def visit(
            address: int, key: str | None, comes: float, seconds: float, leaves: float | None, may_yield: bool
        ) -> None:
            who = Identity(origin=f"192.0.2.{address}", keys={key} if key else set())
            await trio.sleep(comes)
            with trio.move_on_after(float("inf") if leaves is None else leaves) as scope:
                try:
                    ends.append(await turns.run(who, partial(work, seconds), may_yield=may_yield))
                except trio.TooSlowError:
                    assert seconds > 10
                    ends.append("too slow")
                except query_turns.NoTurn:
                    ends.append("overloaded")
            if scope.cancelled_caught:
                ends.append("cancelled")

        async with trio.open_nursery() as nursery:
            for one in visits:
                nursery.start_soon(visit, *one)
        assert len(ends) == len(visits)
        statistics = turns.statistics()
        assert (at_work, statistics.running, statistics.waiting) == (0, 0, 0)
        async with trio.open_nursery() as nursery:  # all places are there
            for _ in range(places):
                nursery.start_soon(turns.run, None, partial(work, 1))
            await wait_all_tasks_blocked()
            assert turns.statistics().running == places

    trio.run(main, clock=MockClock(autojump_threshold=0))


class Clock:
    """Stands where the test has put it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def looped(turns: query_turns.QueryTurns, clock: Clock, who: Identity, seconds: float) -> bool:
    """Answer something on the loop, if that may be."""
    began = turns.begin_on_loop(who)
    if began is None:
        return False
    clock.now += seconds
    turns.end_on_loop(who, began)
    return True


async def test_who_takes_much_of_the_loop_is_answered_by_turns_while_others_are_there(
    autojump_clock: MockClock,
) -> None:
    clock, greedy, other = Clock(), Identity(origin="192.0.2.1"), bystander()
    turns = query_turns.QueryTurns(4, 10, clock=clock)
    given = 0
    for number in range(10_000):
        given += looped(turns, clock, greedy, 0.002)
        if number % 100 == 0:
            assert looped(turns, clock, other, 0.0001)
    assert 500 <= given <= 510  # a second of two milliseconds each
    await trio.sleep(10)  # it has faded
    assert looped(turns, clock, greedy, 0.002)


async def test_who_is_alone_has_all_of_the_loop() -> None:
    clock, alone = Clock(), Identity(origin="192.0.2.1")
    turns = query_turns.QueryTurns(4, 10, clock=clock)
    assert sum(looped(turns, clock, alone, 0.002) for _ in range(10_000)) >= 5_000
    clock.now += 11  # the first came after nobody
    assert all(looped(turns, clock, alone, 0.002) for _ in range(10_000))


async def test_small_answers_on_the_loop_cost_nothing() -> None:
    clock, busy, other = Clock(), Identity(origin="192.0.2.1"), bystander()
    turns = query_turns.QueryTurns(4, 10, clock=clock)
    assert all(looped(turns, clock, who, 0.0004) for _ in range(10_000) for who in (busy, other))


async def test_what_was_answered_on_the_loop_counts_for_turns(autojump_clock: MockClock) -> None:
    clock, busy = Clock(), Identity(origin="192.0.2.1")
    turns = query_turns.QueryTurns(1, 10, clock=clock)
    assert looped(turns, clock, busy, 0.002)
    done: list[str] = []

    async def work(name: str) -> None:
        await trio.sleep(1)
        done.append(name)

    async with trio.open_nursery() as nursery:
        for who, name in ((None, "first"), (busy, "busy"), (bystander(), "bystander")):
            nursery.start_soon(turns.run, who, partial(work, name))
            await wait_all_tasks_blocked()
    assert done == ["first", "bystander", "busy"]


async def test_what_each_step_takes_is_charged_to_who_asks_and_waiting_is_not(autojump_clock: MockClock) -> None:
    one, other = (Identity(origin=f"192.0.2.{number}", account=Ledger()) for number in (1, 2))
    turns = query_turns.QueryTurns(1, 10.0)
    async with trio.open_nursery() as nursery:
        for who in (one, other):
            nursery.start_soon(turns.run, who, partial(trio.sleep, 2.0))
    with pytest.raises(trio.TooSlowError):
        await turns.run(one, partial(trio.sleep, 11.0))
    await turns.run(None, partial(trio.sleep, 1.0))
    assert [charged(who) for who in (one, other)] == [[2.0, 10.0], [2.0]]


def charged(who: Identity) -> list[float]:
    assert isinstance(who.account, Ledger)
    return who.account.charged
