"""How long a server takes from its start until it accepts connections, and what that costs."""

from __future__ import annotations

import time

from perf.filling import Stores
from perf.plan import Counted, quantiles
from perf.results import Sample
from perf.scenarios import Scenario
from perf.servers import Command
from perf.serving import serving


def starts(scenario: Scenario, command: Command, stores: Stores) -> Sample:
    """Start the server as often as the plan says, one after another, each time with an empty folder.

    Raises:
        Failed: it doesn't start.
    """
    seconds: list[float] = []
    cpu, rss = 0.0, 0
    for _ in range(scenario.plan.count):
        began = time.perf_counter()
        with serving(scenario, command, stores) as (server, _):
            seconds.append(time.perf_counter() - began)
            cpu += server.cpu()
            rss = server.rss()
    counted = Counted(
        operations=len(seconds), messages=0, seconds=sum(seconds), latencies={"start": quantiles(seconds)}
    )
    return Sample(server=command.name, counted=counted, cpu=cpu, rss=(rss, rss))
