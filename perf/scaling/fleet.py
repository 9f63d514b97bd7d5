"""Machines and what is asked of them, and how much of it they take: arithmetic, without any waiting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from perf.scaling.costs import Costs, Request

_GIGABIT: Final = 125_000_000.0
_ROUNDS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Machines of one kind, in two roles; the proxy and the bus stand beside them.

    Attributes:
        relays: machines that run a relay.
        nodes: machines that run a node of OpenSearch; 0: the one relay keeps its events in SQLite.
        cores: of each machine.
        workers: processes of each relay; the cores that are left verify signatures and keep the file.
        shards: primary ones of the index.
        replicas: copies of each beside it.
        writers: `_bulk`s that each worker has under way (`opensearch.writers`).
        batch: most events of a commit or a `_bulk` (`pipeline.write_batch`).
        link: bytes a second that a machine sends.
    """

    relays: int = 1
    nodes: int = 0
    cores: int = 16
    workers: int = 12
    shards: int = 1
    replicas: int = 1
    writers: int = 2
    batch: int = 1_000
    link: float = 10 * _GIGABIT

    @property
    def machines(self) -> int:
        """All that count."""
        return self.relays + self.nodes

    @property
    def threads(self) -> int:
        """Cores of a relay's machine that its workers leave; at none, a worker verifies in its own time."""
        return max(0, self.cores - self.workers)

    @property
    def copies(self) -> int:
        """Shards, replicas among them, that stand on the nodes together."""
        return self.shards * (1 + self.replicas)

    @property
    def busy(self) -> int:
        """Nodes that have a copy of any shard, and so something to do."""
        return min(self.nodes, self.copies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """What clients do.

    Attributes:
        events: share of operations that are new events; all others are requests.
        deliveries: subscribers that an event reaches, on all relays together.
    """

    events: float = 0.1
    deliveries: float = 20


USUAL: Final = Mix()


@dataclass(frozen=True, slots=True)
class Limit:
    """A resource, and the operations a second of the whole fleet at which nothing of it is left."""

    name: str
    most: float


def average(requests: Mapping[str, Request], of: str) -> float:
    """The mean of one of their numbers over what clients ask."""
    return float(sum(one.share * getattr(one, of) for one in requests.values()))


def limits(fleet: Fleet, mix: Mix, costs: Costs) -> list[Limit]:
    """All resources, the scarcest first.

    What a `_bulk` holds depends on the rate, and what a document costs on what the `_bulk` holds: so it is computed
    again and again, from one document upwards, until it stands.
    """
    size = 1.0
    for _ in range(_ROUNDS):
        used = _used(fleet, mix, costs, size)
        found = sorted((Limit(name, 1 / share) for name, share in used if share > 0), key=_most)
        size = bulk_size(fleet, costs, found[0].most * mix.events)
    return found


def bulk_size(fleet: Fleet, costs: Costs, events: float) -> float:
    """Documents of a `_bulk`, on average, where all relays together take so many events a second."""
    copied = costs.hop + costs.bulk_shard if fleet.replicas else 0
    seconds = costs.linger + costs.bulk_once + costs.bulk_shard + costs.node_sync + 3 * costs.hop + copied
    return min(max(1.0, events / fleet.relays / fleet.workers * seconds / fleet.writers), float(fleet.batch))


def capacity(fleet: Fleet, mix: Mix, costs: Costs) -> Limit:
    """What binds."""
    return limits(fleet, mix, costs)[0]


def _most(limit: Limit) -> float:
    return limit.most


def _used(fleet: Fleet, mix: Mix, costs: Costs, size: float) -> Iterator[tuple[str, float]]:
    """Each resource with the share of it that one operation a second of the whole fleet takes."""
    events, asked = mix.events, 1 - mix.events
    workers = fleet.relays * fleet.workers
    yield "workers", asked * request_work(fleet, costs) / workers + events * event_work(fleet, mix, costs)
    if fleet.threads:
        yield "verifying", events * costs.verify / fleet.relays / fleet.threads
    if not fleet.nodes:
        yield "writer", events * (costs.sqlite_event + (costs.sqlite_commit + costs.fdatasync) / fleet.batch)
    sent = asked * average(costs.requests, "events") + events * mix.deliveries
    yield "relays' network", sent * costs.event_bytes / fleet.relays / fleet.link
    yield "bus", events * bus_work(fleet, costs)
    if fleet.nodes:
        work = asked * search_work(fleet, costs) + events * index_work(fleet, costs, size)
        yield "nodes", work / fleet.busy / fleet.cores
        sent = asked * average(costs.requests, "events") + events * fleet.replicas
        yield "nodes' network", sent * costs.event_bytes / fleet.busy / fleet.link


def request_work(fleet: Fleet, costs: Costs) -> float:
    """Seconds of a worker for a request."""
    return average(costs.requests, "relay" if fleet.nodes else "sqlite")


def event_work(fleet: Fleet, mix: Mix, costs: Costs) -> float:
    """Seconds of each worker for an event of the fleet: its share of taking it, and its own of hearing of it."""
    workers = fleet.relays * fleet.workers
    taken = costs.read + (0 if fleet.threads else costs.verify) + (costs.relay_event if fleet.nodes else 0)
    heard = costs.note if workers > 1 else 0
    return taken / workers + heard + mix.deliveries * costs.delivery / workers


def bus_work(fleet: Fleet, costs: Costs) -> float:
    """Seconds of the bus for an event; one relay needs none."""
    return costs.note_added + fleet.relays * costs.note_given if fleet.relays > 1 else 0


def search_work(fleet: Fleet, costs: Costs) -> float:
    """Seconds of the nodes together for a request."""
    return average(costs.requests, "once") + fleet.shards * average(costs.requests, "shard")


def index_work(fleet: Fleet, costs: Costs, size: float) -> float:
    """Seconds of the nodes together for an event, in `_bulk`s of so many."""
    copy = costs.document + touched(fleet, size) * costs.bulk_shard / size
    return costs.bulk_once / size + (1 + fleet.replicas) * copy


def touched(fleet: Fleet, size: float) -> float:
    """Shards that a `_bulk` of so many documents has any for, on average."""
    return fleet.shards * float(1 - (1 - 1 / fleet.shards) ** size)
