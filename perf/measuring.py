"""One server under one scenario, from its start to its end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from perf import generator
from perf.ceiling import BARE, ceiling
from perf.cluster import Backing
from perf.filling import Stores
from perf.importing import imported
from perf.plan import Failed, Plan
from perf.results import CLOSED, PACED, Sample
from perf.scenarios import Scenario
from perf.servers import Command, Server
from perf.serving import serving
from perf.starting import starts

_WARM: Final = 0.9
"""A node is warm when a load costs it at least this share of what it has cost before."""
_MOST_WARMING: Final = 10


def measure(scenario: Scenario, command: Command, stores: Stores) -> Iterator[Sample]:
    """The scenario's parts, one or two, each with a fresh server; whatever goes wrong with it becomes the last one."""
    try:
        if command is BARE:
            yield ceiling(scenario.plan, stores.cluster)
            return
        if scenario.is_on_opensearch and scenario.name not in stores.warm:
            _warm(scenario, command, stores)
            stores.warm.add(scenario.name)
        if scenario.is_import:
            yield imported(scenario, command)
            return
        if scenario.plan.load == "start":
            yield starts(scenario, command, stores)
            return
        with serving(scenario, command, stores) as (server, backing):
            closed = load(server, command.name, scenario.plan, backing)
        yield closed
        if scenario.share and closed.counted is not None:
            rate = scenario.share * closed.counted.operations / closed.counted.seconds
            with serving(scenario, command, stores) as (server, backing):
                paced = load(server, command.name, msgspec.structs.replace(scenario.plan, rate=rate), backing)
            yield paced
    except Failed as failed:
        yield Sample(server=command.name, failure=str(failed))


def _warm(scenario: Scenario, command: Command, stores: Stores) -> None:
    """Carry it out until that makes the node no quicker: its JVM compiles little by little what it does often."""
    before = math.inf
    for _ in range(_MOST_WARMING):
        with serving(scenario, command, stores) as (server, backing):
            now = load(server, command.name, scenario.plan, backing).node_cpu
        if now >= _WARM * before:
            return
        before = now


class _Look(NamedTuple):
    """What is to be seen before a load and after it."""

    cpu: float
    rss: int
    node_cpu: float = 0
    events: float = 0
    batches: float = 0


def load(server: Server, name: str, plan: Plan, backing: Backing | None = None) -> Sample:
    """A generator's work on a server that runs, and what it cost the server and what stands behind it.

    Raises:
        Failed: the server could not do it; the message tells if it has ended.
    """
    looks: list[_Look] = []

    def look() -> None:
        behind = () if backing is None else (backing.cpu(), *backing.written())
        looks.append(_Look(server.cpu(), server.rss(), *behind))

    try:
        counted = generator.run(msgspec.structs.replace(plan, port=server.port), look, look)
    except Failed as failed:
        raise Failed(server.reason(str(failed))) from failed
    part = PACED if plan.rate else CLOSED
    before, after = looks
    batches = after.batches - before.batches
    return Sample(
        server=name,
        part=part,
        rate=plan.rate,
        counted=counted,
        cpu=after.cpu - before.cpu,
        rss=(before.rss, after.rss),
        node_cpu=after.node_cpu - before.node_cpu,
        batch=(after.events - before.events) / batches if batches else 0,
    )
