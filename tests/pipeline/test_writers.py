"""Several writers at a time, and a store that takes some events of a batch and not others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.pipeline import ids, open_desk, subscription, waiting
from trio_relay import Event, Filter, Saved, StoreError

pytestmark = pytest.mark.usefixtures("inline_threads")

NOTES = [ALICE.event(str(number), created_at=NOW - number) for number in range(6)]

STORED = (True, "")
DUPLICATE = (True, "duplicate: already have this event")
FAILED = (False, "error: the store could not take this event; send it again")
GONE = (False, "error: gone")


class OneByOne(ObedientStore):
    """Each batch waits until it is let go, by the first event in it."""

    def __init__(self, writers: int = 3) -> None:
        super().__init__(writers=writers)
        self.running: list[list[str]] = []
        self._turns: dict[str, trio.Event] = {}
        self._outcomes: dict[str, str] = {}

    async def save_many(self, events: Sequence[Event]) -> list[Saved]:
        batch = [event.id for event in events]
        self.running.append(batch)
        turn = self._turns[batch[0]] = trio.Event()
        await turn.wait()
        self.running.remove(batch)
        if batch[0] in self._outcomes:
            raise StoreError(self._outcomes.pop(batch[0]))
        return await super().save_many(events)

    async def let_go(self, first: str, failure: str = "") -> None:
        """Let the batch that begins with this event be saved, or fail; returns when all has come of it that can."""
        if failure:
            self._outcomes[first] = failure
        self._turns[first].set()
        await wait_all_tasks_blocked()


async def test_as_many_batches_are_written_at_a_time_as_the_store_takes(autojump_clock: MockClock) -> None:
    store = OneByOne(writers=3)
    async with open_desk(store, verifiers=1, verify_batch=1) as (relay, replies):
        for note in NOTES:
            await relay.publish(replies.batch(note))
            await wait_all_tasks_blocked()
        assert store.running == [[note.id] for note in NOTES[:3]]
        await store.let_go(NOTES[1].id)
        assert replies.heard == [(NOTES[1].id, *STORED)]
        # What has waited is one batch, and was not shared out among those that write.
        assert store.running == [[NOTES[0].id], [NOTES[2].id], [note.id for note in NOTES[3:]]]
        for first in (0, 3, 2):
            await store.let_go(NOTES[first].id)
    assert replies.accepted == store.contents() == {note.id for note in NOTES}


async def test_the_stage_ends_when_all_its_writers_have(autojump_clock: MockClock) -> None:
    store = ObedientStore(writers=3)
    store.block("save_many")
    async with open_desk(store, verifiers=1, drain_seconds=5) as (relay, replies):
        for note in NOTES[:3]:
            await relay.publish(replies.batch(note))
            await wait_all_tasks_blocked()
        store.release("save_many")
        started = trio.current_time()
    assert trio.current_time() == started
    assert replies.accepted == {note.id for note in NOTES[:3]}


async def test_a_stop_gives_all_writers_no_longer_than_drain_seconds(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    store = ObedientStore(writers=2)
    store.block("save_many")
    started = trio.current_time()
    async with open_desk(store, verifiers=1, drain_seconds=7) as (relay, replies):
        for note in NOTES[:2]:
            await relay.publish(replies.batch(note))
            await wait_all_tasks_blocked()
    assert trio.current_time() - started == 7
    assert store.cancelled["save_many"] == 2
    assert replies.heard == []
    assert [entry["log_level"] for entry in logged] == ["warning"]


@pytest.mark.parametrize(
    ("failure", "answers"),
    [("", [STORED, DUPLICATE]), ("gone", [GONE, STORED])],
    ids=["stored", "failed"],
)
async def test_an_event_in_two_batches_is_written_by_one_at_a_time(
    failure: str, answers: list[tuple[bool, str]], autojump_clock: MockClock
) -> None:
    """So what becomes of it is known before it is tried again, and it is delivered once."""
    store = OneByOne(writers=3)
    live = subscription(Filter(limit=0))
    async with open_desk(store, verifiers=1) as (relay, replies):
        relay.subscribe(live)
        await relay.answer(live).send()
        note, other = NOTES[:2]
        for batch in ([note], [note, other]):
            await relay.publish(replies.batch(*batch))
            await wait_all_tasks_blocked()
        assert store.running == [[note.id]]
        await store.let_go(note.id, failure)
        assert store.running == [[note.id, other.id]]
        await store.let_go(note.id)
        assert replies.heard == [
            (note.id, *answers[0]),
            (note.id, *answers[1]),
            (other.id, *STORED),
        ]
    assert ids(await waiting(live.recipient)) == ["EOSE", note.id, other.id]


async def test_what_two_batches_save_comes_once_to_who_asks_meanwhile(autojump_clock: MockClock) -> None:
    """The query finds what is saved and not yet delivered, whichever batch it was in."""
    store = ObedientStore(writers=2)
    store.block("saved")
    asked = subscription()
    async with open_desk(store, verifiers=1) as (relay, replies):
        for note in NOTES[:2]:
            await relay.publish(replies.batch(note))
            await wait_all_tasks_blocked()
        assert store.contents() == {note.id for note in NOTES[:2]}
        relay.subscribe(asked)
        await relay.answer(asked).send()
        store.release("saved")
        await wait_all_tasks_blocked()
        assert len(replies.heard) == 2
    assert ids(await waiting(asked.recipient)) == [NOTES[0].id, NOTES[1].id, "EOSE"]


async def test_events_that_the_store_cannot_take_are_told_so_and_not_delivered(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    store = ObedientStore()
    store.failing_ids = {NOTES[1].id}
    asked = subscription()
    async with open_desk(store) as (relay, replies):
        relay.subscribe(asked)
        await relay.answer(asked).send()
        await relay.publish(replies.batch(*NOTES[:3]))
        await wait_all_tasks_blocked()
        answers = [(NOTES[0].id, *STORED), (NOTES[1].id, *FAILED), (NOTES[2].id, *STORED)]
        assert replies.heard == answers
        statistics = relay.statistics().writer
        assert (statistics.outcomes, statistics.failure) == ({"stored": 2, "failed": 1}, None)
        assert statistics.arrived_to_stored.count == 2
        store.failing_ids.clear()
        await relay.publish(replies.batch(NOTES[1]))
        await wait_all_tasks_blocked()
        assert replies.heard == [*answers, (NOTES[1].id, *STORED)]
    assert ids(await waiting(asked.recipient)) == ["EOSE", NOTES[0].id, NOTES[2].id, NOTES[1].id]
    assert [(entry["log_level"], entry["event"], entry["events"]) for entry in logged] == [
        ("error", "events not stored", 1)
    ]


async def test_a_success_that_began_before_another_batch_failed_is_no_recovery(autojump_clock: MockClock) -> None:
    store = OneByOne(writers=2)
    store.failing["probe"] = "still gone"
    async with open_desk(store, verifiers=1) as (relay, replies):
        for note in NOTES[:2]:
            await relay.publish(replies.batch(note))
            await wait_all_tasks_blocked()
        await store.let_go(NOTES[1].id, "gone")
        await store.let_go(NOTES[0].id)
        assert relay.statistics().writer.failure == "gone"
        assert await relay.check() == "still gone"
        await relay.publish(replies.batch(NOTES[2]))
        await wait_all_tasks_blocked()
        await store.let_go(NOTES[2].id)
        assert await relay.check() is None


async def test_a_batch_of_which_nothing_was_taken_is_no_recovery(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    store.failing |= {"save_many": "gone", "probe": "still gone"}
    async with open_desk(store) as (relay, replies):
        await relay.publish(replies.batch(NOTES[0]))
        await wait_all_tasks_blocked()
        del store.failing["save_many"]
        store.failing_ids = {NOTES[1].id}
        await relay.publish(replies.batch(NOTES[1]))
        await wait_all_tasks_blocked()
        assert relay.statistics().writer.failure == "gone"
        await relay.publish(replies.batch(*NOTES[1:3]))
        await wait_all_tasks_blocked()
        assert relay.statistics().writer.failure is None


async def test_a_store_that_is_still_trying_is_not_healthy(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    async with open_desk(store) as (relay, _):
        assert await relay.check() is None
        store.trouble = "no answer from 127.0.0.1:9200"
        assert await relay.check() == "no answer from 127.0.0.1:9200"
        store.trouble = None
        assert await relay.check() is None
    assert store.calls["probe"] == 0


async def test_batches_linger_as_configured(autojump_clock: MockClock) -> None:
    """However many writers there are: one of them gathers, and the others leave to it what comes."""
    store = ObedientStore(writers=3)
    async with open_desk(store, verifiers=1, write_linger_seconds=0.5) as (relay, replies):
        started = trio.current_time()
        for note in NOTES[:3]:
            await relay.publish(replies.batch(note))
            await trio.sleep(0.2)
        assert store.batches == [[note.id for note in NOTES[:3]]]
        assert trio.current_time() - started == pytest.approx(0.6)
        assert len(replies.heard) == 3
