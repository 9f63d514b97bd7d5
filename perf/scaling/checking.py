"""One relay on this machine at a share of what it can do, and the simulation's picture of the same: where they differ.

The relay is first asked as fast as it answers, which gives its costs and its greatest rate; then at some shares of that
rate, at random moments. The simulation gets the costs and the rate alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from perf.asking import EOSE, OK
from perf.filling import Stores
from perf.measuring import load as load_server
from perf.plan import Counted
from perf.results import Sample
from perf.scaling.costs import MEASURED, Costs, Request
from perf.scaling.fleet import Fleet, Mix
from perf.scaling.slice import draw
from perf.scenarios import SCENARIOS, Scenario
from perf.servers import OURS
from perf.serving import serving
from perf.yardstick import Reading, look

SCENARIO_NAMES: Final = ("id", "latest", "ingest")
SHARES: Final = (0.25, 0.5, 0.75)
HEAD: Final = (
    "load", "rate", "p50 / p99 ms", "simulated", "CPU an operation", "cores", "simulated",
)  # fmt: skip
_SECONDS: Final = 6.0
"""Of load at each share."""
_LOOKS: Final = 3
_ALONE: Final = Fleet(workers=1, cores=2)
_EVENTS: Final = {"id": 1, "latest": 500}


def checked(
    name: str, tell: Callable[[str], None], scale: float = 1, shares: Sequence[float] = SHARES
) -> Iterator[tuple[str, ...]]:
    """Rows of a table, as they are measured: the relay over SQLite in one scenario, at each share of its greatest rate.

    Args:
        name: of the scenario.
        tell: gets a line about what takes long, and what the greatest rate was.
        scale: shrinks the load, for a trial.
        shares: of the greatest rate.

    Raises:
        Failed: the relay could not do it.
    """
    scenario = SCENARIOS[name].scaled(scale)
    with tempfile.TemporaryDirectory(prefix="perf-") as folder:
        stores = Stores(Path(folder), tell)
        reading = look(_LOOKS)
        most, closed = _load(scenario, stores, 0)
        tell(f"{name}: at most {_rate(most):,.0f}/s, {_each(closed, most) * 1e6:.0f} µs of CPU each")
        mix, costs = _as_simulated(name, _each(closed, most), reading)
        for share in shares:
            counted, sample = _load(scenario, stores, share * _rate(most))
            yield _row(share, counted, sample, mix, costs)


def _load(scenario: Scenario, stores: Stores, rate: float) -> tuple[Counted, Sample]:
    plan = scenario.plan
    if rate:
        plan = msgspec.structs.replace(plan, rate=rate, count=min(plan.count, max(1, round(rate * _SECONDS))))
    with serving(scenario, OURS, stores) as (server, _):
        sample = load_server(server, OURS.name, plan)
    assert sample.counted is not None
    return sample.counted, sample


def _rate(counted: Counted) -> float:
    return counted.operations / counted.seconds


def _each(sample: Sample, counted: Counted) -> float:
    """Seconds of the server's CPU for an operation."""
    return sample.cpu / counted.operations


def _as_simulated(name: str, each: float, reading: Reading) -> tuple[Mix, Costs]:
    """The same load for the simulation: one shape of request, or nothing but events."""
    if name in _EVENTS:
        events = _EVENTS[name]
        only = {name: Request(share=1, sqlite=each, relay=0, once=0, shard=0, events=events)}
        return Mix(events=0, deliveries=0), replace(MEASURED, requests=only)
    verification, sync = min(reading.verifications) / 1e6, median(reading.syncs) / 1e6
    read = max(0.0, each - verification - MEASURED.sqlite_event - MEASURED.sqlite_commit / _ALONE.batch)
    return Mix(events=1, deliveries=0), replace(MEASURED, read=read, verify=verification, fdatasync=sync)


def _row(share: float, counted: Counted, sample: Sample, mix: Mix, costs: Costs) -> tuple[str, ...]:
    seen = draw(_ALONE, mix, costs, sample.rate)
    kind = OK if mix.events else EOSE
    each = _each(sample, counted)
    simulated_cores = seen.loads["workers"] + seen.loads["verifying"] * _ALONE.threads + seen.loads["writer"]
    return (
        f"{share:.0%}",
        f"{sample.rate:,.0f}/s",
        _milliseconds(counted.latencies[kind]),
        _milliseconds(seen.times[kind]),
        f"{each * 1e6:.0f} µs",
        f"{sample.cpu / counted.seconds:.2f}",
        f"{simulated_cores:.2f}",
    )


def _milliseconds(times: Sequence[float]) -> str:
    median, most = times
    return f"{median * 1e3:.2f} / {most * 1e3:.2f}"
