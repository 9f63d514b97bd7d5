"""One server under one scenario, from its start to its end."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from perf import generator
from perf.filling import Stores
from perf.plan import Failed, Plan
from perf.results import CLOSED, PACED, Sample
from perf.scenarios import Scenario
from perf.servers import Command, Server, running


def measure(scenario: Scenario, command: Command, stores: Stores) -> Iterator[Sample]:
    """The scenario's parts, one or two, each with a fresh server; whatever goes wrong with it becomes the last one."""
    try:
        filled = stores.find(command, scenario)
        with running(command, filled) as server:
            closed = load(server, command.name, scenario.plan)
        yield closed
        if scenario.share and closed.counted is not None:
            rate = scenario.share * closed.counted.operations / closed.counted.seconds
            with running(command, filled) as server:
                paced = load(server, command.name, msgspec.structs.replace(scenario.plan, rate=rate))
            yield paced
    except Failed as failed:
        yield Sample(server=command.name, failure=str(failed))


def load(server: Server, name: str, plan: Plan) -> Sample:
    """A generator's work on a server that runs, and what it cost the server.

    Raises:
        Failed: the server could not do it; the message tells if it has ended.
    """
    cpu: list[float] = []
    rss: list[int] = []

    def look() -> None:
        cpu.append(server.cpu())
        rss.append(server.rss())

    try:
        counted = generator.run(msgspec.structs.replace(plan, port=server.port), look, look)
    except Failed as failed:
        raise Failed(server.reason(str(failed))) from failed
    part = PACED if plan.rate else CLOSED
    return Sample(
        server=name,
        part=part,
        rate=plan.rate,
        counted=counted,
        cpu=cpu[1] - cpu[0],
        rss=(rss[0], rss[1]),
    )
