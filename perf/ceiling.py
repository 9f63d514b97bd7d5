"""What the relay on OpenSearch is held to: a bare loop of bulks, while the same events are published and verified.

Both start together and do what the relay has to do too: each event is received, verified and answered by a relay that
keeps it in memory alone, and its document is written and made searchable every few seconds. What the relay adds is that
one leads to the other.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier, BrokenBarrierError
from typing import Final

import msgspec

from perf import generator
from perf.cluster import Cluster, fresh_index
from perf.plan import Counted, Plan
from perf.results import Sample
from perf.servers import OURS, Command, running

BARE: Final = Command("bare loop", "", environment={"TRIO_RELAY_STORE__BACKEND": "memory"})
"""Stands among the servers of a scenario that has a ceiling."""
_BATCH: Final = 1_000
_PATIENCE: Final = 60.0


def ceiling(plan: Plan, cluster: Cluster) -> Sample:
    """The rate of both together, and the CPU of the loop and of the node.

    Args:
        plan: of publishing.
        cluster: has the node.

    Raises:
        Failed: one of them could not.
    """
    cpu: list[float] = []
    sink = replace(OURS, environment=OURS.environment | BARE.environment)
    with fresh_index(cluster) as prefix, running(sink) as server:
        url = f"{cluster.url}/{cluster.alias(prefix)}"
        options = cluster.options(prefix)
        loop = msgspec.structs.replace(
            plan,
            load="bulk",
            url=url,
            connections=options.writers,
            window=_BATCH,
            refresh=options.refresh_seconds,
        )
        publishing = msgspec.structs.replace(plan, port=server.port)
        written, verified = _both(loop, publishing, lambda: cpu.append(cluster.cpu()))
    return Sample(
        server=BARE.name,
        counted=msgspec.structs.replace(written, seconds=max(written.seconds, verified.seconds)),
        cpu=written.cpu,
        node_cpu=cpu[1] - cpu[0],
        batch=written.operations / written.messages,
    )


def _both(first: Plan, second: Plan, look: Callable[[], None]) -> tuple[Counted, Counted]:
    """Two loads that start at the same moment; somebody looks before and after the first one."""
    start = Barrier(2)

    def begin() -> None:
        start.wait(_PATIENCE)
        look()

    with ThreadPoolExecutor(1) as beside:
        other = beside.submit(generator.run, second, lambda: _wait(start), _nothing)
        other.add_done_callback(lambda _: start.abort())  # nobody is to wait for one that has failed
        try:
            return generator.run(first, begin, look), other.result()
        except BrokenBarrierError:
            other.result()  # tells why it has not come
            raise
        finally:
            start.abort()


def _wait(start: Barrier) -> None:
    start.wait(_PATIENCE)


def _nothing() -> None:
    """Nobody looks."""
