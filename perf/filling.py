"""What servers find when they start: a store made beforehand (`filled`), or what was published to each of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import msgspec

from perf import generator
from perf.cluster import Cluster
from perf.filled import filled
from perf.plan import Failed, Plan
from perf.scenarios import Scenario
from perf.servers import Command, free_port, running


def _no_cluster() -> Cluster:
    raise Failed("there is no OpenSearch")


class Stores:
    """The folders that the servers of one run find; each server's own is made when it is first asked for.

    Args:
        folder: an empty one, for as long as the run lasts.
        tell: gets a line about what takes long.
        find_cluster: gives the one that scenarios on OpenSearch have, when the first of them comes.
    """

    def __init__(
        self, folder: Path, tell: Callable[[str], None], find_cluster: Callable[[], Cluster] = _no_cluster
    ) -> None:
        self._folder = folder
        self._tell = tell
        self._find_cluster = find_cluster
        self._indices: dict[tuple[int, int], str] = {}
        self.warm: set[str] = set()
        """Scenarios on OpenSearch that have been carried out once: its JVM has compiled what they need."""

    @cached_property
    def cluster(self) -> Cluster:
        """For scenarios on OpenSearch."""
        return self._find_cluster()

    def find(self, command: Command, scenario: Scenario) -> Path | None:
        """What this server is to find for this scenario; None: nothing.

        Raises:
            Failed: the server did not take the events.
        """
        plan = scenario.plan
        if plan.filled:
            return filled(plan.filled, self._tell)
        return self._publish(command, plan) if plan.stored else None

    def _publish(self, command: Command, plan: Plan) -> Path:
        folder = self._folder / f"{command.name}-{plan.corpus}-{plan.stored}"
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            with running(command, folder=partial) as server:
                _publish(plan, server.port)
            partial.rename(folder)
        return folder

    def find_index(self, command: Command, scenario: Scenario) -> str | None:
        """On OpenSearch, what the names of the index start with that the relay is to find; None: an empty one.

        Raises:
            Failed: the relay did not take the events.
        """
        plan = scenario.plan
        if not plan.stored:
            return None
        key = plan.corpus, plan.stored
        if key not in self._indices:
            prefix = self.cluster.add()
            with running(self.cluster.in_front(command, prefix, free_port())) as server:
                _publish(plan, server.port)
            self.cluster.refresh(prefix)
            self._indices[key] = prefix
        return self._indices[key]


def _publish(plan: Plan, port: int) -> None:
    """What a plan wants to be stored before."""
    publishing = msgspec.structs.replace(
        plan, load="publish", port=port, first=0, count=plan.stored, laps=1, connections=10, window=200, rate=0
    )
    generator.run(publishing, _nothing, _nothing)


def _nothing() -> None:
    """Nobody looks."""
