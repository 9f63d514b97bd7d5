"""When a stage is full its senders wait; once it goes on all of them are served, and nothing is dropped."""

from __future__ import annotations

import pytest
import trio
from msgspec import structs
from trio.testing import wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB
from tests.support.obedient_store import ObedientStore
from tests.support.pipeline import Replies, ids, open_desk, subscription, waiting
from trio_relay import Event, Filter, Relay

NOTES = [ALICE.event(f"alice {number}") for number in range(15)]
OTHERS = [BOB.event(f"bob {number}") for number in range(15)]

pytestmark = pytest.mark.usefixtures("inline_threads")


class Publisher:
    """Publishes one event after another, as far as it gets."""

    def __init__(self, relay: Relay, replies: Replies, events: list[Event]) -> None:
        self.sent: list[Event] = []
        self._relay = relay
        self._replies = replies
        self._events = events

    async def run(self) -> None:
        for event in self._events:
            await self._relay.publish(self._replies.batch(event))
            self.sent.append(event)


@pytest.mark.parametrize(("batches", "verifiers"), [(0, 1), (1, 1), (1, 2), (3, 2)])
@pytest.mark.parametrize("method", ["save_many", "saved"])
async def test_a_blocked_store_makes_publishers_wait_and_loses_nothing(
    batches: int, verifiers: int, method: str
) -> None:
    store = ObedientStore()
    store.block(method)
    async with (
        open_desk(store, channel_parcels=batches, verifiers=verifiers, verify_batch=1, write_batch=1) as desk,
        trio.open_nursery() as nursery,
    ):
        relay, replies = desk
        await wait_all_tasks_blocked()
        publishers = [Publisher(relay, replies, NOTES), Publisher(relay, replies, OTHERS)]
        for publisher in publishers:
            nursery.start_soon(publisher.run)
        await wait_all_tasks_blocked()
        # The writer holds one, each verifier one, and both channels are full, the second with two batches at most.
        assert sum(len(publisher.sent) for publisher in publishers) == 1 + verifiers + batches + min(batches, 2)
        assert replies.heard == []
        store.release(method)
    assert [publisher.sent for publisher in publishers] == [NOTES, OTHERS]
    assert sorted(replies.heard) == sorted((event.id, True, "") for event in [*NOTES, *OTHERS])
    assert store.contents() == {event.id for event in [*NOTES, *OTHERS]}


async def test_a_blocked_lookup_of_known_ids_makes_publishers_wait() -> None:
    store = ObedientStore()
    store.block("known")
    async with (
        open_desk(store, channel_parcels=1, verifiers=2, verify_batch=1) as (relay, replies),
        trio.open_nursery() as nursery,
    ):
        await wait_all_tasks_blocked()
        publisher = Publisher(relay, replies, NOTES)
        nursery.start_soon(publisher.run)
        await wait_all_tasks_blocked()
        assert len(publisher.sent) == 3
        store.release("known")
    assert replies.accepted == {event.id for event in NOTES}


async def test_load_makes_batches_grow() -> None:
    store = ObedientStore()
    store.block("save_many")
    async with open_desk(store, verifiers=1, verify_batch=8, write_batch=8) as (relay, replies):
        await Publisher(relay, replies, NOTES).run()
        await wait_all_tasks_blocked()
        store.release("save_many")
    sizes = [len(batch) for batch in store.batches]
    assert sum(sizes) == len(NOTES)
    assert sizes[0] < max(sizes) <= 8 + 7
    assert len(sizes) <= 4


async def test_a_publisher_that_gives_up_has_sent_nothing() -> None:
    store = ObedientStore()
    store.block("save_many")
    async with open_desk(store, channel_parcels=0, verifiers=1, verify_batch=1, write_batch=1) as (relay, replies):
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            publisher = Publisher(relay, replies, NOTES)
            nursery.start_soon(publisher.run)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        store.release("save_many")
    assert publisher.sent == NOTES[:2]
    assert store.contents() == replies.accepted == {event.id for event in NOTES[:2]}


async def test_queries_are_answered_while_writing_is_blocked() -> None:
    store = ObedientStore()
    await store.save_many(NOTES[:1])
    store.block("save_many")
    async with open_desk(store, channel_parcels=1, verifiers=1) as (relay, replies), trio.open_nursery() as nursery:
        nursery.start_soon(Publisher(relay, replies, OTHERS).run)
        await wait_all_tasks_blocked()
        target = subscription()
        relay.subscribe(target)
        assert await relay.answer(target).send() is True
        assert ids(await waiting(target.recipient)) == [NOTES[0].id, "EOSE"]
        store.release("save_many")


async def test_a_subscriber_gets_every_event_through_the_narrowest_pipeline() -> None:
    ephemeral = [BOB.event(str(number), kind=20_001) for number in range(5)]
    target = subscription(Filter(limit=0))
    async with (
        open_desk(ObedientStore(), channel_parcels=0, verifiers=2, verify_batch=1, write_batch=1) as (relay, replies),
        trio.open_nursery() as nursery,
    ):
        relay.subscribe(target)
        for events in (NOTES, OTHERS, ephemeral):
            nursery.start_soon(Publisher(relay, replies, events).run)
    expected = {event.id for event in [*NOTES, *OTHERS, *ephemeral]}
    assert replies.accepted == expected
    received = ids(await waiting(target.recipient))
    assert len(received) == len(expected)
    assert set(received) == expected


async def test_what_waits_to_be_verified_is_bounded_in_bytes_too() -> None:
    """64 batches of a megabyte might wait otherwise, which are up to a gigabyte as events."""
    store = ObedientStore()
    store.block("known")
    store.block("known_nowait")
    async with open_desk(store, verifiers=1) as desk, trio.open_nursery() as nursery:
        relay, replies = desk
        published: list[Event] = []

        async def publish(event: Event) -> None:
            [submission] = replies.batch(event)
            await relay.publish([structs.replace(submission, size=2 * 2**20)])
            published.append(event)

        for event in NOTES:
            nursery.start_soon(publish, event)
            await wait_all_tasks_blocked()
        # Four are 8 MiB: the first is with the verifier, or four are, and as many wait.
        assert published == NOTES[: len(published)]
        assert len(published) <= 8
        store.release("known_nowait")
        store.release("known")
    assert sorted(replies.heard) == sorted((event.id, True, "") for event in NOTES)
