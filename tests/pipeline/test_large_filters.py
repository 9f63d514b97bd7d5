"""Large filters: they enter the index and leave it in turns, and all that may come meanwhile is in order."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.support.keys import ALICE
from tests.support.obedient_store import ObedientStore
from tests.support.pipeline import ids, open_desk, subscription, waiting
from trio_relay import Filter, Limits, MemoryStore, Relay, Subscription, turns

PEOPLE = frozenset(f"{number:064x}" for number in range(4_999)) | {ALICE.pubkey}
NOTE, LATER = ALICE.event("note"), ALICE.event("later")
FOLLOWS = Filter(authors=PEOPLE, limit=10)
CUTS = [0, 1, 2, 5, 9, 12]
"""After how many turns something comes in between; all in all there are ten pieces each way."""

pytestmark = pytest.mark.usefixtures("short_turns", "autojump_clock")


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece of work is a turn."""
    monkeypatch.setattr(turns, "SECONDS", -1.0)


@pytest.fixture
async def store() -> ObedientStore:
    return ObedientStore()


def held(relay: Relay) -> tuple[int, int]:
    """Under how many keys filters stand, and what the relay counts for them."""
    statistics = relay.statistics().broadcaster
    return statistics.index_keys, statistics.filter_values


async def after_turns(number: int) -> None:
    for _ in range(number):
        await trio.lowlevel.checkpoint()


async def largest_step(relay: Relay, at_last: int) -> int:
    """How many keys at most came or went between two looks of somebody else, who looks in every turn."""
    numbers = [held(relay)[0]]
    with trio.fail_after(10):
        while numbers[-1] != at_last:
            await trio.lowlevel.checkpoint()
            numbers.append(held(relay)[0])
    return max(abs(after - before) for before, after in pairwise(numbers))


async def test_it_enters_and_leaves_with_turns_for_others() -> None:
    async with open_desk(MemoryStore()) as (relay, _):
        target = subscription(FOLLOWS)
        assert relay.subscribe(target) is None
        assert await largest_step(relay, 5_000) <= 1_000  # who of two tasks comes first is chance
        relay.unsubscribe(target)
        assert await largest_step(relay, 0) <= 1_000


async def test_what_it_holds_counts_until_the_last_of_it_has_left() -> None:
    async with open_desk(MemoryStore(), limits=Limits(max_filter_values_of_all=9_000)) as (relay, _):
        target = subscription(FOLLOWS)
        relay.subscribe(target)
        await wait_all_tasks_blocked()
        relay.unsubscribe(target)
        counted = set()
        while held(relay) != (0, 0):
            counted.add(held(relay)[1])
            assert relay.subscribe(subscription(FOLLOWS)) is not None
            await trio.lowlevel.checkpoint()
        assert counted == {5_005}
        assert relay.subscribe(subscription(FOLLOWS)) is None


@pytest.mark.parametrize("cut", CUTS)
async def test_what_is_saved_meanwhile_is_sent_once(cut: int, store: ObedientStore) -> None:
    """The store is asked once all of it is in the index; what is saved before that is found there, or comes live."""
    async with open_desk(store) as (relay, replies), trio.open_nursery() as nursery:
        target = subscription(FOLLOWS)
        relay.subscribe(target)
        answer = relay.answer(target)
        assert not answer.send_nowait()
        nursery.start_soon(answer.send)
        await after_turns(cut)
        asked_early = store.calls["query"] > 0
        assert not asked_early or held(relay)[0] == 5_000
        await relay.publish(replies.batch(NOTE))
        await wait_all_tasks_blocked()
        assert sorted(ids(await waiting(target.recipient))) == sorted([NOTE.id, "EOSE"])
        await relay.publish(replies.batch(LATER))
        await wait_all_tasks_blocked()
        assert ids(await waiting(target.recipient)) == [LATER.id]


@pytest.mark.parametrize("kind", [1, 20_001])
@pytest.mark.parametrize("cut", CUTS)
async def test_what_will_not_be_found_stored_comes_live_from_the_first_moment_on(cut: int, kind: int) -> None:
    """Of a filter that wants nothing stored, and what is never stored; whichever of its values is entered last."""
    event = ALICE.event("live", kind=kind)
    limit = 0 if kind == 1 else 10
    filters = [Filter(authors=some, limit=limit) for some in (PEOPLE - {ALICE.pubkey}, frozenset({ALICE.pubkey}))]
    async with open_desk(MemoryStore()) as (relay, replies), trio.open_nursery() as nursery:
        target = subscription(*filters)
        relay.subscribe(target)
        nursery.start_soon(relay.answer(target).send)
        await after_turns(cut)
        await relay.publish(replies.batch(event))
        await wait_all_tasks_blocked()
        assert sorted(ids(await waiting(target.recipient))) == sorted([event.id, "EOSE"])


@pytest.mark.parametrize("cut", CUTS)
async def test_it_may_end_on_its_way_and_nothing_is_left(cut: int) -> None:
    async with open_desk(MemoryStore()) as (relay, replies):
        target = subscription(FOLLOWS)
        relay.subscribe(target)
        await after_turns(cut)
        relay.unsubscribe(target)
        await relay.publish(replies.batch(NOTE))
        await wait_all_tasks_blocked()
        assert await waiting(target.recipient) == []
        assert held(relay) == (0, 0)
        assert relay.statistics().broadcaster.subscriptions == 0


@pytest.mark.parametrize("cut", CUTS)
async def test_another_may_take_its_place_while_it_comes_or_goes(cut: int) -> None:
    async with open_desk(MemoryStore()) as (relay, replies):
        old, new = subscription(FOLLOWS), subscription(FOLLOWS, Filter(ids=PEOPLE))
        relay.subscribe(old)
        await after_turns(cut)
        relay.unsubscribe(old)
        assert relay.subscribe(new) is None
        await wait_all_tasks_blocked()
        assert held(relay) == (5_000, 10_010)
        await relay.publish(replies.batch(NOTE))
        await wait_all_tasks_blocked()
        assert (ids(await waiting(old.recipient)), ids(await waiting(new.recipient))) == ([], [NOTE.id])


async def test_several_enter_and_leave_in_the_order_in_which_they_came() -> None:
    async with open_desk(MemoryStore()) as (relay, _):
        first, second = subscription(FOLLOWS), subscription(Filter(ids=PEOPLE | {"f" * 64}))
        entered: list[str] = []
        for target in (first, second):
            relay.subscribe(target)
        async with trio.open_nursery() as nursery:
            for name, target in (("second", second), ("first", first)):
                nursery.start_soon(note_entered, target, entered, name)
        assert entered == ["first", "second"]


@pytest.mark.parametrize("cut", CUTS)
async def test_equal_ones_do_not_take_each_other_for_entered(cut: int) -> None:
    """The first may go before all of it has come, and the second is answered once all of it is in."""
    kinds = frozenset(range(1_000, 3_500))
    events = [ALICE.event(kind=kind) for kind in sorted(kinds)[::100]]
    async with open_desk(MemoryStore()) as (relay, replies):
        first, second = subscription(Filter(kinds=kinds)), subscription(Filter(kinds=kinds))
        for target in (first, second):
            relay.subscribe(target)
        await after_turns(cut)
        relay.unsubscribe(first)
        assert await relay.answer(second).send()
        for event in events:  # one by one: nothing goes to a thread
            await relay.publish(replies.batch(event))
            await wait_all_tasks_blocked()
        assert sorted(ids(await waiting(second.recipient))) == sorted(["EOSE", *(event.id for event in events)])
        relay.unsubscribe(second)
        await wait_all_tasks_blocked()
        assert held(relay) == (0, 0)


async def note_entered(target: Subscription, entered: list[str], name: str) -> None:
    assert target.entering is not None
    assert await target.entering.wait() is None
    entered.append(name)


async def test_if_there_is_no_room_for_a_part_of_it_all_of_it_leaves() -> None:
    crowd = [subscription(Filter(authors=frozenset({ALICE.pubkey}), until=number)) for number in range(300)]
    async with open_desk(MemoryStore()) as (relay, replies):
        for one in crowd:
            one.origin = "192.0.2.1"
            assert relay.subscribe(one) is None
        keys, values = held(relay)
        target = subscription(FOLLOWS)
        target.origin = "192.0.2.1"
        assert relay.subscribe(target) is None
        assert not await relay.answer(target).send()
        reason = (
            "error: too many different filters ask for the same author, tag or kind: at most 300 of one address may"
        )
        assert await waiting(target.recipient) == [["CLOSED", "sub", reason]]
        relay.unsubscribe(target)
        await relay.publish(replies.batch(NOTE))
        await wait_all_tasks_blocked()
        assert await waiting(target.recipient) == []
        assert held(relay) == (keys, values)
        assert relay.statistics().queries.outcomes == {"no_room": 1}


async def test_a_relay_stops_while_some_are_on_their_way() -> None:
    async with open_desk(MemoryStore()) as (relay, _):
        for _ in range(3):
            relay.subscribe(subscription(FOLLOWS))
        assert held(relay)[0] == 500
