"""The broadcaster: one match an event, a frame a sub id, and a turn for others in between."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.desk import Replies, ids, subscription, waiting
from tests.keys import ALICE, BOB
from trio_relay import Filter, Outbox
from trio_relay.nostr.event import Event
from trio_relay.pipeline.broadcaster import Broadcaster
from trio_relay.pipeline.submission import Submission

NOTE, REACTION = ALICE.event("note"), BOB.event("+", kind=7)
NOTES_ONLY = Filter(kinds=frozenset({1}))


async def broadcast(broadcaster: Broadcaster, *events: Event, wait: float = 0) -> None:
    """Let events, all waiting at once, be delivered."""
    live_in, live = trio.open_memory_channel[list[Submission]](len(events))
    submissions = Replies().parcel(*events)
    await trio.sleep(wait)
    for one in submissions:
        live_in.send_nowait([one])
    live_in.close()
    with trio.fail_after(10):
        await broadcaster.run(live, 100)


async def test_an_event_goes_to_those_who_want_it() -> None:
    broadcaster = Broadcaster(set())
    wants_notes, wants_all, is_gone = subscription(NOTES_ONLY), subscription(Filter()), subscription(Filter())
    for one in (wants_notes, wants_all, is_gone):
        broadcaster.add(one)
    broadcaster.remove(is_gone)
    await broadcast(broadcaster, NOTE, REACTION)
    assert ids(await waiting(wants_notes.outbox)) == [NOTE.id]
    assert ids(await waiting(wants_all.outbox)) == [NOTE.id, REACTION.id]
    assert await waiting(is_gone.outbox) == []


async def test_an_event_is_broadcast_once_it_was_offered_to_all_even_if_nobody_wants_it() -> None:
    unbroadcast = {NOTE.id, REACTION.id, "another"}
    await broadcast(Broadcaster(unbroadcast), NOTE, REACTION)
    assert unbroadcast == {"another"}


async def test_who_has_no_room_is_left_and_the_others_get_their_event() -> None:
    broadcaster = Broadcaster(set())
    left: list[str] = []
    full = Outbox(bytes, 1000, lambda: left.append("full"))
    full.send_nowait(b"x" * 900)
    slow, quick = subscription(Filter(), outbox=full), subscription(Filter())
    broadcaster.add(slow)
    broadcaster.add(quick)
    await broadcast(broadcaster, NOTE, REACTION)
    assert left == ["full"]
    assert ids(await waiting(quick.outbox)) == [NOTE.id, REACTION.id]


@pytest.mark.parametrize(("seconds_an_event", "turns_between"), [(0.0005, 0), (0.0015, 1), (0.0025, 3)])
async def test_a_long_delivery_gives_others_a_turn_in_between(
    seconds_an_event: float, turns_between: int, mock_clock: MockClock
) -> None:
    def take_time(message: bytes) -> bytes:
        mock_clock.jump(seconds_an_event)
        return message

    broadcaster = Broadcaster(set())
    broadcaster.add(subscription(Filter(), outbox=Outbox(take_time, 2**30, lambda: None)))
    live_in, live = trio.open_memory_channel[list[Submission]](1)
    live_in.send_nowait(Replies().parcel(NOTE, REACTION, ALICE.event("third")))
    live_in.close()
    steps = StepsOfThisTask()
    trio.lowlevel.add_instrument(steps)
    await broadcaster.run(live, 100)
    trio.lowlevel.remove_instrument(steps)
    # Receiving the batch is a turn too.
    assert steps.number == 1 + turns_between


class StepsOfThisTask(trio.abc.Instrument):
    """Counts how often the task that made it is resumed."""

    def __init__(self) -> None:
        self.number = 0
        self._task = trio.lowlevel.current_task()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.number += task is self._task


async def test_statistics_count_events_deliveries_and_latency(autojump_clock: MockClock) -> None:
    broadcaster = Broadcaster(set())
    broadcaster.add(subscription(Filter()))
    broadcaster.add(subscription(NOTES_ONLY))
    await broadcast(broadcaster, NOTE, REACTION, wait=2)
    statistics = broadcaster.statistics()
    assert (statistics.subscriptions, statistics.events, statistics.deliveries) == (2, 2, 3)
    assert statistics.arrived_to_delivered.count == 2
    assert statistics.arrived_to_delivered.total == pytest.approx(4)
