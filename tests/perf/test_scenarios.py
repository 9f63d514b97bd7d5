"""Each scenario of SQLite on a tiny load, against the real program: it runs, and what it counts is right."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from perf.comparing import compare
from perf.corpus import newest_filled
from perf.filling import Stores
from perf.importing import PIPELINE
from perf.measuring import load, measure
from perf.plan import Plan
from perf.results import CLOSED, PACED, Sample
from perf.scenarios import SCENARIOS, Scenario
from perf.servers import OURS, Server, relay_of, running
from tests.perf.counting import check, counted_filters, matches
from tests.support.oracles import naive_query
from trio_relay.nostr import hyperloglog

SCALE = 0.001
SOME = ("ingest", "id-1m", "half", "import")
"""Scenarios that stand for all: what is written, read of a filled store, asked for at a rate, and done by a command."""


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """What the relay finds, made once for all scenarios."""
    return Stores(tmp_path_factory.mktemp("stores"), print)


class Library:
    """Relays that store nothing new, kept running: what a start takes is spared for all scenarios but one."""

    def __init__(self, stores: Stores, ends: ExitStack) -> None:
        self._stores = stores
        self._ends = ends
        self._servers: dict[Path | None, Server] = {}

    def measure(self, scenario: Scenario) -> list[Sample]:
        filled = self._stores.find(OURS, scenario)
        if filled not in self._servers:
            self._servers[filled] = self._ends.enter_context(running(OURS, filled))
        return [load(self._servers[filled], OURS.name, scenario.plan)]


@pytest.fixture(scope="module")
def library(stores: Stores) -> Iterator[Library]:
    with ExitStack() as ends:
        yield Library(stores, ends)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(one.name, marks=() if one.name in SOME else pytest.mark.exhaustive)
        for one in SCENARIOS.values()
        if not one.is_on_opensearch
    ],
)
def test_a_scenario_counts_all_that_it_asks_for(name: str, stores: Stores, library: Library) -> None:
    scenario = SCENARIOS[name].scaled(SCALE)
    samples = library.measure(scenario) if stores_nothing(scenario.plan) else list(measure(scenario, OURS, stores))
    assert [sample.failure for sample in samples] == [""] * len(samples)
    assert [sample.part for sample in samples] == ([CLOSED, PACED] if scenario.share else [CLOSED])
    for sample in samples:
        check(sample, scenario.plan)
    if scenario.share:
        closed, paced = samples
        assert closed.counted is not None
        assert paced.rate == pytest.approx(scenario.share * closed.counted.operations / closed.counted.seconds)


def stores_nothing(plan: Plan) -> bool:
    return plan.load in ("read", "count") or (plan.load == "publish" and plan.first + plan.count <= plan.stored)


@pytest.mark.parametrize(
    ("name", "has_registers"),
    [("count-1m", False), ("count-hll-1m", True), ("count-popular-1m", False), ("count-popular-hll-1m", True)],
)
def test_what_is_counted_has_registers_or_not_as_the_scenario_says(name: str, has_registers: bool) -> None:
    plan = SCENARIOS[name].scaled(SCALE).plan
    filters = list(counted_filters(plan, newest_filled(plan.filled)))
    assert len(filters) == plan.count
    assert {hyperloglog.canonical_offset([filter_]) is not None for filter_ in filters} == {has_registers}


@pytest.mark.slow
def test_the_popular_are_followed_by_half_of_those_who_follow() -> None:
    plan = SCENARIOS["count-popular-1m"].plan
    stored = newest_filled(3_000)
    filters = list(counted_filters(msgspec.structs.replace(plan, count=20), stored))
    lists = sum(event.kind == 3 for event in stored)
    assert lists > 20
    assert all(len(naive_query([filter_], stored)) > lists / 4 for filter_ in filters)


@pytest.mark.slow
def test_the_same_is_counted_with_registers_and_without() -> None:
    plan = SCENARIOS["count-popular-1m"].scaled(SCALE).plan
    assert matches(plan) == matches(SCENARIOS["count-popular-hll-1m"].scaled(SCALE).plan)


def test_a_scaled_scenario_asks_for_no_more_than_the_whole_one() -> None:
    for scenario in SCENARIOS.values():
        whole, less = scenario.plan, scenario.scaled(SCALE).plan
        for name in ("count", "first", "stored", "filled", "subscribers", "differing"):
            assert getattr(less, name) <= getattr(whole, name), scenario.name
            assert bool(getattr(less, name)) == bool(getattr(whole, name)), scenario.name


@pytest.mark.exhaustive
def test_browsers_can_have_the_console_open_meanwhile(stores: Stores) -> None:
    watched = relay_of(sys.executable, "watched", path=None, browsers=2)
    [sample] = measure(SCENARIOS["id"].scaled(SCALE), watched, stores)
    assert sample.failure == ""
    [closed] = measure(SCENARIOS["id"].scaled(SCALE), replace(watched, environment=OURS.environment), stores)
    assert "a browser was not let into the console" in closed.failure


@pytest.mark.slow
def test_an_import_is_set_beside_the_pipeline_alone(stores: Stores) -> None:
    scenario = SCENARIOS["import"].scaled(SCALE)
    run = compare(scenario, [OURS], 1, stores, {}, lambda _line: None)
    assert {row.server for row in run.figures} == {OURS.name, PIPELINE.name}
    (verdict,) = run.verdicts
    assert verdict.bar == "rate at least 0.9 x that of pipeline"
    assert verdict.value is not None
