"""A cluster and a bus that are ill: by answers that a test makes up, and really."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from perf.servers import free_port
from tests.bus import redis_server
from tests.doctor.clinic import doctor, doctor_here, examined, sound
from tests.opensearch.cluster import Asked, Reply, scripted
from tests.support.program import finished, running
from trio_relay import OpenSearchOptions
from trio_relay.doctor import cluster, findings

WELL: dict[str, Reply] = {
    "/": {"version": {"number": "3.8.0", "distribution": "opensearch"}},
    "/_nodes/stats/jvm,fs": {
        "nodes": {
            "a": {
                "name": "one",
                "jvm": {"mem": {"heap_used_percent": 40}},
                "fs": {"total": {"total_in_bytes": 1_000, "available_in_bytes": 500}},
            }
        }
    },
    "/_cluster/settings": {"defaults": {"cluster.routing.allocation.disk.watermark.low": "85%"}},
    "/_alias/nostr-events": {"nostr-events-v3": {}},
    "/nostr-events/_mapping": {"nostr-events-v3": {"mappings": {"_meta": {"version": 3}}}},
    "/_cluster/health/nostr-events": {"status": "green", "number_of_data_nodes": 3},
    "/nostr-events/_settings": {"nostr-events-v3": {"settings": {"index.number_of_replicas": "1"}}},
}


async def told_of(answers: dict[str, Reply]) -> list[str]:
    """The codes of what is found in a cluster that answers so."""

    async def answer(asked: Asked) -> Reply:
        return answers[asked.path]

    chart = findings.Chart("cluster")
    async with scripted(answer) as made:
        await cluster.ask_cluster(made.client, OpenSearchOptions(), chart)
    return [one.code for one in chart.findings]


def node(**changes: object) -> Reply:
    """The answer about one node, with changes."""
    return {"nodes": {"a": {"name": "one", **changes}}}


@pytest.mark.parametrize(
    ("path", "reply", "codes"),
    [
        ("/", {"version": {"number": "7.10.2"}}, ["cluster-strange"]),
        ("/", httpx.ConnectError("refused"), ["cluster-away"]),
        ("/", 401, ["cluster-away"]),
        ("/_cluster/health/nostr-events", {"status": "red", "unassigned_shards": 1}, ["cluster-red"]),
        (
            "/_cluster/health/nostr-events",
            {"status": "yellow", "unassigned_shards": 1, "number_of_data_nodes": 1},
            ["cluster-yellow"],
        ),
        ("/_cluster/health/nostr-events", 503, ["cluster-away"]),
        (
            "/nostr-events/_settings",
            {"nostr-events-v3": {"settings": {"index.blocks.read_only_allow_delete": "true"}}},
            ["cluster-locked"],
        ),
        (
            "/nostr-events/_settings",
            {"nostr-events-v3": {"settings": {"index.number_of_replicas": "0"}}},
            ["cluster-one-copy"],
        ),
        ("/_nodes/stats/jvm,fs", node(jvm={"mem": {"heap_used_percent": 95}}), ["cluster-heap-full"]),
        (
            "/_nodes/stats/jvm,fs",
            node(fs={"total": {"total_in_bytes": 1_000, "available_in_bytes": 150}}),
            ["cluster-disk-low"],
        ),
    ],
)
async def test_what_a_cluster_answers(path: str, reply: Reply, codes: list[str]) -> None:
    assert await told_of(WELL) == []
    assert await told_of(WELL | {path: reply}) == codes


async def test_a_watermark_that_an_operator_has_set() -> None:
    low = "cluster.routing.allocation.disk.watermark.low"
    assert await told_of(WELL | {"/_cluster/settings": {"persistent": {low: "50%"}}}) == ["cluster-disk-low"]
    assert await told_of(WELL | {"/_cluster/settings": {"persistent": {low: "10gb"}}}) == []


# Really.


@pytest.fixture
def settings(node: str, prefix: str, tmp_path: Path) -> dict[str, str]:
    """Of a relay on an index that nobody has made yet."""
    cluster_of_tests = {"store.backend": "opensearch", "opensearch.urls": f'["{node}"]', "opensearch.prefix": prefix}
    return sound(tmp_path) | cluster_of_tests | {"backup.every_seconds": "0"}


@pytest.mark.slow
async def test_a_real_index_that_is_missing_then_well_then_ill(
    node: str, prefix: str, settings: dict[str, str], tmp_path: Path
) -> None:
    usual = {"not-running", "no-backups"}
    assert (await examined(settings)).codes == usual | {"cluster-migrate"}
    assert (await finished(tmp_path, "migrate", settings=settings)).returncode == 0
    told = await doctor(tmp_path, settings)
    assert (told.codes, told.code) == (usual, 0)
    async with httpx.AsyncClient(base_url=node, timeout=30) as http:
        await http.put(f"/{prefix}-events/_settings", json={"index.number_of_replicas": 1})
        assert (await examined(settings)).codes == usual | {"cluster-yellow"}
        await http.put(f"/{prefix}-events/_settings", json={"index.number_of_replicas": 0})
        await http.put(f"/{prefix}-events/_settings", json={"index.blocks.read_only_allow_delete": True})
        assert (await examined(settings)).codes == usual | {"cluster-locked"}


@pytest.mark.slow
async def test_a_relay_that_runs_on_a_cluster_is_known_by_its_answers(settings: dict[str, str], tmp_path: Path) -> None:
    assert (await finished(tmp_path, "migrate", settings=settings)).returncode == 0
    async with running(tmp_path, settings):
        told = await examined(settings)
    assert (told.codes, told.healthy) == ({"no-backups"}, True)
    assert "EVENT and back" in told.facts


AWAY = {"store.backend": "opensearch", "opensearch.urls": '["http://127.0.0.1:9"]'}


@pytest.mark.usefixtures("own_logging")
def test_a_cluster_that_is_away(tmp_path: Path) -> None:
    repository = {"backup.repository": "copies", "backup.with_key": "true"}
    told = doctor_here(sound(tmp_path) | AWAY | repository)
    assert told.codes == {"not-running", "cluster-away", "backups-unreadable"}


@pytest.mark.usefixtures("own_logging")
def test_certificates_for_a_cluster_that_are_not_there(tmp_path: Path) -> None:
    secure = {"opensearch.urls": '["https://127.0.0.1:9"]', "opensearch.ca_file": "/nowhere.pem"}
    told = doctor_here(sound(tmp_path) | AWAY | secure | {"backup.every_seconds": "0"})
    assert told.codes == {"not-running", "cluster-away", "no-backups"}
    assert "/nowhere.pem" in told.findings["cluster-away"]["what"]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_server.RedisServer]:
    """A server that removes keys when it has no more memory, of which it may have little."""
    memory = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    with redis_server.serving(tmp_path_factory.mktemp("redis"), *memory) as server:
        yield server


@pytest.mark.redis
@pytest.mark.slow
def test_a_real_server_of_the_bus(tmp_path: Path, redis: redis_server.RedisServer) -> None:
    told = trio.run(partial(examined, sound(tmp_path) | AWAY | {"bus.url": redis.url, "backup.every_seconds": "0"}))
    assert told.codes == {"not-running", "cluster-away", "no-backups", "bus-evicts", "bus-small"}
    assert "Redis " in told.facts


@pytest.mark.redis
@pytest.mark.slow
def test_a_bus_that_is_away(tmp_path: Path) -> None:
    bus = {"bus.url": f"redis://127.0.0.1:{free_port()}", "backup.every_seconds": "0"}
    told = trio.run(partial(examined, sound(tmp_path) | AWAY | bus))
    assert told.codes == {"not-running", "cluster-away", "no-backups", "bus-away"}
    assert "refused" in told.findings["bus-away"]["what"]
