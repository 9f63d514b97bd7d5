"""A relay as the client of another relay of ours: what it asks is answered."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB, NOW
from tests.support.named_relay import open_named, rules_for
from tests.support.other_relays import ALICE_SIGNS, peer_of
from tests.support.server import Door, open_door
from tests.support.syncing import FIRST, needed
from trio_relay import Event, MemoryStore, SyncOptions
from trio_relay.peers import messages, options, waiting


def notes(number: int) -> list[Event]:
    return [ALICE.event(f"note {place}", created_at=NOW - place) for place in range(number)]


async def filled(door: Door, events: list[Event]) -> None:
    async with peer_of(door) as peer:
        for event in events:
            assert (await peer.publish(event)).accepted


async def test_an_event_is_published_and_its_receipt_comes() -> None:
    async with open_door() as door, peer_of(door) as peer:
        event = ALICE.event("hello")
        assert await peer.publish(event) == messages.Receipt(event.id, True)
        assert (await peer.publish(event)).reason.startswith("duplicate:")


async def test_many_are_on_their_way_and_each_gets_its_own_receipt() -> None:
    receipts: dict[str, messages.Receipt] = {}
    async with open_door() as door, peer_of(door, settings=options.PeerOptions(unanswered=5)) as peer:

        async def publish(event: Event) -> None:
            receipts[event.id] = await peer.publish(event)

        events = [*notes(20), ALICE.signed("f" * 64, NOW, 1, [], "of a wrong id")]
        async with trio.open_nursery() as nursery:
            for event in events:
                nursery.start_soon(publish, event)
    assert {event_id for event_id, receipt in receipts.items() if receipt.accepted} == {e.id for e in events[:-1]}
    assert receipts["f" * 64].reason.startswith("invalid:")


async def test_a_subscription_brings_stored_events_their_end_and_live_ones() -> None:
    async with open_door() as door, peer_of(door) as peer:
        old, new = notes(3), BOB.event("new")
        await filled(door, old)
        async with peer.subscribe([{"kinds": [1]}]) as subscription:
            assert [await anext(subscription) for _ in range(4)] == [*old, messages.StoredEnd("r1")]
            await filled(door, [new])
            assert await anext(subscription) == new


async def test_subscriptions_are_closed_there_however_much_else_is_to_be_sent() -> None:
    """Else they count there as open, until there may be no more of them."""
    async with open_door() as door, peer_of(door) as peer:
        for steps in range(10):
            async with trio.open_nursery() as nursery, peer.subscribe([{"kinds": [1]}]):
                for event in notes(100):
                    nursery.start_soon(peer.publish, event)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
        await peer.count({})  # comes behind each CLOSE
        assert door.relay.statistics().broadcaster.subscriptions == 0


async def test_a_subscription_that_is_over_is_closed_there() -> None:
    async with open_door() as door, peer_of(door) as peer:
        async with peer.subscribe([{"kinds": [1]}]) as subscription:
            assert isinstance(await anext(subscription), messages.StoredEnd)
            assert door.relay.statistics().broadcaster.subscriptions == 1
        assert await peer.count({}) == 0  # comes behind the CLOSE
        assert door.relay.statistics().broadcaster.subscriptions == 0


async def test_what_nobody_reads_holds_up_the_connection_and_nothing_is_lost(autojump_clock: MockClock) -> None:
    events = [ALICE.event("x" * 1_000 + str(place), created_at=NOW - place) for place in range(100)]
    async with open_door() as door:
        await filled(door, events)
        settings = options.PeerOptions(queue_bytes=2_000, idle_seconds=5)
        async with peer_of(door, settings=settings) as peer, peer.subscribe([{}]) as subscription:
            await trio.sleep(600)
            assert peer.received_bytes < 110_000
            assert [await anext(subscription) for _ in events] == events


async def test_a_count_is_asked_for() -> None:
    async with open_door() as door, peer_of(door) as peer:
        await filled(door, notes(3))
        assert await peer.count({"kinds": [1]}) == 3
        with pytest.raises(waiting.PeerRefused, match="unsupported"):
            await peer.count({"color": ["red"]})


async def test_sets_are_compared() -> None:
    async with open_door() as door, peer_of(door) as peer:
        await filled(door, events := notes(3))
        async with peer.negotiate({}, FIRST) as negotiation:
            assert needed(negotiation.first) == {event.id for event in events}


async def test_a_comparison_that_is_refused_says_why_and_how_many_would_do() -> None:
    async with open_door(sync=SyncOptions(max_events=2)) as door, peer_of(door) as peer:
        await filled(door, notes(3))
        with pytest.raises(waiting.PeerRefused, match="blocked:") as refusal:
            async with peer.negotiate({}, FIRST):
                pass
        assert refusal.value.most == 2


@pytest.mark.parametrize("challenge", ["connect", "needed"])
async def test_who_is_asked_for_a_key_shows_it_and_asks_again(challenge: str) -> None:
    private = ALICE.event("for bob", kind=4, tags=[["p", BOB.pubkey]])
    store = MemoryStore()
    await store.save_many([private])
    rules = rules_for(challenge=challenge)
    async with open_named(store, rules) as door, peer_of(door, signer=ALICE_SIGNS) as peer:
        protected = ALICE.event("mine", tags=[["-"]])
        assert (await peer.publish(protected)).accepted
        async with peer.subscribe([{"kinds": [4]}]) as subscription:
            assert await anext(subscription) == private
        assert await peer.count({"kinds": [4]}) == 1
        assert peer.is_authenticated


@pytest.mark.parametrize("verb", ["REQ", "COUNT", "NEG-OPEN"])
async def test_each_question_is_asked_again_with_a_key(verb: str) -> None:
    rules = rules_for(challenge="needed", auth_to_read=True)
    async with open_named(MemoryStore(), rules) as door, peer_of(door, signer=ALICE_SIGNS) as peer:
        if verb == "COUNT":
            assert await peer.count({}) == 0
        elif verb == "REQ":
            async with peer.subscribe([{}]) as subscription:
                assert isinstance(await anext(subscription), messages.StoredEnd)
        else:
            async with peer.negotiate({}, FIRST) as negotiation:
                assert negotiation.first
        assert peer.is_authenticated


async def test_without_a_key_the_refusal_is_told() -> None:
    async with open_named(MemoryStore()) as door, peer_of(door) as peer:
        receipt = await peer.publish(ALICE.event("mine", tags=[["-"]]))
        assert not receipt.accepted
        assert receipt.reason.startswith("auth-required:")


async def test_a_key_that_does_not_help_is_shown_once() -> None:
    async with open_named(MemoryStore()) as door, peer_of(door, signer=ALICE_SIGNS) as peer:
        receipt = await peer.publish(BOB.event("his", tags=[["-"]]))
        assert receipt.reason.startswith("restricted:")


async def test_what_the_body_raises_comes_out_as_it_is() -> None:
    async with open_door() as door:
        with pytest.raises(ZeroDivisionError):
            async with peer_of(door):
                raise ZeroDivisionError


async def test_who_leaves_says_farewell() -> None:
    async with open_door() as door:
        async with peer_of(door):
            await wait_all_tasks_blocked()
            assert door.server.statistics().connections == 1
        await wait_all_tasks_blocked()
        assert door.server.statistics().connections == 0
