"""`open_relay`: leaving it lets all that was accepted through, and a stage that fails ends it."""

from __future__ import annotations

import pytest
import structlog
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.pipeline import Replies, open_desk, subscription
from trio_relay import Limits, MemoryStore, RelayOptions, open_relay
from trio_relay.pipeline import stages
from trio_relay.pipeline.statistics import ChannelStatistics

NOTES = [ALICE.event(str(number)) for number in range(20)]

pytestmark = pytest.mark.usefixtures("inline_threads")


class Broken(Exception):
    """What a stage dies of."""


async def test_leaving_stores_and_answers_all_that_was_accepted() -> None:
    store = ObedientStore()
    store.block("save_many")
    async with open_desk(store) as (relay, replies):
        for note in NOTES:
            await relay.publish(replies.batch(note))
        assert replies.heard == []
        store.release("save_many")
    assert store.contents() == {note.id for note in NOTES}
    assert sorted(replies.heard) == sorted((note.id, True, "") for note in NOTES)


async def test_leaving_with_nothing_to_do_takes_no_time(autojump_clock: MockClock) -> None:
    started = trio.current_time()
    async with open_desk(MemoryStore()):
        pass
    assert trio.current_time() == started


async def test_leaving_waits_for_a_slow_store_and_no_longer_than_drain_seconds(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    store = ObedientStore()
    store.block("save_many")
    started = trio.current_time()
    async with open_desk(store, drain_seconds=7) as (relay, replies):
        await relay.publish(replies.batch(*NOTES))
    assert trio.current_time() - started == 7
    assert replies.heard == []
    assert [(entry["log_level"], entry["seconds"]) for entry in logged] == [("warning", 7.0)]


async def test_a_store_that_recovers_within_drain_seconds_loses_nothing(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    store = ObedientStore()
    store.block("save_many")

    async def release_later() -> None:
        await trio.sleep(6)
        store.release("save_many")

    async with trio.open_nursery() as nursery, open_desk(store, drain_seconds=7) as (relay, replies):
        nursery.start_soon(release_later)
        await relay.publish(replies.batch(*NOTES))
    assert replies.accepted == store.contents() == {note.id for note in NOTES}
    assert logged == []


async def test_with_no_time_to_drain_nothing_is_answered_that_is_not_stored(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    async with open_desk(store, drain_seconds=0) as (relay, replies):
        await relay.publish(replies.batch(*NOTES))
    assert replies.accepted <= store.contents()


@pytest.mark.parametrize("method", ["known", "save_many"])
async def test_a_stage_that_fails_cancels_the_body_and_comes_out(method: str) -> None:
    class Failing(ObedientStore):
        async def _pass(self, called: str) -> None:
            if called == method:
                raise Broken(called)

    was_cancelled = False
    with pytest.RaisesGroup(pytest.RaisesExc(Broken, match=method), flatten_subgroups=True):
        async with open_desk(Failing()) as (relay, replies):
            await relay.publish(replies.batch(NOTES[0]))
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                was_cancelled = True
                raise
    assert was_cancelled
    assert replies.heard == []


async def test_an_exception_in_the_body_ends_the_stages_and_comes_out() -> None:
    store = ObedientStore()
    store.block("save_many")
    with pytest.RaisesGroup(Broken, flatten_subgroups=True):
        async with open_desk(store) as (relay, replies):
            await relay.publish(replies.batch(NOTES[0]))
            await wait_all_tasks_blocked()
            raise Broken
    assert store.cancelled["save_many"] == 1


async def test_publishing_after_the_end_is_an_error() -> None:
    async with open_desk(MemoryStore()) as (relay, replies):
        pass
    with pytest.raises(trio.ClosedResourceError):
        await relay.publish(replies.batch(NOTES[0]))


async def test_admission_refuses_by_the_limits_and_the_relays_clock_and_counts() -> None:
    ahead = ALICE.event(created_at=NOW + 11)
    async with open_desk(MemoryStore(), limits=Limits(created_at_ahead=10, max_content_length=1)) as (relay, _):
        assert relay.admission.admit(ALICE.event("a", created_at=NOW + 10)) is None
        assert (
            str(relay.admission.admit(ahead)) == "invalid: created_at is more than 10 seconds ahead (created_at_ahead)"
        )
        assert str(relay.admission.admit(replace(NOTES[0], content="b"))) == "invalid: id is not the hash of the event"
        assert relay.statistics().refused == {"invalid": 2}


async def test_the_relays_health_is_the_writers(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    async with open_desk(store) as (relay, replies):
        assert await relay.check() is None
        store.failing |= {"save_many": "no space left", "probe": "no space left"}
        await relay.publish(replies.batch(NOTES[0]))
        await wait_all_tasks_blocked()
        assert await relay.check() == "no space left"
        store.failing.clear()
        await trio.sleep(1)
        assert await relay.check() is None


async def test_statistics_show_what_waits_where() -> None:
    store = ObedientStore()
    store.block("save_many")
    async with open_desk(store, verifiers=1, write_batch=1, verify_batch=1, channel_parcels=2) as (relay, replies):
        await wait_all_tasks_blocked()
        for note in NOTES[:3]:
            await relay.publish(replies.batch(note))
            await wait_all_tasks_blocked()
        statistics = relay.statistics()
        assert statistics.channels == {
            "intake": ChannelStatistics(0, 0, 2),
            "verified": ChannelStatistics(2, 2, 2),
            "live": ChannelStatistics(0, 0, 1),
        }
        relay.subscribe(subscription())
        store.release("save_many")
        await wait_all_tasks_blocked()
        statistics = relay.statistics()
        assert statistics.channels["verified"] == ChannelStatistics(0, 2, 2)
        assert statistics.writer.outcomes == {"stored": 3}
        assert (statistics.broadcaster.subscriptions, statistics.broadcaster.events) == (1, 3)
        assert (statistics.verifiers, statistics.signatures) == (1, relay.stages.backend.name)
        assert statistics.store.backend == "memory"


@pytest.mark.parametrize(("configured", "used"), [(0, 3), (5, 5)])
async def test_there_are_as_many_verifiers_as_cores_unless_configured(
    configured: int, used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "cores", lambda: 3)
    store = ObedientStore()
    store.block("known")
    async with open_desk(store, verifiers=configured, verify_batch=1) as (relay, replies):
        assert relay.stages.width == used
        for note in NOTES:
            await relay.publish(replies.batch(note))
        await wait_all_tasks_blocked()
        assert store.calls["known"] == used
        store.release("known")


@pytest.mark.parametrize(("affinity", "cpus", "cores"), [({0, 2}, 8, 2), (None, 8, 8), (None, None, 1)])
def test_cores_are_those_that_the_process_may_use(
    affinity: set[int] | None, cpus: int | None, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    if affinity is not None:
        monkeypatch.setattr("os.sched_getaffinity", lambda _process: affinity, raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: cpus)
    assert stages.cores() == cores


async def test_options_limits_and_clock_have_defaults() -> None:
    replies = Replies()
    async with open_relay(MemoryStore()) as relay:
        assert relay.limits == Limits()
        assert relay.admission.admit(BOB.event("today", created_at=2**33 - 1)) is not None
        assert relay.statistics().channels["intake"].capacity == RelayOptions().channel_parcels
        await relay.publish(replies.batch(BOB.event("past")))
    assert [accepted for _, accepted, _ in replies.heard] == [True]


async def test_a_forced_backend_is_the_one_in_use() -> None:
    async with open_desk(MemoryStore(), signatures="coincurve") as (relay, replies):
        await relay.publish(replies.batch(NOTES[0]))
        assert relay.statistics().signatures == "coincurve"
    assert replies.accepted == {NOTES[0].id}
