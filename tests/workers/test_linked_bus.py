"""The bus of workers: over their links, their keeper's hub."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.local_bus import Ear, LocalBus
from trio_relay.bus import Hub
from trio_relay.link import Link
from trio_relay.workers import linked_bus


async def worker(middle: Hub, nursery: trio.Nursery) -> tuple[linked_bus.LinkedBus, Ear, Link]:
    """One more worker of the keeper that has this hub; it listens."""
    near, far = map(Link, trio.testing.memory_stream_pair())
    its, place, ear = linked_bus.LinkedBus(near), linked_bus.HubPlace(middle, far), Ear()
    nursery.start_soon(near.run, its.tells)
    nursery.start_soon(far.run, place.tells)
    nursery.start_soon(place.run)
    nursery.start_soon(its.listen, ear.take)
    await ear.gap()
    return its, ear, near


async def test_workers_and_their_keeper_hear_each_other(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    middle = Hub()
    keeper, at_keeper = middle.join(), Ear()
    nursery.start_soon(keeper.listen, at_keeper.take)
    one, at_one, _ = await worker(middle, nursery)
    two, at_two, _ = await worker(middle, nursery)
    one.send(b"1")
    await wait_all_tasks_blocked()
    two.send(b"2")
    await wait_all_tasks_blocked()
    keeper.send(b"3")
    await wait_all_tasks_blocked()
    assert (at_one.notes, at_two.notes, at_keeper.notes) == ([b"2", b"3"], [b"1", b"3"], [b"1", b"2"])


async def test_a_worker_knows_how_far_its_keeper_reaches(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    alone, _, _ = await worker(Hub(), nursery)
    await trio.sleep(2)
    assert (alone.reaches_all, alone.trouble) == (False, None)
    between = LocalBus()
    middle = Hub(between.join())
    reaching, _, _ = await worker(middle, nursery)
    await trio.sleep(2)
    assert (reaching.reaches_all, reaching.trouble) == (True, "not reached yet")
    nursery.start_soon(middle.run)
    await trio.sleep(5)
    assert (reaching.reaches_all, reaching.trouble) == (True, None)


async def test_what_a_keeper_that_stands_still_would_have_to_hold_is_bounded(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(linked_bus, "MOST_UNTOLD", 1_000)
    link = Link(trio.testing.memory_stream_pair()[0])  # which nobody runs
    its = linked_bus.LinkedBus(link)
    for _ in range(100):
        its.send(bytes(100))
    assert 1_000 < link.waiting < 1_500
