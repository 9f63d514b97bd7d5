"""The broadcaster: one match an event, a frame a sub id, and a turn for others in between."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from tests.support.keys import ALICE, BOB, NOW
from tests.support.pipeline import LocalClient, Replies, counted_steps, ids, subscription, waiting
from trio_relay import Event, Filter, Submission
from trio_relay.pipeline.broadcaster import Broadcaster
from trio_relay.pipeline.pending_ids import PendingIds
from trio_relay.pipeline.recipient import FlushCollector

NOTE, REACTION = ALICE.event("note"), BOB.event("+", kind=7)
NOTES_ONLY = Filter(kinds=frozenset({1}))


class FlushedClient(LocalClient):
    """Reads when it is flushed, and asks for that while a stage collects; nobody else would carry it out here."""

    def __init__(self, collector: FlushCollector, frame: Callable[[bytes], bytes] = bytes) -> None:
        super().__init__(2**30, frame)
        self.pieces: list[bytes] = []
        self._collector = collector

    def send_framed_nowait(self, framed: bytes) -> None:
        assert self._collector.current is not None
        if not self._waiting:
            self._collector.current.append(lambda: self.pieces.append(self.read()))
        super().send_framed_nowait(framed)


async def broadcast(broadcaster: Broadcaster, *events: Event, wait: float = 0) -> None:
    """Let events, all waiting at once, be delivered."""
    live_in, live = trio.open_memory_channel[list[Submission]](len(events))
    submissions = Replies().batch(*events)
    await trio.sleep(wait)
    for submission in submissions:
        live_in.send_nowait([submission])
    live_in.close()
    with trio.fail_after(10):
        await broadcaster.run(live, 100)


async def test_an_event_goes_to_those_who_want_it() -> None:
    broadcaster = Broadcaster(PendingIds(), FlushCollector(), lambda: NOW)
    wants_notes, wants_all, is_gone = subscription(NOTES_ONLY), subscription(Filter()), subscription(Filter())
    for one in (wants_notes, wants_all, is_gone):
        broadcaster.add(one)
    broadcaster.remove(is_gone)
    await broadcast(broadcaster, NOTE, REACTION)
    assert ids(await waiting(wants_notes.recipient)) == [NOTE.id]
    assert ids(await waiting(wants_all.recipient)) == [NOTE.id, REACTION.id]
    assert await waiting(is_gone.recipient) == []


async def test_an_event_is_broadcast_once_it_was_offered_to_all_even_if_nobody_wants_it() -> None:
    pending_ids = PendingIds({NOTE.id, REACTION.id, "another"})
    await broadcast(Broadcaster(pending_ids, FlushCollector(), lambda: NOW), NOTE, REACTION)
    assert pending_ids == {"another"}


async def test_who_has_no_room_is_left_and_the_others_get_their_event() -> None:
    broadcaster = Broadcaster(PendingIds(), FlushCollector(), lambda: NOW)
    full = LocalClient(1000)
    full.send_nowait(b"x" * 900)
    slow, quick = subscription(Filter(), recipient=full), subscription(Filter())
    broadcaster.add(slow)
    broadcaster.add(quick)
    await broadcast(broadcaster, NOTE, REACTION)
    assert full.is_gone
    assert ids(await waiting(quick.recipient)) == [NOTE.id, REACTION.id]


@pytest.mark.parametrize(("seconds_an_event", "turns_between"), [(0.0005, 0), (0.0015, 1), (0.0025, 3), (0.011, 3)])
async def test_a_long_delivery_gives_others_a_turn_in_between(
    seconds_an_event: float, turns_between: int, mock_clock: MockClock
) -> None:
    def take_time(message: bytes) -> bytes:
        mock_clock.jump(seconds_an_event)
        return message

    broadcaster = Broadcaster(PendingIds(), FlushCollector(), lambda: NOW)
    broadcaster.add(subscription(Filter(), recipient=LocalClient(frame=take_time)))
    live_in, live = trio.open_memory_channel[list[Submission]](1)
    live_in.send_nowait(Replies().batch(NOTE, REACTION, ALICE.event("third")))
    live_in.close()
    with counted_steps() as steps:
        await broadcaster.run(live, 100)
    # Receiving the batch is a turn too.
    assert steps.number == 1 + turns_between


@pytest.mark.parametrize(
    ("seconds_an_event", "events_at_a_time"), [(0.0, [3]), (0.003, [3]), (0.006, [2, 1]), (0.011, [1, 1, 1])]
)
async def test_deliveries_leave_together_after_ten_milliseconds_or_at_the_end(
    seconds_an_event: float, events_at_a_time: list[int], mock_clock: MockClock
) -> None:
    """And by this stage: nobody else carries them out here."""

    def take_time(message: bytes) -> bytes:
        mock_clock.jump(seconds_an_event)
        return message

    collector = FlushCollector()
    client = FlushedClient(collector, take_time)
    broadcaster = Broadcaster(PendingIds(), collector, lambda: NOW)
    broadcaster.add(subscription(Filter(), recipient=client))
    await broadcast(broadcaster, NOTE, REACTION, ALICE.event("third"))
    assert [piece.count(b'["EVENT"') for piece in client.pieces] == events_at_a_time


async def test_statistics_count_events_deliveries_and_latency(autojump_clock: MockClock) -> None:
    broadcaster = Broadcaster(PendingIds(), FlushCollector(), lambda: NOW)
    broadcaster.add(subscription(Filter()))
    broadcaster.add(subscription(NOTES_ONLY))
    await broadcast(broadcaster, NOTE, REACTION, wait=2)
    statistics = broadcaster.statistics()
    assert (statistics.subscriptions, statistics.events, statistics.deliveries) == (2, 2, 3)
    assert statistics.arrived_to_delivered.count == 2
    assert statistics.arrived_to_delivered.total == pytest.approx(4)


async def test_after_the_deliveries_of_a_batch_nothing_is_collected_any_more() -> None:
    collector = FlushCollector()
    broadcaster = Broadcaster(PendingIds(), collector, lambda: NOW)
    broadcaster.add(subscription(Filter(), recipient=FlushedClient(collector)))
    await broadcast(broadcaster, NOTE, REACTION)
    assert collector.current is None
