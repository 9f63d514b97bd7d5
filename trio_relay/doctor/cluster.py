"""The cluster that has the events, where that is OpenSearch: whether it can be written to, and for how long."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import trio
from msgspec.structs import replace

from trio_relay.doctor.findings import Ailment, Chart, Finding, Severity
from trio_relay.doctor.patient import Patient
from trio_relay.store.base import StoreError, StoreRefused
from trio_relay.store.opensearch.client import OpenSearchClient, open_client
from trio_relay.store.opensearch.mapping import alias_of
from trio_relay.store.opensearch.options import OpenSearchOptions
from trio_relay.store.opensearch.upgrade import look

CLUSTER_AWAY: Final = Ailment(
    "cluster-away",
    Severity.FAULT,
    "OpenSearch does not answer, or refuses what it is asked: no event is stored, and none found.",
    "Start it, or correct opensearch.urls, username, password, api_key or ca_file.",
)
CLUSTER_STRANGE: Final = Ailment(
    "cluster-strange",
    Severity.WARNING,
    "What answers is no OpenSearch, or one older than 2: nobody has tried the relay with that.",
    "Use OpenSearch 2 or 3.",
)
CLUSTER_MIGRATE: Final = Ailment(
    "cluster-migrate",
    Severity.FAULT,
    "The index is not there, or not as this version needs it: the relay does not start.",
    "trio-relay migrate; docs/opensearch.md says in which order where several relays share the index. An index of a"
    " newer version needs the newer trio-relay.",
)
CLUSTER_RED: Final = Ailment(
    "cluster-red",
    Severity.FAULT,
    "A part of the index is nowhere: answers lack its events, and nothing is stored in it.",
    "Bring back the node that had it, or a snapshot. GET /_cluster/allocation/explain tells why it is nowhere.",
)
CLUSTER_YELLOW: Final = Ailment(
    "cluster-yellow",
    Severity.WARNING,
    "A copy of the index is missing: if one more node is lost, so are events.",
    "Bring back the node. On a single node there is no place for copies: set index.number_of_replicas to 0.",
)
CLUSTER_ONE_COPY: Final = Ailment(
    "cluster-one-copy",
    Severity.WARNING,
    "There are several nodes, and each event is on one of them alone: if that is lost, so are its events.",
    "PUT /ALIAS/_settings with index.number_of_replicas 1, and opensearch.replicas = 1 for the next migration.",
)
CLUSTER_LOCKED: Final = Ailment(
    "cluster-locked",
    Severity.FAULT,
    "The index takes no writes (index.blocks): its disk was nearly full, or somebody has blocked it.",
    "Make room, then take the block off: docs/opensearch.md has the call.",
)
CLUSTER_DISK_LOW: Final = Ailment(
    "cluster-disk-low",
    Severity.WARNING,
    "A node's disk has passed the low watermark: it gets no new parts. At the flood stage it takes no more writes.",
    "Make room: retention (docs/keeping.md), fewer snapshots, a larger disk or one more node.",
)
CLUSTER_HEAP_FULL: Final = Ailment(
    "cluster-heap-full",
    Severity.WARNING,
    "A node's heap is nearly full: it collects garbage most of the time, and refuses requests.",
    "Give it more (OPENSEARCH_JAVA_OPTS=-Xms…g -Xmx…g, half of the machine's memory at most), or add a node.",
)

_SECONDS: Final = 3.0
_FULL_HEAP: Final = 92
"""Percent; a healthy one goes up to some 75 between two collections."""
_LOW_WATERMARK: Final = 85.0
"""Percent, by default."""
_PERCENT: Final = re.compile(r"([0-9.]+)%")
_LOW: Final = "cluster.routing.allocation.disk.watermark.low"
_BLOCKS: Final = ("index.blocks.read_only_allow_delete", "index.blocks.read_only", "index.blocks.write")
_STATS: Final = "/_nodes/stats/jvm,fs?filter_path=nodes.*.name,nodes.*.jvm.mem.heap_used_percent,nodes.*.fs.total"

Decoded = Mapping[str, Any]


# Verdicts.


def of_version(told: Decoded) -> Iterator[Finding]:
    """What is wrong with what answers, by its answer to `/`."""
    version = told.get("version", {})
    number, kind = str(version.get("number", "")), version.get("distribution", "something else")
    major = number.partition(".")[0]
    if kind != "opensearch" or not major.isdigit() or int(major) < 2:
        yield CLUSTER_STRANGE.found(f"It is {kind} {number}.")


def of_health(health: Decoded) -> Iterator[Finding]:
    """What `_cluster/health` says of the index."""
    status, missing = health.get("status"), health.get("unassigned_shards", 0)
    if status == "red":
        yield CLUSTER_RED.found(f"The index is red: {missing} of its parts are nowhere.")
    elif status == "yellow":
        nodes = health.get("number_of_data_nodes", 0)
        yield CLUSTER_YELLOW.found(f"The index is yellow: {missing} copies are nowhere, with {nodes} nodes for data.")


def of_settings(indices: Decoded, nodes: int) -> Iterator[Finding]:
    """What `_settings?flat_settings` says of the index, in a cluster of so many nodes for data."""
    for name, about in indices.items():
        settings = about.get("settings", {})
        if blocks := [block for block in _BLOCKS if settings.get(block) == "true"]:
            yield CLUSTER_LOCKED.found(f"{name} has {', '.join(blocks)}.")
        if nodes > 1 and settings.get("index.number_of_replicas") == "0":
            yield CLUSTER_ONE_COPY.found(f"{name} has no copies, on {nodes} nodes.")


def of_nodes(stats: Decoded, settings: Decoded) -> Iterator[Finding]:
    """What the nodes say of disk and heap; `settings` are the cluster's, defaults included."""
    low = _watermark(settings)
    for node in stats.get("nodes", {}).values():
        name = node.get("name", "a node")
        disk = node.get("fs", {}).get("total", {})
        total, available = disk.get("total_in_bytes", 0), disk.get("available_in_bytes", 0)
        if total and (used := 100 * (1 - available / total)) >= low:
            yield CLUSTER_DISK_LOW.found(f"{name} uses {used:.0f} % of its disk, and the watermark is {low:g} %.")
        heap = node.get("jvm", {}).get("mem", {}).get("heap_used_percent", 0)
        if heap >= _FULL_HEAP:
            yield CLUSTER_HEAP_FULL.found(f"{name} uses {heap} % of its heap.")


def _watermark(settings: Decoded) -> float:
    """The low watermark in percent; the usual one where it is none, or counts bytes."""
    for kind in ("transient", "persistent", "defaults"):
        if (found := _PERCENT.fullmatch(str(settings.get(kind, {}).get(_LOW, "")))) is not None:
            return float(found[1])
    return _LOW_WATERMARK


# Looks.


async def look_at_cluster(patient: Patient, chart: Chart) -> None:
    """Ask the cluster, if the store is one."""
    if patient.config.store.backend != "opensearch":
        await trio.lowlevel.checkpoint()
        return
    options = replace(patient.config.opensearch, request_seconds=_SECONDS)
    try:
        async with open_client(options) as client:
            await ask_cluster(client, options, chart)
    except StoreRefused as refused:
        chart.add([CLUSTER_AWAY.found(f"{refused}.")])


async def ask_cluster(client: OpenSearchClient, options: OpenSearchOptions, chart: Chart) -> None:
    """Ask a cluster all that verdicts need; where it stops to answer, that is written down."""
    try:
        told = await client.decoded("GET", "/")
        chart.facts.append(f"OpenSearch {told.get('version', {}).get('number')}")
        chart.add(of_version(told))
        chart.add(of_nodes(await client.decoded("GET", _STATS), await client.decoded("GET", _cluster_settings())))
        if (reason := await look(client, options)) is not None:
            chart.add([CLUSTER_MIGRATE.found(f"{reason}.")])
            return
        alias = alias_of(options)
        health = await client.decoded("GET", f"/_cluster/health/{alias}")
        chart.facts.append(f"{alias} is {health.get('status')}, {health.get('number_of_data_nodes')} nodes")
        chart.add(of_health(health))
        settings = await client.decoded("GET", f"/{alias}/_settings?flat_settings=true")
        chart.add(of_settings(settings, health.get("number_of_data_nodes", 0)))
    except StoreError as error:
        chart.add([CLUSTER_AWAY.found(f"{', '.join(options.urls)}: {error}.")])


def _cluster_settings() -> str:
    return f"/_cluster/settings?include_defaults=true&flat_settings=true&filter_path=*.{_LOW.replace('.', '*')}"
