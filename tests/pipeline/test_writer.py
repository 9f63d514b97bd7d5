"""The writer: one commit a batch, one answer an event, and a failing store is told of and recovered from."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.pipeline import Replies
from trio_relay import Event, Saved, Submission
from trio_relay.pipeline.pending_ids import PendingIds
from trio_relay.pipeline.recipient import FlushCollector
from trio_relay.pipeline.writer import Writer

OLD, NEW = ALICE.event("old", kind=0, created_at=NOW - 1), ALICE.event("new", kind=0)
NOTE, OTHER = ALICE.event("note"), BOB.event("other")
DELETED = ALICE.event("regretted", created_at=NOW - 5)
DELETION = ALICE.event(kind=5, tags=[["e", DELETED.id]])

STORED = (True, "")
DUPLICATE = (True, "duplicate: already have this event")
SUPERSEDED = (False, "duplicate: have a newer version")
GONE = (False, "blocked: deleted by its author, or older than a version that has expired")


class Stage:
    """A writer between two channels."""

    def __init__(self, store: ObedientStore, most: int = 100) -> None:
        self.pending_ids = PendingIds()
        self.collector = FlushCollector()
        self.writer = Writer(store, most, self.pending_ids, self.collector)
        self.replies = Replies()
        self.intake, self._verified = trio.open_memory_channel[list[Submission]](10)
        self._live_in, self._live = trio.open_memory_channel[list[Submission]](10)

    async def write(self, *batches: Sequence[Event]) -> list[list[Event]]:
        """Send batches, all waiting at once; gives the batches that go on to delivery."""
        for batch in batches:
            self.intake.send_nowait(self.replies.batch(*batch))
        self.intake.close()
        with trio.fail_after(60):
            await self.writer.run(self._verified, self._live_in)
            return [[submission.event for submission in batch] async for batch in self._live]


async def test_each_event_gets_the_answer_of_its_outcome() -> None:
    store = ObedientStore()
    await store.save_many([NEW, DELETION])
    stage = Stage(store)
    assert await stage.write([NOTE, NEW, OLD, DELETED, OTHER]) == [[NOTE, OTHER]]
    assert stage.replies.heard == [
        (NOTE.id, *STORED),
        (NEW.id, *DUPLICATE),
        (OLD.id, *SUPERSEDED),
        (DELETED.id, *GONE),
        (OTHER.id, *STORED),
    ]
    assert stage.writer.statistics().outcomes == {"stored": 2, "duplicate": 1, "superseded": 1, "deleted": 1}


async def test_what_waits_becomes_one_commit() -> None:
    store = ObedientStore()
    stage = Stage(store)
    await stage.write([NOTE], [OTHER], [NEW])
    assert store.batches == [[NOTE.id, OTHER.id, NEW.id]]
    statistics = stage.writer.statistics()
    assert (statistics.batches.count, statistics.batches.total) == (1, 3)
    assert statistics.seconds.count == 1


@pytest.mark.slow
async def test_deletions_of_ten_thousand_events_each_have_a_commit_of_their_own() -> None:
    """Each takes a second: a batch of megabytes of them would hold up all others for as many."""
    deletions = [
        ALICE.event(f"{number}", kind=5, tags=[["e", f"{tag:064x}"] for tag in range(10_000)]) for number in range(3)
    ]
    store = ObedientStore()
    await Stage(store).write([NOTE], *([one] for one in deletions), [OTHER])
    first, second, third = (one.id for one in deletions)
    assert store.batches == [[NOTE.id, first], [second], [third], [OTHER.id]]


async def test_a_commit_is_no_larger_than_configured() -> None:
    store = ObedientStore()
    assert await Stage(store, most=2).write([NOTE], [OTHER], [NEW]) == [[NOTE, OTHER], [NEW]]
    assert store.batches == [[NOTE.id, OTHER.id], [NEW.id]]


async def test_an_event_twice_in_a_batch_is_stored_and_delivered_once() -> None:
    stage = Stage(ObedientStore())
    assert await stage.write([NOTE], [NOTE]) == [[NOTE]]
    assert stage.replies.heard == [(NOTE.id, *STORED), (NOTE.id, *DUPLICATE)]
    assert stage.pending_ids == {NOTE.id}


async def test_ids_are_marked_before_they_can_be_seen_and_until_they_are_delivered() -> None:
    store = ObedientStore()
    stage = Stage(store)
    store.block("save_many")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.write, [NOTE, OTHER])
        await wait_all_tasks_blocked()
        assert stage.pending_ids == {NOTE.id, OTHER.id}
        store.release("save_many")
    assert stage.pending_ids == {NOTE.id, OTHER.id}


async def test_ids_that_go_no_further_are_not_marked() -> None:
    store = ObedientStore()
    await store.save_many([NEW, DELETION])
    stage = Stage(store)
    await stage.write([NEW, OLD, DELETED])
    assert stage.pending_ids == set()


async def test_a_duplicate_keeps_the_mark_of_an_event_that_is_still_to_be_delivered() -> None:
    store = ObedientStore()
    await store.save_many([NOTE])
    stage = Stage(store)
    stage.pending_ids.add(NOTE.id)
    await stage.write([NOTE])
    assert stage.pending_ids == {NOTE.id}


async def test_a_failing_store_answers_the_whole_batch_with_an_error(
    logged: list[structlog.typing.EventDict],
) -> None:
    store = ObedientStore()
    store.failing["save_many"] = "no space left"
    stage = Stage(store)
    assert await stage.write([NOTE, OTHER]) == []
    error = (False, "error: no space left")
    assert stage.replies.heard == [(NOTE.id, *error), (OTHER.id, *error)]
    assert stage.pending_ids == set()
    statistics = stage.writer.statistics()
    assert (statistics.outcomes, statistics.failure) == ({"failed": 2}, "no space left")
    assert [(entry["log_level"], entry["events"], entry["error"]) for entry in logged] == [
        ("error", 2, "no space left")
    ]


async def test_health_asks_the_store_only_after_a_failure() -> None:
    store = ObedientStore()
    stage = Stage(store)
    assert await stage.writer.check() is None
    assert store.calls["probe"] == 0


async def test_health_recovers_by_a_probe_once_a_second(
    logged: list[structlog.typing.EventDict], autojump_clock: MockClock
) -> None:
    store = ObedientStore()
    stage = Stage(store)
    store.failing |= {"save_many": "no space left", "probe": "still no space"}
    await stage.write([NOTE])
    assert await stage.writer.check() == "still no space"
    del store.failing["probe"]
    assert await stage.writer.check() == "still no space"
    await trio.sleep(1)
    assert await stage.writer.check() is None
    assert await stage.writer.check() is None
    assert store.calls["probe"] == 2
    assert [entry["event"] for entry in logged] == ["batch not stored", "the store works again"]


async def test_health_recovers_by_the_next_batch_that_is_stored() -> None:
    store = ObedientStore()
    stage = Stage(store)
    store.failing["save_many"] = "no space left"
    async with trio.open_nursery() as nursery:
        feed = stage.intake.clone()
        nursery.start_soon(stage.write, [NOTE])
        await wait_all_tasks_blocked()
        assert stage.writer.statistics().failure == "no space left"
        del store.failing["save_many"]
        feed.send_nowait(stage.replies.batch(OTHER))
        feed.close()
    assert stage.writer.statistics().failure is None
    assert stage.replies.heard == [(NOTE.id, False, "error: no space left"), (OTHER.id, *STORED)]


async def test_a_store_that_breaks_its_promise_ends_the_stage() -> None:
    class Forgetful(ObedientStore):
        async def save_many(self, events: Sequence[Event]) -> list[Saved]:
            return (await super().save_many(events))[:-1]

    with pytest.raises(ValueError, match="zip"):
        await Stage(Forgetful()).write([NOTE, OTHER])


async def test_latency_is_counted_from_the_wire_to_the_commit(autojump_clock: MockClock) -> None:
    stage = Stage(ObedientStore())
    submissions = stage.replies.batch(NOTE, OTHER)
    await trio.sleep(3)
    stage.intake.send_nowait(submissions)
    await stage.write()
    latency = stage.writer.statistics().arrived_to_stored
    assert latency.count == 2
    assert latency.total == pytest.approx(6)


async def test_the_answers_to_a_batch_are_on_their_way_before_it_goes_to_delivery() -> None:
    """They are sent together, and by this stage: nobody else carries them out here."""
    stage = Stage(ObedientStore())
    sent: list[str] = []

    def reply(event: Event, _accepted: bool, _reason: str) -> None:
        assert stage.collector.current is not None
        stage.collector.current.append(lambda: sent.append(event.id))

    stage.intake.send_nowait([Submission(event, reply, trio.current_time()) for event in (NOTE, OTHER)])
    assert await stage.write() == [[NOTE, OTHER]]
    assert sent == [NOTE.id, OTHER.id]


async def test_after_the_answers_to_a_batch_nothing_is_collected_any_more() -> None:
    stage = Stage(ObedientStore())
    await stage.write([NOTE])
    assert stage.collector.current is None
