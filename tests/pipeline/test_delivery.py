"""Stored and live events through the whole pipeline: each comes once, however saving and searching meet."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.pipeline import Replies, ids, open_desk, subscription, waiting
from tests.support.server import run_threads_inline
from trio_relay import Filter, Relay, Subscription

OLD = ALICE.event("old", created_at=NOW - 10)
NEW = BOB.event("new")

pytestmark = pytest.mark.usefixtures("inline_threads")


async def subscribe(relay: Relay, target: Subscription) -> None:
    """Register and answer, as a client's task does."""
    relay.subscribe(target)
    await relay.answer(target).send()


async def test_an_event_that_is_committed_but_not_yet_broadcast_comes_stored_and_not_again() -> None:
    store = ObedientStore()
    async with open_desk(store) as (relay, replies):
        store.block("saved")
        await relay.publish(replies.batch(NEW))
        await wait_all_tasks_blocked()
        target = subscription()
        await subscribe(relay, target)
        assert ids(await waiting(target.recipient)) == [NEW.id, "EOSE"]
        assert replies.heard == []
        store.release("saved")
        await wait_all_tasks_blocked()
        assert replies.accepted == {NEW.id}
    assert await waiting(target.recipient) == []


async def test_an_event_that_is_saved_between_registration_and_search_comes_once() -> None:
    store = ObedientStore()
    async with open_desk(store) as (relay, replies), trio.open_nursery() as nursery:
        store.block("query")
        target = subscription()
        nursery.start_soon(subscribe, relay, target)
        await wait_all_tasks_blocked()
        await relay.publish(replies.batch(NEW))
        await wait_all_tasks_blocked()
        assert ids(await waiting(target.recipient)) == [NEW.id]
        store.release("query")
        await wait_all_tasks_blocked()
        assert ids(await waiting(target.recipient)) == ["EOSE"]


async def test_an_event_that_is_saved_between_search_and_page_comes_live() -> None:
    store = ObedientStore()
    await store.save_many([OLD])
    async with open_desk(store) as (relay, replies), trio.open_nursery() as nursery:
        store.block("page")
        target = subscription()
        nursery.start_soon(subscribe, relay, target)
        await wait_all_tasks_blocked()
        await relay.publish(replies.batch(NEW))
        await wait_all_tasks_blocked()
        store.release("page")
        await wait_all_tasks_blocked()
        assert ids(await waiting(target.recipient)) == [NEW.id, OLD.id, "EOSE"]


async def test_an_event_that_is_saved_after_eose_comes_live() -> None:
    async with open_desk(ObedientStore()) as (relay, replies):
        target = subscription()
        await subscribe(relay, target)
        await relay.publish(replies.batch(NEW))
        await wait_all_tasks_blocked()
        assert ids(await waiting(target.recipient)) == ["EOSE", NEW.id]


async def test_an_unsubscribed_subscription_gets_nothing_more() -> None:
    async with open_desk(ObedientStore()) as (relay, replies):
        target = subscription()
        await subscribe(relay, target)
        relay.unsubscribe(target)
        await relay.publish(replies.batch(NEW))
        await wait_all_tasks_blocked()
        assert ids(await waiting(target.recipient)) == ["EOSE"]


async def test_what_was_not_stored_is_not_broadcast() -> None:
    store = ObedientStore()
    async with open_desk(store) as (relay, replies):
        target = subscription()
        await subscribe(relay, target)
        store.failing["save_many"] = "no space left"
        await relay.publish(replies.batch(NEW))
        await wait_all_tasks_blocked()
        assert ids(await waiting(target.recipient)) == ["EOSE"]
        del store.failing["save_many"]
        await relay.publish(replies.batch(NEW, NEW))
        await wait_all_tasks_blocked()
        assert ids(await waiting(target.recipient)) == [NEW.id]


async def test_an_ephemeral_event_is_delivered_and_not_found_later() -> None:
    ephemeral = ALICE.event("now", kind=20_000)
    store = ObedientStore()
    async with open_desk(store) as (relay, replies):
        target, late = subscription(), subscription()
        await subscribe(relay, target)
        await relay.publish(replies.batch(ephemeral))
        await wait_all_tasks_blocked()
        await subscribe(relay, late)
        assert ids(await waiting(target.recipient)) == ["EOSE", ephemeral.id]
        assert ids(await waiting(late.recipient)) == ["EOSE"]
    assert store.contents() == set()


@pytest.mark.slow
def test_at_whatever_moment_a_subscription_begins_each_event_comes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription is opened after every number of turns of the scheduler that the events' way through takes."""
    run_threads_inline(monkeypatch)
    seen_first: set[str] = set()
    for turns in range(50):
        messages = trio.run(meet, turns)
        assert sorted(messages) == sorted([OLD.id, NEW.id, "EOSE"]), f"after {turns} turns"
        seen_first.add("stored" if messages[-1] == "EOSE" else "live")
    assert seen_first == {"stored", "live"}


async def meet(turns: int) -> list[str]:
    """Publish two events, and open a subscription so many turns later; gives what it got."""
    target = subscription(Filter(limit=500))
    with trio.fail_after(10):
        async with open_desk(ObedientStore(page_events=1), write_batch=1) as (relay, replies):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(publish_both, relay, replies)
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                await subscribe(relay, target)
            await wait_all_tasks_blocked()
    return ids(await waiting(target.recipient))


async def publish_both(relay: Relay, replies: Replies) -> None:
    for event in (OLD, NEW):
        await relay.publish(replies.batch(event))
