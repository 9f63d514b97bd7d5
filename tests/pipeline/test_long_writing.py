"""Requests to vanish, which may take long, are written beside everything else."""

from __future__ import annotations

from collections.abc import Sequence

import trio
from trio.testing import wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB, NOW
from tests.support.pipeline import Replies, open_desk
from trio_relay import Event, MemoryStore, Saved, Submission
from trio_relay.nostr.kinds import VANISH
from trio_relay.pipeline.pending_ids import PendingIds
from trio_relay.pipeline.recipient import FlushCollector
from trio_relay.pipeline.writer import Writer

URL = "wss://relay.example/"


def request(number: int = 0) -> Event:
    return ALICE.event(str(number), kind=VANISH, created_at=NOW + number, tags=[["relay", "ALL_RELAYS"]])


class Slow(MemoryStore):
    """Stores requests to vanish only when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = trio.Event()
        self.batches: list[list[Event]] = []

    async def save_many(self, events: Sequence[Event]) -> list[Saved]:
        self.batches.append(list(events))
        if any(event.kind == VANISH for event in events):
            await self.let.wait()
        return await super().save_many(events)


async def test_others_events_are_stored_while_a_request_to_vanish_is_carried_out() -> None:
    store = Slow()
    before, after = ALICE.event("before", created_at=NOW - 1), BOB.event("after")
    async with open_desk(store) as (relay, _):
        relay.rules.relay_url = URL
        relay.rules.plans.clear()
        replies = Replies()
        with trio.fail_after(60):
            await relay.publish(replies.batch(before, request()))
            await relay.publish(replies.batch(after))
            while len(replies.heard) < 2:
                await trio.lowlevel.checkpoint()
            assert replies.accepted == {before.id, after.id}
            store.let.set()
            while len(replies.heard) < 3:
                await trio.lowlevel.checkpoint()
        assert replies.accepted == {before.id, after.id, request().id}
        assert await store.known([before.id, after.id, request().id]) == {after.id, request().id}


async def test_what_is_accepted_is_stored_before_the_relay_has_stopped() -> None:
    store = Slow()
    store.let.set()
    async with open_desk(store) as (relay, _):
        relay.rules.relay_url = URL
        replies = Replies()
        await relay.publish(replies.batch(request(1), BOB.event("note")))
    assert replies.accepted == {request(1).id, BOB.event("note").id}


async def test_where_too_many_requests_wait_the_next_is_written_with_all_the_rest() -> None:
    store = Slow()
    writer = Writer(store, 10, PendingIds(), FlushCollector())
    replies = Replies()
    intake, verified = trio.open_memory_channel[list[Submission]](10)
    live_in, live = trio.open_memory_channel[list[Submission]](10)
    long_in, long = trio.open_memory_channel[list[Submission]](1)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run, verified, live_in, long_in)
            intake.send_nowait(replies.batch(request(1)))
            await wait_all_tasks_blocked()
            assert store.batches == []  # nobody takes it yet
            intake.send_nowait(replies.batch(request(2), BOB.event("note")))
            await wait_all_tasks_blocked()
            assert store.batches == [[request(2), BOB.event("note")]]
            store.let.set()
            intake.close()
        assert [[submission.event for submission in batch] async for batch in live] == [[request(2), BOB.event("note")]]
        assert [[submission.event for submission in batch] async for batch in long] == [[request(1)]]
