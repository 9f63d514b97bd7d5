"""A server as a scenario wants it: with its settings, on what it is to find, and with what stands behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

from perf.browsers import watching
from perf.cluster import Backing, fresh_index
from perf.filling import Stores
from perf.scenarios import Scenario
from perf.servers import Command, Server, free_port, running


@contextmanager
def serving(scenario: Scenario, command: Command, stores: Stores) -> Iterator[tuple[Server, Backing | None]]:
    """The server, and what stands behind it if that is another process.

    Raises:
        Failed: it doesn't start, or did not take what is to be there before.
    """
    command = replace(command, environment={**command.environment, **scenario.settings})
    if not scenario.is_on_opensearch:
        with running(command, stores.find(command, scenario)) as server, watching(server, command):
            yield server, None
        return
    found = stores.find_index(command, scenario)
    with nullcontext(found) if found is not None else fresh_index(stores.cluster) as prefix:
        backing = Backing(stores.cluster, free_port())
        with running(stores.cluster.in_front(command, prefix, backing.metrics)) as server:
            yield server, backing
