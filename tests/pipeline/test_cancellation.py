"""Cut short at any moment, the pipeline has left nothing half done: no answer twice, none that is not true."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from tests.support.keys import ALICE, BOB, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.pipeline import LocalClient, Replies, ids, open_desk, subscription, waiting
from tests.support.server import run_threads_inline
from trio_relay import Filter, Relay

STORED_BEFORE = ALICE.event("known", created_at=NOW - 9)
NOTES = [ALICE.event(str(number)) for number in range(4)]
EPHEMERAL = BOB.event("now", kind=20_001)
FORGED = replace(BOB.event("forged"), sig="0" * 128)
EVENTS = [*NOTES[:2], STORED_BEFORE, EPHEMERAL, FORGED, *NOTES[2:]]
MOMENTS = range(90)
"""Turns of the scheduler after which all is cut; the whole way takes about forty."""


@dataclass
class Remains:
    """What is left after the end."""

    store: ObedientStore = field(default_factory=ObedientStore)
    replies: Replies = field(default_factory=Replies)
    recipient: LocalClient = field(default_factory=LocalClient)
    messages: list[str] = field(default_factory=list)


async def work(remains: Remains, *, turns: int, cut_publisher_only: bool, is_quick: bool) -> None:
    """Publish one event after another through the narrowest pipeline, with a subscriber; cut it after some turns.

    Where the store is quick, events and the request go the short way if they can, as a client's do.
    """
    remains.store.is_quick = is_quick
    await remains.store.save_many([STORED_BEFORE])
    narrow: dict[str, Any] = {"channel_parcels": 0, "verifiers": 2, "verify_batch": 1, "write_batch": 2}
    with trio.fail_after(30), trio.CancelScope() as everything:
        async with open_desk(remains.store, **narrow) as (relay, _), trio.open_nursery() as nursery:
            publishing = trio.CancelScope()
            nursery.start_soon(publish, relay, remains, publishing)
            nursery.start_soon(ask, relay, remains.recipient)
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            (publishing if cut_publisher_only else everything).cancel()
    remains.messages = ids(await waiting(remains.recipient))


async def publish(relay: Relay, remains: Remains, scope: trio.CancelScope) -> None:
    with scope:
        for event in EVENTS:
            [one] = remains.replies.batch(event)
            if not relay.publish_nowait(one):
                await relay.publish([one])
            await trio.lowlevel.checkpoint()


async def ask(relay: Relay, recipient: LocalClient) -> None:
    target = subscription(Filter(limit=500), recipient=recipient)
    relay.subscribe(target)
    answer = relay.answer(target)
    if not answer.send_nowait():
        await answer.send()


def expect_nothing_half_done(remains: Remains) -> None:
    answered = [event_id for event_id, _, _ in remains.replies.heard]
    assert len(answered) == len(set(answered))
    assert remains.replies.accepted - {EPHEMERAL.id} <= remains.store.contents()
    assert (FORGED.id, True) not in [(event_id, accepted) for event_id, accepted, _ in remains.replies.heard]
    assert len(remains.messages) == len(set(remains.messages))
    delivered = set(remains.messages) - {"EOSE", EPHEMERAL.id}
    assert delivered <= remains.store.contents()


@pytest.mark.slow
@pytest.mark.parametrize("is_quick", [False, True])
def test_cut_at_any_moment_every_answer_is_true_and_comes_once(is_quick: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    run_threads_inline(monkeypatch)
    numbers_answered = set()
    for turns in MOMENTS:
        remains = Remains()
        trio.run(partial(work, remains, turns=turns, cut_publisher_only=False, is_quick=is_quick))
        expect_nothing_half_done(remains)
        numbers_answered.add(len(remains.replies.heard))
    assert {0, len(EVENTS)} <= numbers_answered, "some were cut before the first answer, some after the last"


@pytest.mark.slow
@pytest.mark.parametrize("is_quick", [False, True])
def test_cut_short_a_publisher_has_sent_whole_parcels_and_each_is_answered(
    is_quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_threads_inline(monkeypatch)
    for turns in MOMENTS:
        remains = Remains()
        trio.run(partial(work, remains, turns=turns, cut_publisher_only=True, is_quick=is_quick))
        expect_nothing_half_done(remains)
        answered = {event_id for event_id, _, _ in remains.replies.heard}
        assert answered == {event.id for event in EVENTS[: len(answered)]}
        assert remains.store.contents() == {STORED_BEFORE.id} | answered - {EPHEMERAL.id, FORGED.id}


@pytest.mark.parametrize("method", ["known", "save_many", "saved"])
async def test_cut_inside_the_store_the_batch_is_not_answered(method: str, inline_threads: None) -> None:
    store = ObedientStore()
    store.block(method)
    with trio.move_on_after(5) as scope:
        async with open_desk(store) as (relay, replies):
            await relay.publish(replies.batch(*NOTES))
            while not store.calls[method]:
                await trio.lowlevel.checkpoint()
            scope.cancel()
            await trio.sleep_forever()
    assert store.cancelled[method] == 1
    assert replies.heard == []
