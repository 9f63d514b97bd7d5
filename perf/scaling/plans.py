"""Plans: what so many machines hold, and how many it takes for so many events and connections. Arithmetic alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from perf.scaling.costs import MEASURED, Costs
from perf.scaling.fleet import Fleet, Mix, capacity
from perf.scaling.machines import divided

STORED: Final = {1: 10_000_000, 10: 100_000_000, 100: 1_000_000_000}
"""Events of the plan for so many machines."""
STREAM: Final = 268_435_456
"""Bytes that the bus's stream may hold."""
_GB: Final = 1e9
_MILLION: Final = 1_000_000
_BILLION: Final = 1_000_000_000
_MOST_MACHINES: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What each machine has beside its cores and its network.

    Attributes:
        memory: bytes.
        disk: bytes.
        usable_memory: share of it for a relay's workers and clients; of a node's, the system keeps files in as much.
        usable_disk: share of it that the index may fill: OpenSearch moves shards away at 0.85, and merging needs room.
        usable_cores: share of what binds that is used at the busiest hour: beyond it, queues grow faster than load.
        worker: bytes of memory of a worker without clients.
    """

    memory: float = 64 * _GB
    disk: float = 4e12
    usable_memory: float = 0.5
    usable_disk: float = 0.7
    usable_cores: float = 0.6
    worker: float = 60e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What one connection does; guesses, to be replaced by what the metrics of a relay say.

    Attributes:
        requests: a second.
        events: that it publishes, a second.
        deliveries: subscribers that an event reaches.
    """

    requests: float = 1 / 30
    events: float = 1 / 1_000
    deliveries: float = 20

    @property
    def operations(self) -> float:
        """A second."""
        return self.requests + self.events

    @property
    def mix(self) -> Mix:
        """As the arithmetic of a fleet has it."""
        return Mix(events=self.events / self.operations, deliveries=self.deliveries)


@dataclass(frozen=True, slots=True)
class Plan:
    """A fleet, and what it is for."""

    fleet: Fleet
    stored: float
    habits: Habits
    costs: Costs
    machine: Machine

    @property
    def operations(self) -> float:
        """A second, at the busiest hour."""
        return self.machine.usable_cores * capacity(self.fleet, self.habits.mix, self.costs).most

    @property
    def connections(self) -> float:
        """That it can have: as many as its cores serve, and its memory holds."""
        return min(self.operations / self.habits.operations, self.connections_in_memory)

    @property
    def connections_in_memory(self) -> float:
        """As many as its relays' memory holds."""
        free = self.machine.usable_memory * self.machine.memory - self.fleet.workers * self.machine.worker
        return self.fleet.relays * free / (self.costs.connection_bytes + self.costs.socket_bytes)

    @property
    def disk(self) -> float:
        """Bytes of events on each machine that keeps some."""
        if not self.fleet.nodes:
            return self.stored * self.costs.stored_sqlite
        return self.stored * self.costs.stored_cluster * (1 + self.fleet.replicas) / self.fleet.busy

    @property
    def events_at_most(self) -> float:
        """As many as the disks hold."""
        return self.stored * self.machine.usable_disk * self.machine.disk / self.disk

    @property
    def notes(self) -> float:
        """Events a second that the bus carries, with as many clients as there can be; each relay reads all."""
        return self.connections * self.habits.events if self.fleet.relays > 1 else 0

    @property
    def returning(self) -> float:
        """Seconds in which all clients of one relay, which has ended, are connected to the others again."""
        others = self.fleet.relays - 1 or 1
        leaving = self.connections / self.fleet.relays
        return leaving * self.costs.connection / (others * self.fleet.workers * (1 - self.machine.usable_cores))

    @property
    def sent(self) -> float:
        """Bytes a second that each relay sends to clients, without TLS."""
        answered = sum(one.share * one.events for one in self.costs.requests.values())
        events = self.habits.requests * answered + self.habits.events * self.habits.deliveries
        return self.connections * events * self.costs.event_bytes / self.fleet.relays


def planned(machines: int, stored: float, habits: Habits, costs: Costs, machine: Machine) -> Plan:
    """The plan for so many machines."""
    return Plan(divided(machines, stored, habits.mix, costs), stored, habits, costs, machine)


def least(stored: float, connections: float, habits: Habits, costs: Costs, machine: Machine) -> Plan:
    """The plan with the fewest machines that hold so many events and connections.

    Raises:
        ValueError: two hundred are too few.
    """

    def holds(plan: Plan) -> bool:
        return plan.connections >= connections and plan.events_at_most >= stored

    if not holds(planned(_MOST_MACHINES, stored, habits, costs, machine)):
        raise ValueError(f"{_MOST_MACHINES} machines are too few for it")
    plans = (planned(machines, stored, habits, costs, machine) for machines in range(2, _MOST_MACHINES + 1))
    return next(filter(holds, plans))


def table() -> tuple[list[str], list[list[str]]]:
    """The plans of docs/scaling.md: their names, and a row for each line of what they say."""
    plans = {
        f"{count:,} machine{'s' if count > 1 else ''}": planned(count, stored, Habits(), MEASURED, Machine())
        for count, stored in STORED.items()
    }
    plans["1,000,000 connections"] = least(_BILLION, _MILLION, Habits(), MEASURED, Machine())
    columns = [dict(rows(plan)) for plan in plans.values()]
    names = max(columns, key=len)
    return ["", *plans], [[name, *(column.get(name, "") for column in columns)] for name in names]


def rows(plan: Plan) -> Iterator[tuple[str, str]]:
    """What a plan says, a line each: what, and how much."""
    fleet = plan.fleet
    yield "relays, workers each", f"{fleet.relays}, {fleet.workers}"
    yield "nodes", f"{fleet.nodes}" if fleet.nodes else "SQLite"
    yield "events stored", f"{plan.stored:,.0f}"
    yield "shards, copies of each", _shards(plan)
    yield "on each disk", f"{plan.disk / _GB:,.0f} GB"
    in_memory = min(1.0, plan.machine.usable_memory * plan.machine.memory / plan.disk)
    yield "of that in memory, at most", f"{in_memory:.0%}"
    yield "the disks hold", f"{plan.events_at_most / _BILLION:,.1f} billion events"
    yield "operations a second", f"{plan.operations:,.0f}"
    yield "what binds", capacity(fleet, plan.habits.mix, plan.costs).name
    yield "connections, by cores", f"{plan.operations / plan.habits.operations:,.0f}"
    yield "connections, by memory", f"{plan.connections_in_memory:,.0f}"
    yield "connections of a relay", f"{plan.connections / fleet.relays:,.0f}"
    yield "a relay sends", f"{plan.sent * 8 / 1e6:,.0f} Mbit/s"
    yield "events a second", f"{plan.connections * plan.habits.events:,.0f}"
    if fleet.relays > 1:
        yield "the bus sends", f"{plan.notes * fleet.relays * plan.costs.event_bytes * 8 / 1e6:,.0f} Mbit/s"
        yield "its stream reaches back", f"{STREAM / plan.costs.note_bytes / plan.notes:,.0f} s"
        yield "clients of a lost relay are back", f"after {plan.returning:,.1f} s"


def _shards(plan: Plan) -> str:
    if not plan.fleet.nodes:
        return ""
    size = plan.stored * plan.costs.stored_cluster / plan.fleet.shards
    return f"{plan.fleet.shards} of {size / _GB:.0f} GB, {1 + plan.fleet.replicas}"
