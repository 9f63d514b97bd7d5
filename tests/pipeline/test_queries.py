"""Stored queries: pages in order, then EOSE; a failure or a missed deadline is CLOSED, never EOSE."""

from __future__ import annotations

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.pipeline import LocalClient, ids, queries, subscription, waiting
from trio_relay import Filter, Subscription
from trio_relay.pipeline.statistics import QueriesStatistics

NOTES = [ALICE.event(str(age), created_at=NOW - age) for age in range(5)]


async def filled_store(page_events: int = 500) -> ObedientStore:
    store = ObedientStore(page_events)
    await store.save_many(NOTES)
    return store


@pytest.mark.parametrize("page_events", [1, 2, 500])
async def test_all_pages_come_in_order_and_then_eose(page_events: int) -> None:
    desk, target = queries(await filled_store(page_events)), subscription()
    assert await desk.answer(target).send() is True
    assert ids(await waiting(target.recipient)) == [*(note.id for note in NOTES), "EOSE"]


async def test_nothing_found_is_eose_alone() -> None:
    desk, target = queries(ObedientStore()), subscription()
    assert await desk.answer(target).send() is True
    assert await waiting(target.recipient) == [["EOSE", "sub"]]


@pytest.mark.parametrize(
    ("hopeless", "end"),
    [
        (Filter(limit=0), ["EOSE", "sub"]),
        (Filter(ids=frozenset(), limit=5), ["EOSE", "sub"]),
        (Filter(since=2, until=1, limit=5), ["EOSE", "sub"]),
    ],
)
async def test_filters_that_want_nothing_stored_get_eose_without_asking_the_store(
    hopeless: Filter, end: list[object]
) -> None:
    """NIP-01: with a limit of 0 no stored event is sent, and the subscription stays open."""
    store = await filled_store()
    desk, target = queries(store), subscription(hopeless, hopeless)
    assert await desk.answer(target).send() is True
    assert await waiting(target.recipient) == [end]
    assert store.calls["query"] == 0


async def test_a_limit_of_0_does_not_silence_the_other_filters() -> None:
    desk, target = queries(await filled_store()), subscription(Filter(limit=0), Filter(limit=1))
    await desk.answer(target).send()
    assert ids(await waiting(target.recipient)) == [NOTES[0].id, "EOSE"]


@pytest.mark.parametrize("method", ["query", "page"])
async def test_a_failing_store_is_closed_and_never_eose(method: str, logged: list[structlog.typing.EventDict]) -> None:
    store = await filled_store()
    store.failing[method] = "disk is gone"
    desk, target = queries(store), subscription()
    assert await desk.answer(target).send() is False
    assert await waiting(target.recipient) == [["CLOSED", "sub", "error: disk is gone"]]
    assert [(entry["log_level"], entry["error"]) for entry in logged] == [("error", "disk is gone")]
    assert desk.statistics().outcomes == {"failed": 1}


@pytest.mark.parametrize("method", ["query", "page"])
async def test_what_asks_for_too_much_at_once_is_closed_as_that_and_is_no_failure(
    method: str, logged: list[structlog.typing.EventDict]
) -> None:
    store = await filled_store()
    store.too_large[method] = "ask for less"
    desk, target = queries(store), subscription()
    assert await desk.answer(target).send() is False
    assert await waiting(target.recipient) == [["CLOSED", "sub", "invalid: ask for less"]]
    assert (logged, desk.statistics().outcomes) == ([], {"too_large": 1})


@pytest.mark.parametrize("method", ["query", "page"])
async def test_a_query_that_takes_too_long_is_closed_and_its_work_ends(method: str, autojump_clock: MockClock) -> None:
    store = await filled_store()
    store.block(method)
    desk, target = queries(store, seconds=2.5), subscription()
    started = trio.current_time()
    assert await desk.answer(target).send() is False
    assert trio.current_time() - started == 2.5
    assert await waiting(target.recipient) == [
        ["CLOSED", "sub", "error: the query took more than 2.5 seconds (query_seconds)"]
    ]
    assert store.cancelled[method] == 1
    assert desk.statistics().outcomes == {"timed_out": 1}


async def test_what_was_found_before_the_deadline_has_been_sent(autojump_clock: MockClock) -> None:
    store = await filled_store(page_events=1)
    recipient = LocalClient(most_bytes=800)  # one event takes over half: the next waits
    desk, target = queries(store, seconds=1), subscription(recipient=recipient)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.answer(target).send)
        await trio.sleep(0.5)
        store.block("page")
        assert ids(await waiting(recipient)) == [NOTES[0].id]
        await trio.sleep(0.5)
        assert ids(await waiting(recipient)) == [NOTES[1].id]
    assert ids(await waiting(recipient)) == ["CLOSED"]


async def test_the_deadline_does_not_count_how_slowly_the_client_reads(autojump_clock: MockClock) -> None:
    recipient = LocalClient(most_bytes=800)
    desk, target = queries(await filled_store(page_events=1), seconds=1), subscription(recipient=recipient)
    seen: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.answer(target).send)
        for _ in range(len(NOTES) + 1):
            await trio.sleep(100)
            seen += ids(await waiting(recipient))
    assert seen == [*(note.id for note in NOTES), "EOSE"]


async def test_each_page_has_the_whole_time(autojump_clock: MockClock) -> None:
    class Slow(ObedientStore):
        async def _pass(self, method: str) -> None:
            await trio.sleep(0.9)

    store = Slow(page_events=1)
    await store.save_many(NOTES[:3])
    desk, target = queries(store, seconds=1.9), subscription()
    started = trio.current_time()
    assert await desk.answer(target).send() is True
    assert trio.current_time() - started == pytest.approx(4 * 0.9)
    assert desk.statistics().seconds.total == pytest.approx(4 * 0.9)


@pytest.mark.parametrize("method", ["query", "page"])
async def test_cancelling_ends_the_stores_work_and_says_nothing(method: str) -> None:
    store = await filled_store()
    store.block(method)
    desk, target = queries(store), subscription()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.answer(target).send)
        await wait_all_tasks_blocked()
        none = queries(store).statistics().seconds
        assert desk.statistics() == QueriesStatistics(1, 0, {}, none, {}, none)
        nursery.cancel_scope.cancel()
    assert store.cancelled[method] == 1
    assert await waiting(target.recipient) == []
    assert desk.statistics().running == 0


async def test_a_query_that_comes_back_as_its_subscription_ends_is_silent() -> None:
    """The page has arrived, the task has not run yet, and CLOSE comes in between."""
    store = await filled_store()
    store.block("page")
    desk, target = queries(store), subscription()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.answer(target).send)
        await wait_all_tasks_blocked()
        store.release("page")
        end(target, nursery.cancel_scope)
    assert await waiting(target.recipient) == []


async def test_a_query_that_fails_as_its_subscription_ends_is_silent() -> None:
    store = await filled_store()
    store.block("page")
    store.failing["page"] = "disk is gone"
    desk, target = queries(store), subscription()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.answer(target).send)
        await wait_all_tasks_blocked()
        store.release("page")
        end(target, nursery.cancel_scope)
    assert await waiting(target.recipient) == []


def end(target: Subscription, scope: trio.CancelScope) -> None:
    """What a client's task does at CLOSE."""
    target.end()
    scope.cancel()


async def test_statistics_count_answers_and_what_runs() -> None:
    store = await filled_store()
    desk = queries(store)
    await desk.answer(subscription()).send()
    await desk.answer(subscription(Filter(limit=0))).send()
    statistics = desk.statistics()
    assert (statistics.running, statistics.outcomes, statistics.seconds.count) == (0, {"answered": 2}, 2)


async def test_more_live_events_than_can_be_remembered_close_the_subscription(mock_clock: MockClock) -> None:
    """What was sent live can't be told apart from the stored events any more, and none may come twice."""
    store = await filled_store()
    store.block("query")
    desk, target = queries(store), subscription(recipient=LocalClient(2**30))
    answered: list[bool] = []

    async def answer() -> None:
        answered.append(await desk.answer(target).send())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        await wait_all_tasks_blocked()
        for number in range(10_001):
            target.deliver(f"{number:064}", b"{}", {})
        store.release("query")
    assert answered == [False]
    messages = await waiting(target.recipient)
    assert len(messages) == 10_001
    reason = "error: too many live events came before the stored ones were sent; ask again"
    assert messages[-1] == ["CLOSED", "sub", reason]
    assert desk.statistics().outcomes == {"lost_track": 1}
