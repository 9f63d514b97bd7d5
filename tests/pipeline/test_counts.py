"""COUNT (NIP-45) at the front desk: one number for all filters, under the deadline of a query."""

from __future__ import annotations

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.pipeline import queries
from trio_relay import Filter
from trio_relay.nostr.access import NOBODY
from trio_relay.nostr.errors import Prefix, Rejected

NOTES = [ALICE.event(str(age), created_at=NOW - age) for age in range(5)]
OTHER = BOB.event("other", kind=7)


async def filled_store() -> ObedientStore:
    store = ObedientStore(page_events=1)
    await store.save_many([*NOTES, OTHER])
    return store


@pytest.mark.parametrize(
    ("filters", "number"),
    [
        ([Filter()], 6),
        ([Filter(kinds=frozenset({7}))], 1),
        ([Filter(kinds=frozenset({4}))], 0),
        ([Filter(limit=2)], 6),
        ([Filter(limit=0)], 6),
        ([Filter(since=NOW - 2), Filter(authors=frozenset({ALICE.pubkey}), limit=1)], 6),
        ([Filter(since=NOW), Filter(until=NOW)], 6),
        ([Filter(ids=frozenset()), Filter(since=NOW)], 2),
    ],
)
async def test_an_event_counts_once_whatever_limits_and_however_many_filters_there_are(
    filters: list[Filter], number: int
) -> None:
    desk = queries(await filled_store())
    assert await desk.count(filters, NOBODY) == number
    assert desk.statistics().counts == {"answered": 1}
    assert desk.statistics().outcomes == {}


@pytest.mark.parametrize("hopeless", [Filter(ids=frozenset()), Filter(since=2, until=1)])
async def test_filters_that_nothing_can_match_are_counted_without_asking_the_store(hopeless: Filter) -> None:
    store = await filled_store()
    assert await queries(store).count([hopeless, hopeless], NOBODY) == 0
    assert store.calls["count"] == 0


async def test_a_count_that_takes_too_long_is_refused_and_its_work_ends(autojump_clock: MockClock) -> None:
    store = await filled_store()
    store.block("count")
    desk = queries(store, seconds=2.5)
    started = trio.current_time()
    with pytest.raises(Rejected) as refused:
        await desk.count([Filter()], NOBODY)
    assert trio.current_time() - started == 2.5
    assert str(refused.value) == "error: the query took more than 2.5 seconds (query_seconds)"
    assert store.cancelled["count"] == 1
    assert desk.statistics().counts == {"timed_out": 1}


async def test_a_failing_store_refuses(logged: list[structlog.typing.EventDict]) -> None:
    store = await filled_store()
    store.failing["count"] = "disk is gone"
    desk = queries(store)
    with pytest.raises(Rejected) as refused:
        await desk.count([Filter()], NOBODY)
    assert (refused.value.prefix, refused.value.reason) == (Prefix.ERROR, "disk is gone")
    assert [(entry["log_level"], entry["error"]) for entry in logged] == [("error", "disk is gone")]
    assert desk.statistics().counts == {"failed": 1}


async def test_a_count_that_asks_for_too_much_at_once_is_refused_as_that(
    logged: list[structlog.typing.EventDict],
) -> None:
    store = await filled_store()
    store.too_large["count"] = "ask for less"
    desk = queries(store)
    with pytest.raises(Rejected, match=r"^invalid: ask for less$"):
        await desk.count([Filter()], NOBODY)
    assert (logged, desk.statistics().counts) == ([], {"too_large": 1})


async def test_a_count_runs_like_a_query_and_cancelling_it_ends_the_stores_work() -> None:
    store = await filled_store()
    store.block("count")
    desk = queries(store)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.count, [Filter()], NOBODY)
        await wait_all_tasks_blocked()
        assert desk.statistics().running == 1
        nursery.cancel_scope.cancel()
    assert store.cancelled["count"] == 1
    assert (desk.statistics().running, desk.statistics().counts) == (0, {})
