"""A subscription sends each event once, whichever ways it comes and whenever."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.support.keys import ALICE, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.pipeline import LocalClient, ids, queries, subscription, waiting
from trio_relay import Subscription
from trio_relay.nostr.event import Event, encode
from trio_relay.pipeline.recipient import Frame

FIRST, SECOND = ALICE.event("first"), ALICE.event("second")


def deliver(target: Subscription, event: Event, shared: dict[tuple[str, Frame], bytes] | None = None) -> None:
    """A live event comes."""
    target.deliver(event.id, encode(event), {} if shared is None else shared)


@dataclass
class World:
    """A store, a broadcaster and one query, reduced to the moments whose order matters."""

    stored: list[Event] = field(default_factory=list)
    pending_ids: set[str] = field(default_factory=set)
    target: Subscription = field(default_factory=subscription)
    is_registered: bool = False
    snapshot: list[Event] = field(default_factory=list)

    async def take(self, step: tuple[str, Event | int]) -> None:
        match step:
            case "saving", Event() as event:
                self.pending_ids.add(event.id)
            case "committed", Event() as event:
                self.stored.insert(0, event)
            case "broadcast", Event() as event:
                if self.is_registered:
                    deliver(self.target, event)
                self.pending_ids.discard(event.id)
            case "registered", _:
                self.is_registered = True
            case "searched", _:
                self.snapshot = list(self.stored)
            case "asked", _:
                self.is_registered = True
                assert self.target.deliver_at_once([encode(event) for event in self.stored], self.pending_ids)
            case "page", int(number):
                if page := [encode(event) for event in self.snapshot[number : number + 1]]:
                    await self.target.deliver_stored(page, self.pending_ids)
            case _:
                self.target.end_of_stored()


QUERY: list[tuple[str, Event | int]] = [("registered", 0), ("searched", 0), ("page", 0), ("page", 1), ("eose", 0)]


def way(event: Event) -> list[tuple[str, Event | int]]:
    """The moments of one event."""
    return [("saving", event), ("committed", event), ("broadcast", event)]


def interleavings(*ways: Sequence[tuple[str, Event | int]]) -> Iterator[list[tuple[str, Event | int]]]:
    """Every order in which several ways can be gone, each from its first to its last step."""
    if not any(ways):
        yield []
    for index, one in enumerate(ways):
        if one:
            for rest in interleavings(*ways[:index], one[1:], *ways[index + 1 :]):
                yield [one[0], *rest]


async def test_in_every_order_of_saving_searching_and_delivering_an_event_comes_once() -> None:
    orders = 0
    for order in interleavings(QUERY, way(FIRST)):
        world = World()
        for step in order:
            await world.take(step)
        assert sorted(ids(await waiting(world.target.recipient))) == sorted([FIRST.id, "EOSE"]), order
        orders += 1
    assert orders == 56


async def test_in_every_order_two_events_of_one_batch_come_once_each() -> None:
    # One batch is saved and committed together; only its deliveries are two moments.
    batch = [("saving", FIRST), ("saving", SECOND), ("committed", FIRST), ("committed", SECOND)]
    together: list[tuple[str, Event | int]] = [*batch, ("broadcast", FIRST), ("broadcast", SECOND)]
    orders = 0
    for order in interleavings(QUERY, together):
        world = World()
        for step in order:
            await world.take(step)
        assert sorted(ids(await waiting(world.target.recipient))) == sorted([FIRST.id, SECOND.id, "EOSE"]), order
        orders += 1
    assert orders == 462


async def test_in_every_order_an_answer_at_once_and_two_events_come_once_each() -> None:
    """What was broadcast before it was asked for comes out of the store, all else live or stored."""
    orders = 0
    for order in interleavings([("asked", 0)], way(FIRST), way(SECOND)):
        world = World()
        for step in order:
            await world.take(step)
        assert sorted(ids(await waiting(world.target.recipient))) == sorted([FIRST.id, SECOND.id, "EOSE"]), order
        orders += 1
    assert orders == 140


async def test_an_event_that_comes_live_between_two_chunks_of_its_page_comes_once() -> None:
    page = [ALICE.event(str(number) + "x" * 30_000) for number in range(4)]
    recipient = LocalClient(100_000)  # a chunk is one of these, and two are over half
    target = subscription(recipient=recipient)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(target.deliver_stored, [encode(event) for event in page], {page[3].id})
        await wait_all_tasks_blocked()
        deliver(target, page[3])
        assert ids(await waiting(recipient)) == [page[0].id, page[1].id, page[3].id]
    assert ids(await waiting(recipient)) == [page[2].id]


@pytest.mark.parametrize("size", [100, 900, 5000])
async def test_a_client_who_reads_gets_an_answer_that_is_larger_than_his_outbox(size: int) -> None:
    recipient = LocalClient(2000)
    target = subscription(recipient=recipient)
    notes = [ALICE.event(str(number) + "x" * size, created_at=NOW - number) for number in range(20)]
    seen: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_all_stored, target, notes)
        while "EOSE" not in seen and not recipient.is_gone:
            await wait_all_tasks_blocked()
            seen += ids(await waiting(recipient))
    assert seen == [*(note.id for note in notes), "EOSE"]
    assert not recipient.is_gone


async def send_all_stored(target: Subscription, events: list[Event]) -> None:
    store = ObedientStore()
    await store.save_many(events)
    await queries(store).answer(target).send()


async def test_a_page_waits_for_room_and_live_events_do_not() -> None:
    recipient = LocalClient(200_000)
    target = subscription(recipient=recipient)
    recipient.send_nowait(b'"' + b"x" * 120_000 + b'"')
    async with trio.open_nursery() as nursery:
        nursery.start_soon(target.deliver_stored, [encode(FIRST)], set[str]())
        await wait_all_tasks_blocked()
        deliver(target, SECOND)
        assert ids((await waiting(recipient))[1:]) == [SECOND.id]
    assert ids(await waiting(recipient)) == [FIRST.id]


async def test_a_live_event_is_held_back_once_for_the_stored_one_and_no_more() -> None:
    target = subscription()
    await target.deliver_stored([encode(FIRST)], {FIRST.id})
    target.end_of_stored()
    deliver(target, FIRST)
    deliver(target, FIRST)
    assert ids(await waiting(target.recipient)) == [FIRST.id, "EOSE", FIRST.id]


async def test_live_events_of_one_sub_id_and_frame_share_their_bytes() -> None:
    framed: list[bytes] = []

    def frame(message: bytes) -> bytes:
        framed.append(message)
        return message

    shared: dict[tuple[str, Frame], bytes] = {}
    for sub_id in ("a", "a", "b"):
        deliver(subscription(sub_id=sub_id, recipient=LocalClient(1000, frame)), FIRST, shared)
    deliver(subscription(sub_id="a", recipient=LocalClient(1000)), FIRST, shared)
    assert framed == [b'["EVENT","a",' + encode(FIRST) + b"]", b'["EVENT","b",' + encode(FIRST) + b"]"]
    assert len(shared) == 3


async def test_a_sub_id_is_quoted_in_every_message() -> None:
    target = subscription(sub_id='é"\\')
    deliver(target, FIRST)
    target.end_of_stored()
    target.refuse("error: broken")
    messages = await waiting(target.recipient)
    assert [message[:2] for message in messages] == [
        ["EVENT", 'é"\\'],
        ["EOSE", 'é"\\'],
        ["CLOSED", 'é"\\'],
    ]


async def test_an_ended_subscription_says_nothing_of_what_its_query_still_finds() -> None:
    """NIP-01: a REQ with an open id replaces that subscription, so that the old one must not speak for the new."""
    target = subscription()
    target.end()
    assert target.is_ended
    await target.deliver_stored([encode(FIRST)], set())
    target.end_of_stored()
    target.refuse("error: broken")
    assert await waiting(target.recipient) == []
