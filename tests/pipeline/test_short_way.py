"""The short way of a lone event: verified on the loop and sent on without a wait, where it overtakes nothing."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB
from tests.support.obedient_store import ObedientStore
from tests.support.pipeline import Replies, ids, open_desk, subscription, waiting
from trio_relay import Event, Filter, MemoryStore, Submission
from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.schnorr import Backend, BackendName, open_backend
from trio_relay.pipeline.verifier import Verifier

DUPLICATE = "duplicate: already have this event"
BAD = "invalid: sig is not a valid signature of the id by the pubkey"

NOTE, REPLY = ALICE.event("note"), BOB.event("reply")
EPHEMERAL = ALICE.event("now", kind=20_001)
FORGED = replace(BOB.event("forged"), sig="0" * 128)


class Stage:
    """A verifying stage whose channels hold `room` batches, and which notes who verifies what."""

    def __init__(
        self,
        store: MemoryStore,
        room: int = 10,
        backend: BackendName = "batch",
        bars: Callable[[Event], Rejected | None] | None = None,
    ) -> None:
        self.replies = Replies()
        self.calls: list[tuple[bool, list[Event]]] = []
        """On the loop or not, and the events."""
        self.loop = threading.get_ident()
        self.real = open_backend()
        self.verifier = Verifier(store, Backend(backend, self._verify), trio.CapacityLimiter(1), 100, bars=lambda: bars)
        self.intake, self.to_verify = trio.open_memory_channel[list[Submission]](10)
        self.to_writer, self._verified = trio.open_memory_channel[list[Submission]](room)
        self.to_live, self._live = trio.open_memory_channel[list[Submission]](room)

    def _verify(self, events: Sequence[Event]) -> Sequence[bool]:
        self.calls.append((threading.get_ident() == self.loop, list(events)))
        return self.real.verify(events)

    def passes(self, event: Event, *, is_lone: bool = False) -> bool:
        [one] = self.replies.batch(event)
        return self.verifier.pass_nowait(one, self.to_writer, self.to_live, is_lone=is_lone)

    async def publish(self, *events: Event) -> None:
        """The long way."""
        self.verifier.expect(len(events))
        await self.intake.send(self.replies.batch(*events))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.verifier.run, self.to_verify, self.to_writer.clone(), self.to_live.clone())
                yield
                nursery.cancel_scope.cancel()

    def came_out(self) -> tuple[list[str], list[str]]:
        """The ids that have gone to the writer, and to delivery."""
        return _drained(self._verified), _drained(self._live)


def _drained(channel: trio.MemoryReceiveChannel[list[Submission]]) -> list[str]:
    found = []
    while channel.statistics().current_buffer_used:
        found += [one.event.id for one in channel.receive_nowait()]
    return found


async def test_a_lone_new_event_is_verified_on_the_loop_and_goes_on_unanswered() -> None:
    stage = Stage(MemoryStore())
    assert stage.passes(NOTE) is True
    assert stage.calls == [(True, [NOTE])]
    assert stage.came_out() == ([NOTE.id], [])
    assert stage.replies.heard == []


async def test_a_known_event_is_answered_and_not_verified() -> None:
    store = MemoryStore()
    await store.save_many([NOTE])
    stage = Stage(store)
    assert stage.passes(replace(NOTE, sig="0" * 128)) is True
    assert (stage.calls, stage.came_out()) == ([], ([], []))
    assert stage.replies.heard == [(NOTE.id, True, DUPLICATE)]
    assert stage.verifier.statistics().outcomes == {"duplicate": 1}


async def test_what_is_private_is_verified_whether_it_is_stored_or_not() -> None:
    stored, new = (ALICE.event(text, kind=1_059, tags=[["p", BOB.pubkey]]) for text in ("stored", "new"))
    store = MemoryStore()
    await store.save_many([stored])
    stage = Stage(store)
    for event in (stored, new):
        assert stage.passes(replace(event, sig="0" * 128)) is True
        assert stage.passes(event) is True
    assert stage.replies.heard == [(stored.id, False, BAD), (new.id, False, BAD)]
    assert stage.came_out() == ([stored.id, new.id], [])


async def test_a_bad_signature_is_answered_and_goes_no_further() -> None:
    stage = Stage(MemoryStore())
    assert stage.passes(FORGED) is True
    assert stage.came_out() == ([], [])
    assert stage.replies.heard == [(FORGED.id, False, BAD)]
    assert stage.verifier.statistics().outcomes == {"bad_signature": 1}


async def test_an_ephemeral_event_of_a_key_that_is_banned_by_now_is_refused_on_both_ways() -> None:
    barred, lasting = ALICE.event("then", kind=20_002), ALICE.event("for the writer to judge")
    stage = Stage(MemoryStore(), bars=lambda event: Rejected(Prefix.BLOCKED, "banned") if event != EPHEMERAL else None)
    assert stage.passes(EPHEMERAL) is True
    assert stage.passes(barred) is True
    async with stage.running():
        await stage.publish(barred)
        await stage.publish(barred, lasting, EPHEMERAL)
        await wait_all_tasks_blocked()
    assert stage.came_out() == ([lasting.id], [EPHEMERAL.id, EPHEMERAL.id])
    passed = (EPHEMERAL.id, True, "")
    refused = (barred.id, False, "blocked: banned")
    assert stage.replies.heard == [passed, refused, refused, refused, passed]
    assert stage.verifier.statistics().outcomes == {"ephemeral": 2, "barred": 3}


async def test_an_ephemeral_event_is_answered_and_goes_to_delivery() -> None:
    stage = Stage(MemoryStore())
    assert stage.passes(EPHEMERAL) is True
    assert stage.came_out() == ([], [EPHEMERAL.id])
    assert stage.replies.heard == [(EPHEMERAL.id, True, "")]
    assert stage.verifier.statistics().outcomes == {"ephemeral": 1}


@pytest.mark.parametrize("event", [NOTE, EPHEMERAL])
async def test_where_the_next_channel_is_full_it_is_the_long_way_and_nothing_was_said(event: Event) -> None:
    stage = Stage(MemoryStore(), room=0)
    assert stage.passes(event) is False
    assert stage.replies.heard == []
    assert stage.verifier.statistics().outcomes == {}


async def test_a_store_that_cannot_tell_at_once_is_asked_the_long_way() -> None:
    stage = Stage(ObedientStore())
    assert stage.passes(NOTE) is False
    assert (stage.calls, stage.replies.heard) == ([], [])


@pytest.mark.parametrize("events", [[NOTE], [NOTE, REPLY, EPHEMERAL, FORGED]])
async def test_pure_python_never_verifies_on_the_loop(events: list[Event]) -> None:
    stage = Stage(MemoryStore(), backend="python")
    assert stage.passes(NOTE) is False
    assert stage.calls == []
    async with stage.running():
        await stage.publish(*events)
        await wait_until(lambda: len(stage.calls) == 1)
    assert stage.calls == [(False, events)]


@pytest.mark.parametrize(("number", "on_loop"), [(1, True), (4, True), (5, False)])
async def test_a_few_signatures_are_verified_on_the_loop_and_more_in_a_thread(number: int, on_loop: bool) -> None:
    events = [ALICE.event(str(place)) for place in range(number)]
    stage = Stage(MemoryStore())
    async with stage.running():
        await stage.publish(*events)
        await wait_until(lambda: stage.calls != [])
    assert stage.calls == [(on_loop, events)]


async def wait_until(is_so: Callable[[], bool]) -> None:
    """Give others turns until it is so."""
    with trio.fail_after(10):
        while not is_so():
            await trio.lowlevel.checkpoint()


async def test_nothing_is_overtaken_that_waits_for_the_stage() -> None:
    stage = Stage(MemoryStore())
    await stage.publish(NOTE)
    assert stage.passes(REPLY) is False
    async with stage.running():
        await wait_all_tasks_blocked()
        assert stage.passes(REPLY) is True
    assert stage.came_out() == ([NOTE.id, REPLY.id], [])


async def test_nothing_is_overtaken_that_is_in_the_stage() -> None:
    store = ObedientStore()
    store.block("known")
    stage = Stage(store)
    async with stage.running():
        await stage.publish(NOTE)
        await wait_all_tasks_blocked()
        store.is_quick = True
        assert stage.passes(REPLY) is False
        store.release("known")
        await wait_all_tasks_blocked()
        assert stage.passes(REPLY) is True
    assert stage.came_out() == ([NOTE.id, REPLY.id], [])


async def test_nothing_is_overtaken_that_waits_to_leave_the_stage() -> None:
    stage = Stage(MemoryStore(), room=1)
    first, last = ALICE.event("first"), ALICE.event("last")
    async with stage.running():
        assert stage.passes(first) is True
        await stage.publish(NOTE, REPLY)
        await wait_all_tasks_blocked()
        assert stage.passes(last) is False
        assert stage.came_out() == ([first.id, NOTE.id, REPLY.id], [])
        await wait_all_tasks_blocked()
        assert stage.passes(last) is True
    assert stage.came_out() == ([last.id], [])


async def test_a_duplicate_does_not_overtake_either() -> None:
    """Its answer would come before that of an event sent earlier."""
    store = MemoryStore()
    await store.save_many([NOTE])
    stage = Stage(store)
    await stage.publish(REPLY)
    assert stage.passes(NOTE) is False
    assert stage.replies.heard == []


async def test_a_publisher_that_gives_up_takes_back_what_it_announced() -> None:
    store = ObedientStore()
    store.block("save_many")
    async with open_desk(store, channel_parcels=0, verifiers=1, verify_batch=1, write_batch=1) as (relay, replies):
        await wait_all_tasks_blocked()
        await relay.publish(replies.batch(NOTE))  # with the writer
        await wait_all_tasks_blocked()
        await relay.publish(replies.batch(REPLY))  # with the verifier
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.publish, replies.batch(FORGED))
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        store.release("save_many")
        await wait_all_tasks_blocked()
        assert replies.heard == [(NOTE.id, True, ""), (REPLY.id, True, "")]
        store.is_quick = True
        assert relay.publish_nowait(replies.batch(FORGED)[0]) is True
    assert replies.heard[2:] == [(FORGED.id, False, BAD)]


@pytest.mark.usefixtures("inline_threads")
async def test_the_short_way_and_the_long_way_end_in_the_same_store_in_the_order_of_sending() -> None:
    events = [ALICE.event(str(number)) for number in range(60)]
    store = ObedientStore(is_quick=True)
    target = subscription(Filter(limit=0))
    ways: set[bool] = set()
    async with open_desk(store, channel_parcels=1, write_batch=2) as (relay, replies):
        relay.subscribe(target)
        for number, event in enumerate(events):
            store.is_quick = number % 7 != 0
            [one] = replies.batch(event)
            short = relay.publish_nowait(one)
            ways.add(short)
            if not short:
                await relay.publish([one])
            if number % 11 == 0:
                await wait_all_tasks_blocked()
    assert ways == {True, False}
    assert [event_id for batch in store.batches for event_id in batch] == [event.id for event in events]
    assert replies.heard == [(event.id, True, "") for event in events]
    assert ids(await waiting(target.recipient)) == [event.id for event in events]


async def test_a_lone_event_overtakes_hundreds_of_others_and_not_a_few() -> None:
    stage = Stage(MemoryStore())
    await stage.publish(*(ALICE.event(str(number)) for number in range(3)))
    assert stage.passes(NOTE, is_lone=True) is False
    await stage.publish(*(ALICE.event(str(number)) for number in range(3, 300)))
    assert stage.passes(REPLY) is False, "its sender may have others among these"
    assert stage.passes(NOTE, is_lone=True) is True
