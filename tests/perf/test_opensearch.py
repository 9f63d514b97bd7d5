"""Scenarios on OpenSearch, on a tiny load and a real node: they run, count right, and leave nothing behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import pytest
from click.testing import CliRunner

from perf import generator, measuring, node
from perf.__main__ import main
from perf.ceiling import BARE, ceiling
from perf.cluster import Cluster, fresh_index
from perf.corpus import signed_events
from perf.filling import Stores
from perf.measuring import measure
from perf.plan import Failed, Plan
from perf.results import Sample, load
from perf.scenarios import SCENARIOS
from perf.servers import OURS
from perf.yardstick import Reading
from tests.perf.counting import check

SCALE = 0.001
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(node: str) -> Iterator[Cluster]:
    with closing(Cluster(node, None)) as one:
        yield one


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Stores:
    """What is stored is stored once for all scenarios; nothing is warmed up."""
    stores = Stores(tmp_path_factory.mktemp("stores"), print, lambda: cluster)
    stores.warm |= SCENARIOS.keys()
    return stores


@pytest.mark.parametrize("name", [one.name for one in SCENARIOS.values() if one.is_on_opensearch])
def test_a_scenario_counts_all_that_it_asks_for(name: str, stores: Stores) -> None:
    scenario = SCENARIOS[name].scaled(SCALE)
    (sample,) = measure(scenario, OURS, stores)
    assert sample.failure == ""
    check(sample, scenario.plan)
    assert (sample.batch > 0) == (scenario.plan.load == "publish")


def test_a_bare_loop_writes_the_same_documents(cluster: Cluster, stores: Stores) -> None:
    scenario = SCENARIOS["os-ingest"].scaled(SCALE)
    (sample,) = measure(scenario, BARE, stores)
    assert sample.failure == ""
    assert sample.server == "bare loop"
    assert sample.counted is not None
    assert (sample.counted.operations, sample.counted.messages, sample.batch) == (40, 1, 40)
    assert sample.counted.latencies.keys() == {"bulk"}
    events = {event.id for event in signed_events(scenario.plan.corpus)[:40]}
    with fresh_index(cluster) as prefix:
        url = f"{cluster.url}/{cluster.alias(prefix)}"
        plan = msgspec.structs.replace(scenario.plan, load="bulk", url=url, connections=2, window=7, refresh=0.01)
        counted = generator.run(plan, _nothing, _nothing)
        refreshes = httpx.get(f"{url}/_stats/refresh").json()["_all"]["primaries"]["refresh"]["external_total"]
        cluster.refresh(prefix)
        found = httpx.post(f"{url}/_search", json={"size": 100, "docvalue_fields": ["id"]}).json()
    assert counted.messages == 6
    assert refreshes >= 1
    assert {hit["fields"]["id"][0] for hit in found["hits"]["hits"]} == events


def test_a_loop_that_is_refused_has_failed(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cluster, "alias", lambda _self, _prefix: "no-such-alias")
    with pytest.raises(Failed, match="a bulk was refused"):
        ceiling(SCENARIOS["os-ingest"].scaled(SCALE).plan, cluster)


def test_a_loop_beside_which_nothing_is_verified_has_failed(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BARE.environment, "TRIO_RELAY_LIMITS__MAX_CONTENT_LENGTH", "0")
    with pytest.raises(Failed, match=r"refused: .*OK"):
        ceiling(SCENARIOS["os-ingest"].scaled(SCALE).plan, cluster)


def test_a_loop_does_not_wait_for_what_has_not_come(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perf.ceiling.running", lambda _sink: nullcontext(SimpleNamespace(port=1)))
    with pytest.raises(Failed, match="Connection refused"):
        ceiling(SCENARIOS["os-ingest"].scaled(SCALE).plan, cluster)


def test_nothing_is_left_behind(node: str) -> None:
    def names() -> str:
        return "".join(httpx.get(f"{node}/{path}").text for path in ("_cat/indices?h=index", "_index_template"))

    with closing(Cluster(node, os.getpid())) as one:
        first, second = one.add(), one.add()
        assert first in names()
        one.remove(first)
        assert first not in names()
        assert second in names()
        assert one.cpu() >= 0
    assert second not in names()


def test_a_scenario_is_carried_out_until_it_is_no_quicker(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    costs = iter([9.0, 5.0, 4.0, 3.8, 3.7])

    def carry_out(_server: object, name: str, _plan: Plan, _backing: object = None) -> Sample:
        return Sample(server=name, node_cpu=next(costs))

    @contextmanager
    def serving(*_: object) -> Iterator[tuple[None, None]]:
        yield None, None

    monkeypatch.setattr(measuring, "load", carry_out)
    monkeypatch.setattr(measuring, "serving", serving)
    stores = Stores(tmp_path, print, lambda: cluster)
    for _ in range(2):
        samples = list(measure(SCENARIOS["os-id"], OURS, stores))
        assert len(samples) == 1
        assert stores.warm == {"os-id"}
        costs = iter([7.0])
    assert samples[0].node_cpu == 7


def test_without_a_cluster_a_scenario_has_failed(tmp_path: Path) -> None:
    (sample,) = measure(SCENARIOS["os-id"], OURS, Stores(tmp_path, print))
    assert sample.failure == "there is no OpenSearch"


def test_a_run_has_a_node_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> None:
    started: list[dict[str, Any]] = []

    @contextmanager
    def running(version: str, folder: Path, **options: Any) -> Iterator[object]:
        started.append(options)
        assert folder.parent.is_dir()
        yield SimpleNamespace(url=cluster.url, pid=os.getpid())

    monkeypatch.setattr(node, "running", running)
    monkeypatch.setattr("perf.yardstick.look", lambda _rounds: Reading((50.0,), (200.0,)))
    file = tmp_path / "results.json"
    arguments = ["--scale", str(SCALE), "--rounds", "1", "--no-peers", "--json", str(file), "os-ingest"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert started == [{"heap": "1g", "quick": False}]
    (found,) = load(file).runs
    assert [row.server for row in found.figures] == ["trio-relay", "bare loop"]
    assert [verdict.value is not None for verdict in found.verdicts] == [True]


def _nothing() -> None:
    """Nobody looks."""
