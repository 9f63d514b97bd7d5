"""What stands behind the relays: a node of OpenSearch, and a redis-server, each of a run's own, on 127.0.0.1."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from socket import create_connection
from typing import Final, NamedTuple

from perf import node as opensearch
from perf.cluster import Cluster
from perf.node import Node
from perf.plan import Failed
from perf.servers import free_port

_PATIENCE: Final = 20.0
_MOMENT: Final = 0.02


class Redis:
    """One server, always on the same port, which keeps nothing on disk.

    Args:
        folder: its working directory.
    """

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is, for the setting."""
        return f"redis://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Of its process, which must run."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, empty, and wait until it accepts connections.

        Raises:
            Failed: it is not installed, or does not.
        """
        if shutil.which("redis-server") is None:
            raise Failed("redis-server is not installed")
        command = ["redis-server", "--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            command, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and self._process.poll() is None:
            with suppress(OSError), closing(create_connection(("127.0.0.1", self._port), 1)):
                return
            time.sleep(_MOMENT)
        raise Failed("redis-server doesn't start")

    def kill(self) -> None:
        """End it by SIGKILL; what it held is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Behind(NamedTuple):
    """What there is, and how a relay is told of it."""

    settings: dict[str, str]
    node: Node | None = None
    redis: Redis | None = None


def behind(folder: Path, ends: ExitStack, *, has_opensearch: bool, has_redis: bool) -> Behind:
    """Start it; without OpenSearch, SQLite is the store, and needs nothing.

    Args:
        folder: for what it writes.
        ends: end it.
        has_opensearch: True for a node.
        has_redis: True for a bus, which only relays on OpenSearch have.

    Raises:
        Failed: it cannot run here.
    """
    if not has_opensearch:
        return Behind({"store.path": "relay.db"})
    node = ends.enter_context(opensearch.running(opensearch.OLD, folder / "opensearch"))
    cluster = Cluster(node.url, node.pid)  # whose index goes with the folder
    settings = {
        "store.backend": "opensearch",
        "opensearch.urls": f'["{node.url}"]',
        "opensearch.prefix": cluster.add(),
        "opensearch.replicas": "0",
        "opensearch.shards": "1",
        "pipeline.write_linger_seconds": "0.002",
    }
    if not has_redis:
        return Behind(settings, node)
    redis = Redis(folder)
    ends.callback(redis.kill)
    redis.start()
    return Behind({**settings, "bus.url": redis.url}, node, redis)
