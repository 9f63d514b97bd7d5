"""OpenSearch behind the relay: one node for a whole run, and an index of its own for each measurement."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import httpx
import trio

from perf.servers import Command, cpu_of_session
from trio_relay.config import load
from trio_relay.store.opensearch import OpenSearchOptions, migrate
from trio_relay.store.opensearch.mapping import alias_of

CONFIG: Final = Path(__file__).parent.parent / "config" / "opensearch.toml"
_WRITTEN: Final = re.compile(r"^trio_relay_write_batch_events_(sum|count) (\S+)$", re.MULTILINE)
_SECONDS: Final = 60.0


class Cluster:
    """A node that runs, and the indices on it that are a run's own.

    Args:
        url: of the node.
        pid: of its process, which leads a session; None if it is another's, whose CPU cannot be told.
    """

    def __init__(self, url: str, pid: int | None) -> None:
        self.url = url
        self._pid = pid
        self._http = httpx.Client(base_url=url, timeout=_SECONDS)
        self._prefixes: set[str] = set()

    def cpu(self) -> float:
        """Seconds of CPU that the node has used so far."""
        return 0.0 if self._pid is None else cpu_of_session(self._pid)

    def add(self) -> str:
        """A new empty index, as `trio-relay migrate` makes it; gives what its names start with."""
        prefix = f"perf-{uuid.uuid4().hex}"
        self._prefixes.add(prefix)
        trio.run(migrate, self.options(prefix), _nothing)
        return prefix

    def options(self, prefix: str) -> OpenSearchOptions:
        """Those that a relay on this index has, the environment's included."""
        return load(CONFIG, os.environ | self._environment(prefix)).opensearch

    def alias(self, prefix: str) -> str:
        """What is read and written."""
        return alias_of(self.options(prefix))

    def refresh(self, prefix: str) -> None:
        """Let searches see all that is there."""
        self._http.post(f"/{self.alias(prefix)}/_refresh").raise_for_status()

    def remove(self, prefix: str) -> None:
        """Delete an index that `add` has made, and its template."""
        self._prefixes.discard(prefix)
        self._http.delete(f"/{prefix}-*")
        self._http.delete(f"/_index_template/{prefix}-*")

    def close(self) -> None:
        """Delete all that is left."""
        for prefix in list(self._prefixes):
            self.remove(prefix)
        self._http.close()

    def in_front(self, command: Command, prefix: str, metrics: int) -> Command:
        """How the relay is started on an index, its metrics on a port."""
        environment = self._environment(prefix) | {"TRIO_RELAY_METRICS__LISTEN": f"127.0.0.1:{metrics}"}
        return replace(
            command,
            command=f"{command.command} --config {CONFIG}",
            environment=command.environment | environment,
        )

    def _environment(self, prefix: str) -> dict[str, str]:
        return {"TRIO_RELAY_OPENSEARCH__URLS": f'["{self.url}"]', "TRIO_RELAY_OPENSEARCH__PREFIX": prefix}


def _nothing(line: str) -> None:
    """What was made need not be told."""


@dataclass(frozen=True, slots=True)
class Backing:
    """What stands behind one relay: the node, and the port on which the relay tells its metrics."""

    cluster: Cluster
    metrics: int

    def cpu(self) -> float:
        """Seconds of CPU that the node has used so far."""
        return self.cluster.cpu()

    def written(self) -> tuple[float, float]:
        """Events, and batches of them, that the relay has written so far."""
        told = dict(_WRITTEN.findall(httpx.get(f"http://127.0.0.1:{self.metrics}/metrics", timeout=_SECONDS).text))
        return float(told["sum"]), float(told["count"])


@contextmanager
def fresh_index(cluster: Cluster) -> Iterator[str]:
    """An empty index for the time of the context; gives what its names start with."""
    prefix = cluster.add()
    try:
        yield prefix
    finally:
        cluster.remove(prefix)
