"""What is told of how the relay does: rates between two looks, latencies, and the rings of the last hour and day."""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import pairwise

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from trio_relay import MemoryStore, open_relay
from trio_relay.net import statistics, vitals
from trio_relay.pipeline import histogram
from trio_relay.pipeline import statistics as of_stages

NONE = of_stages.Distribution((0.1, 1.0), (0, 0, 0), 0.0)


def look(at: float, total: float = 0, level: float = 0, latency: of_stages.Distribution = NONE) -> vitals.Look:
    return vitals.Look(at, {"stored": total}, {"connections": level}, latency)


def test_totals_become_rates_and_levels_stay_as_they_are() -> None:
    point = vitals.between(look(100, 10, 3), look(105, 20, 7))
    assert (point.at, point.values) == (105, {"stored": 2.0, "connections": 7})


def test_a_total_that_has_begun_anew_is_no_negative_rate() -> None:
    assert vitals.between(look(100, 10), look(105, 0)).values["stored"] == 0


def test_latencies_are_those_of_what_came_in_between() -> None:
    before, after = (
        of_stages.Distribution((0.1, 1.0), (90, 0, 0), 1.0),
        of_stages.Distribution((0.1, 1.0), (90, 10, 0), 9.0),
    )
    values = vitals.between(look(0, latency=before), look(10, latency=after)).values
    assert values["p50"] == pytest.approx(0.1 + 0.9 / 2)
    assert values["p99"] == pytest.approx(0.1 + 0.9 * 0.99)


@given(values=st.lists(st.floats(0, 20), min_size=1), share=st.floats(0, 1))
def test_a_quantile_is_within_the_bounds_of_the_value_that_it_stands_for(values: list[float], share: float) -> None:
    seen = histogram.Histogram(histogram.SECONDS)
    before = seen.statistics()
    for value in values:
        seen.observe(value)
    found = vitals.quantile(before, seen.statistics(), share)
    exact = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
    bounds = [0.0, *histogram.SECONDS]
    place = bisect_left(histogram.SECONDS, exact)
    assert found is not None
    assert bounds[place] - 1e-9 <= found <= bounds[min(place + 1, len(bounds) - 1)] + 1e-9


def test_nothing_has_no_latency() -> None:
    assert vitals.quantile(NONE, NONE, 0.5) is None
    assert "p50" not in vitals.between(look(0), look(1)).values


async def test_an_hour_and_a_day_are_kept_and_no_more(autojump_clock: MockClock) -> None:
    async def take() -> vitals.Look:
        return look(trio.current_time(), total=trio.current_time() * 3)

    kept = vitals.Vitals(take)
    with trio.move_on_after(2 * 86_400):
        await kept.run()
    hour, day = await kept.over("hour"), await kept.over("day")
    assert (len(hour), len(day)) == (360, 288)
    for points, seconds in ((hour, 10), (day, 300)):
        times = [point.at for point in points]
        assert {later - earlier for earlier, later in pairwise(times)} == {seconds}
        assert vitals.column(points, "stored") == [3.0] * len(times)


async def test_the_present_is_a_second_old_at_most_and_its_rates_are_of_the_last_seconds(
    autojump_clock: MockClock,
) -> None:
    looks = 0

    async def take() -> vitals.Look:
        nonlocal looks
        looks += 1
        return look(trio.current_time(), total=max(0.0, trio.current_time() - 100) * 7)

    kept = vitals.Vitals(take)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        await trio.sleep(103)
        before = looks
        assert (await kept.now()).values["stored"] == pytest.approx(7 * 3 / 13)
        assert await kept.now() is await kept.now()
        assert looks == before + 1
        await trio.sleep(1)
        assert (await kept.now()).at == 104
        nursery.cancel_scope.cancel()


async def test_a_look_tells_events_by_what_became_of_them() -> None:
    async with open_relay(MemoryStore()) as relay:
        nothing = statistics.NetStatistics(3, 9, 0, {}, statistics.RefusalStatistics({}, {}, {}), {}, {"out": 5}, {}, 0)
        found = vitals.look_at(7.0, relay.statistics(), nothing, 1.5, 1_000)
    assert set(vitals.OUTCOMES) <= found.totals.keys()
    assert (found.totals["accepted"], found.totals["cpu"]) == (9, 1.5)
    assert (found.levels["connections"], found.levels["resident_bytes"], found.levels["outgoing_bytes"]) == (
        3,
        1_000,
        5,
    )


async def test_what_is_stored_is_counted_now_and_then_and_followed_in_between(autojump_clock: MockClock) -> None:
    stored, counted = 5.0, 1_000

    async def take() -> vitals.Look:
        return look(trio.current_time(), total=stored)

    async def count() -> int | None:
        return counted if trio.current_time() < 1_000 else None

    kept = vitals.Vitals(take, count)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        assert "events_stored" not in (await kept.now()).values
        await trio.sleep(6)
        assert (await kept.now()).values["events_stored"] == 1_000
        stored += 7
        await trio.sleep(2)
        assert (await kept.now()).values["events_stored"] == 1_007
        counted = 900  # the rest was removed
        await trio.sleep(600)
        assert (await kept.now()).values["events_stored"] == 900
        stored += 1
        await trio.sleep(600)
        assert (await kept.now()).values["events_stored"] == 901, "while nobody can tell, what was counted stands"
        nursery.cancel_scope.cancel()
