"""Each scenario on a tiny load, against the real program: it runs, and what it counts is right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from perf.corpus import newest_filled, signed_events
from perf.filling import Stores
from perf.measuring import load, measure
from perf.plan import Plan
from perf.requests import requests
from perf.results import CLOSED, PACED, Sample
from perf.scenarios import SCENARIOS, Scenario
from perf.servers import OURS, Server, running
from tests.oracles import naive_query
from trio_relay.nostr.message import Subscribe, parse

SCALE = 0.001


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
@pytest.mark.parametrize("name", SCENARIOS)
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
    return plan.load == "read" or (plan.load == "publish" and plan.first + plan.count <= plan.stored)


def check(sample: Sample, plan: Plan) -> None:
    counted = sample.counted
    assert counted is not None
    operations, least_messages, kinds = expected(plan)
    assert counted.operations == operations
    # Beside the answers, who asks also gets what is published meanwhile and fits an open subscription.
    assert counted.messages >= least_messages if plan.load == "mix" else counted.messages == least_messages
    assert set(counted.latencies) - {"live"} == kinds - {"live"}
    assert ("live" in counted.latencies) == ("live" in kinds) or plan.load == "mix"
    assert all(0 < p50 <= p99 for p50, p99 in counted.latencies.values())
    assert counted.seconds > 0
    assert counted.cpu > 0
    assert sample.cpu >= 0
    assert all(rss > 10_000_000 for rss in sample.rss)


def expected(plan: Plan) -> tuple[int, int, set[str]]:
    """Operations, messages and kinds of answers."""
    match plan.load:
        case "publish":
            return plan.count * plan.laps, plan.count * plan.laps, {"OK"}
        case "read":
            found = sum(map(len, answers(plan)))
            assert found >= plan.count / 2, "requests that find little measure little"
            return plan.count, plan.count + found, {"EOSE"}
        case "follow":
            notes = [event for event in signed_events(plan.corpus)[plan.first :] if event.kind == 1][: plan.count]
            deliveries = len(notes) * plan.subscribers
            return deliveries, deliveries + len(notes), {"OK", "live"}
        case "idle":
            return plan.count, 2 * plan.count, set()
        case "mix":
            return plan.count, plan.count, {"OK", "EOSE", "live"}
    raise AssertionError(plan.load)


def answers(plan: Plan) -> Iterator[list[str]]:
    """The ids that each request of the plan is to get, worked out from all that is stored."""
    stored = newest_filled(plan.filled) if plan.filled else signed_events(plan.corpus)[: plan.stored]
    for data in requests(plan.shape, stored, plan.count, plan.connections):
        message = parse(data[data.index(b'["REQ"') :], max_filters=1)
        assert isinstance(message, Subscribe)
        yield [event.id for event in naive_query(message.filters, stored)]
