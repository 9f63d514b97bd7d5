"""A slice of a fleet under load: one worker, what it shares a machine with, one node, the bus; the rest is like them.

Clients come at random (Poisson), and to all workers and shards alike, so what reaches one of them is again a Poisson
stream: of a hundred machines only one of each kind has to be simulated. What happens elsewhere comes in as streams of
the same rates, and the shards that a request asks on other nodes take what shards on this one took lately.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Final

from perf.scaling.costs import Costs, Request
from perf.scaling.fleet import Fleet, Mix, touched
from perf.scaling.simulation import Clock, Done, Station, joined, quantile, stream

EOSE: Final = "EOSE"
OK: Final = "OK"
LIVE: Final = "live"
_LATELY: Final = 500
"""Times of this node's shards, and of this worker's events, that are remembered for those elsewhere."""
_ENOUGH: Final = 3_000
"""Answers of each kind to be seen; so a percentile of a hundred has thirty beyond it."""
_LEAST: Final = 1.0
_LONGEST: Final = 6.0
"""Seconds that are simulated at least and at most."""
_BEFORE: Final = 0.2
"""Share of the time that passes before anything is noted: queues fill first."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was seen.

    Attributes:
        rate: operations a second of the whole fleet.
        times: seconds until EOSE, until OK, and until an event is live on a relay: their medians and 99th of a hundred.
        loads: of each station, 0 to 1.
    """

    rate: float
    times: dict[str, tuple[float, float]]
    loads: dict[str, float]


def draw(fleet: Fleet, mix: Mix, costs: Costs, rate: float, seed: int = 1, seconds: float = 0) -> Drawn:
    """Simulate, at so many operations a second of the whole fleet.

    Args:
        fleet: the machines.
        mix: what clients do.
        costs: of each operation.
        rate: below the fleet's capacity, or queues grow without end.
        seed: the same one gives the same numbers.
        seconds: of virtual time; 0: until enough has been seen.
    """
    if not seconds:
        least = min(share for share in (mix.events, 1 - mix.events) if share > 0)
        enough = _ENOUGH / (rate * least / fleet.relays / fleet.workers)
        seconds = min(max(enough, _LEAST), _LONGEST)
    one = _Slice(fleet, mix, costs, rate, Random(seed))
    one.start()
    one.clock.run(seconds * _BEFORE)
    one.notes.clear()
    one.clock.run(seconds)
    times = {kind: (quantile(seen, 0.5), quantile(seen, 0.99)) for kind, seen in one.notes.items()}
    return Drawn(rate, times, {name: station.load for name, station in one.stations.items()})


class _Slice:
    """The stations of one slice, and the ways through them."""

    def __init__(self, fleet: Fleet, mix: Mix, costs: Costs, rate: float, random: Random) -> None:
        self.clock = clock = Clock()
        self.notes: dict[str, list[float]] = {}
        self._fleet, self._mix, self._costs, self._random = fleet, mix, costs, random
        self._events = rate * mix.events
        self._asked = rate * (1 - mix.events)
        self._found: deque[float] = deque([0.0], maxlen=_LATELY)
        self._stored: deque[float] = deque([0.0], maxlen=_LATELY)
        self._worker = Station(clock, waking=costs.waking)
        self._verifying = Station(clock, fleet.threads) if fleet.threads else self._worker
        self._writer = self._make_writer()
        self._link = Station(clock)
        self._bus = Station(clock)
        self._node = Station(clock, fleet.cores)
        self.stations = {"workers": self._worker, "verifying": self._verifying, "relays' network": self._link}
        if fleet.relays > 1:
            self.stations["bus"] = self._bus
        self.stations |= {"nodes": self._node} if fleet.nodes else {"writer": self._writer}

    def _make_writer(self) -> Station:
        costs, most = self._costs, self._fleet.batch
        if self._fleet.nodes:
            return Station(self.clock, self._fleet.writers, most=most, pause=costs.linger, behind=self._send_bulk)
        return Station(self.clock, most=most, fixed=costs.sqlite_commit, pause=costs.fdatasync)

    def start(self) -> None:
        """Let clients come, here and elsewhere."""
        fleet, costs, begin = self._fleet, self._costs, self._begin
        here = 1 / fleet.relays / fleet.workers
        beside = 1 / fleet.relays - here
        begin(self._asked * here, self._ask)
        begin(self._asked * beside, lambda: self._send(self._shape().events))
        begin(self._events * here, self._publish)
        begin(self._events * beside, self._publish_beside if not fleet.nodes else self._tell_beside)
        begin(self._events * (1 - 1 / fleet.relays), self._tell_beside)
        if fleet.nodes and fleet.threads:
            begin(self._events * beside, lambda: self._verifying.serve(costs.verify))
        if fleet.nodes:
            self._start_others_searches(1 - here)

    def _start_others_searches(self, others: float) -> None:
        fleet = self._fleet
        searches = self._asked * others
        self._begin(searches / fleet.busy, lambda: self._node.serve(self._shape().once))
        self._begin(searches * fleet.shards / fleet.busy, self._search_shard)

    def _begin(self, rate: float, arrive: Done) -> None:
        stream(self.clock, self._random, rate, arrive)

    # A request: to the worker, through the cluster or not, over the network.

    def _shape(self) -> Request:
        shapes = list(self._costs.requests.values())
        return self._random.choices(shapes, [one.share for one in shapes])[0]

    def _ask(self) -> None:
        shape, start = self._shape(), self.clock.now
        answered = self._note(EOSE, start)
        if not self._fleet.nodes:
            self._worker.serve(shape.sqlite, lambda: self._send(shape.events, answered))
            return

        def answer() -> None:
            self._worker.serve(shape.relay / 2, lambda: self._send(shape.events, answered))

        self._worker.serve(shape.relay / 2, lambda: self._hop(lambda: self._search(shape, answer)))

    def _search(self, shape: Request, done: Done) -> None:
        """One shard on this node, the others on nodes like it; then they are merged, as once here as anywhere."""
        merge: Done = lambda: self._node.serve(shape.once, lambda: self._hop(done))  # noqa: E731
        shards = self._fleet.shards
        part = joined(min(shards, 2), lambda: self._hop(merge))
        self._search_shard(part, shape)
        if shards > 1:
            self.clock.after(max(self._random.choices(self._found, k=shards - 1)), part)

    def _search_shard(self, done: Done | None = None, shape: Request | None = None) -> None:
        start = self.clock.now

        def found() -> None:
            self._found.append(self.clock.now - start)
            if done is not None:
                done()

        self._node.serve((shape or self._shape()).shard, found)

    def _send(self, events: float, done: Done | None = None) -> None:
        self._link.serve(events * self._costs.event_bytes / self._fleet.link, done)

    # An event: read, verified, written, answered; then it is live everywhere.

    def _publish(self) -> None:
        start, costs = self.clock.now, self._costs
        answered = self._note(OK, start)

        def stored() -> None:
            answered()
            self._stored.append(self.clock.now - start)
            self._tell(start)

        self._worker.serve(costs.read, lambda: self._verify(lambda: self._write(stored)))

    def _publish_beside(self) -> None:
        """By another worker of this machine, which verifies in its own time if no cores are left for that."""
        start = self.clock.now
        write = lambda: self._write(lambda: self._tell(start))  # noqa: E731
        if self._fleet.threads:
            self._verify(write)
        else:
            self.clock.after(self._costs.verify, write)

    def _tell_beside(self) -> None:
        """Of what another relay has stored, which took as long as it takes here."""
        self._tell(self.clock.now - self._random.choice(self._stored))

    def _verify(self, done: Done) -> None:
        self._verifying.serve(self._costs.verify, done)

    def _write(self, done: Done) -> None:
        """To the file, which all workers of a machine share, or to a `_bulk` of this worker's own."""
        if self._fleet.nodes:
            self._worker.serve(self._costs.relay_event, lambda: self._writer.serve(0, done))
        else:
            self._writer.serve(self._costs.sqlite_event, done)

    def _send_bulk(self, size: int, release: Done) -> None:
        """A worker's `_bulk`: its parts go to the shards' primaries, and from there to their copies.

        This node has one of them; it also has its part of what all workers write, as often as this one writes.
        """
        fleet, costs = self._fleet, self._costs
        parts = touched(fleet, size)
        work = costs.bulk_shard + size / parts * costs.document

        def copied() -> None:
            self.clock.after(costs.node_sync, lambda: self._hop(release))

        def primary() -> None:
            if fleet.replicas:
                self._hop(lambda: self._node.serve(work, copied))
            else:
                copied()

        # It comes to one node, which sends each shard its part.
        self._hop(lambda: self._node.serve(costs.bulk_once, lambda: self._hop(lambda: self._node.serve(work, primary))))
        senders = fleet.relays * fleet.workers / fleet.busy
        self._come_beside(senders - 1, lambda: self._node.serve(costs.bulk_once))
        self._come_beside(
            senders * parts * (1 + fleet.replicas) - 1 - bool(fleet.replicas), lambda: self._node.serve(work)
        )

    def _come_beside(self, count: float, arrive: Done) -> None:
        """So many on average, at random moments of the next few milliseconds; none if this slice has more than that."""
        whole = int(max(0.0, count))
        for _ in range(whole + (self._random.random() < count - whole)):
            self.clock.after(self._random.uniform(0, 5 * self._costs.linger), arrive)

    def _tell(self, start: float) -> None:
        """To the bus if there are other relays, from there to each; each worker looks who wants it."""
        fleet, costs = self._fleet, self._costs
        if fleet.relays == 1:
            self._deliver(start)
            return
        work = costs.note_added + fleet.relays * costs.note_given
        self._hop(lambda: self._bus.serve(work, lambda: self._hop(lambda: self._deliver(start))))

    def _deliver(self, start: float) -> None:
        fleet, costs = self._fleet, self._costs
        workers = fleet.relays * fleet.workers
        work = (costs.note if workers > 1 else 0) + self._mix.deliveries * costs.delivery / workers
        live = self._note(LIVE, start)
        self._worker.serve(work, lambda: self._send(self._mix.deliveries / fleet.relays, live))

    def _note(self, kind: str, start: float) -> Done:
        def note() -> None:
            self.notes.setdefault(kind, []).append(self.clock.now - start)

        return note

    def _hop(self, do: Done) -> None:
        self.clock.after(self._costs.hop, do)
