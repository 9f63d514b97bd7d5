"""What the original relay promised of its second version, measured of this one: a row for each promise.

`python -m perf promises` prints the table of docs/comparison.md. What other parts of this package measure is taken
from them: the micro-benchmarks for what one step costs, the generator for what clients see. Here is only what is asked
of no peer: whether a killed relay still has what it has acknowledged, whether an event is found as soon as it is, and
what a relay costs that nobody uses.
"""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from threading import Timer
from typing import Final, NamedTuple

import click

from perf import micro
from perf.asking import EOSE, LIVE, OK
from perf.corpus import signed_events
from perf.filling import Stores
from perf.measuring import load
from perf.plan import Counted, Failed, Plan, quantiles
from perf.results import Sample
from perf.scenarios import Scenario
from perf.servers import OURS, Command, Server, running
from perf.serving import serving
from perf.versions import versions
from perf.wire import Loop, Wire, connect, frame
from trio_relay.nostr.event import Event, encode

CORPUS: Final = 45_000
_IDLE_SECONDS: Final = 10.0
_KILLS: Final = 5
_KILLED_WITHIN: Final = (0.3, 1.5)
"""Seconds from the first event to the kill."""
_WINDOW: Final = 100
_CONNECTIONS: Final = 4
_ASKED_AT_ONCE: Final = 200
_ACKNOWLEDGED: Final = re.compile(rb'\["OK","([0-9a-f]{64})",true')
_FOUND: Final = re.compile(rb'"id":"([0-9a-f]{64})"')


class Promise(NamedTuple):
    """One row: what was promised, and what was measured of it."""

    what: str
    measured: str


def main(scale: float = 1.0) -> None:
    """Measure all of it, a minute or two, and print it as a table of Markdown with what took part.

    Args:
        scale: shrinks all counts, for a trial.
    """
    load = os.getloadavg()[0]
    click.echo("| promise | measured |\n|---|---|")
    for row in promises(scale):
        click.echo(f"| {row.what} | {row.measured} |")
    click.echo()
    for name, version in versions([OURS]).items():
        click.echo(f"- {name} {version}")
    click.echo(f"- processes that wanted a core before it began: {load:.1f}")


def promises(scale: float) -> Iterator[Promise]:
    """Give one row after another, as they are measured."""
    yield from _steps()
    events = signed_events(max(round(CORPUS * scale), 600))
    with tempfile.TemporaryDirectory(prefix="perf-") as folder:
        yield from _clients(Stores(Path(folder), click.echo), events, scale)
    tally = kills(OURS, events, _KILLS)
    yield Promise(
        f"OK means stored: killed {_KILLS} times under load",
        f"{tally.lost} lost of {tally.acknowledged:,} acknowledged",
    )
    with running(OURS) as server:
        found, seconds = found_after_ok(server, asked := events[: round(500 * scale) or 1])
    told = f"{found:,} of {len(asked):,}, {_quantiles(quantiles(seconds))}"
    yield Promise("found as soon as its OK is there", told)
    with running(OURS) as server:
        yield _unused(server, max(_IDLE_SECONDS * scale, 1.0))


def _steps() -> Iterator[Promise]:
    """What single steps cost, by the micro-benchmarks."""
    rows = micro.measure(["channels", "validation", "subscriptions"])["rows"]
    cost = {row["what"]: row["value"] for some in rows.values() for row in some}

    def told(**named: str) -> str:
        return ", ".join(f"{cost[what]:.1f} µs {name.replace('_', ' ')}" for name, what in named.items())

    alone, together = (
        "parcels of one event, received one by one",
        "parcels of 64 events, those that wait received together",
    )
    yield Promise("routing a message", told(alone=alone, an_event_of_64_together=together))
    alone, together = "all of it, one a call", "all of it, 256 a call"
    yield Promise("validating an event", told(alone=alone, each_of_256_together=together))
    shapes = {what.partition(",")[0]: what for what in cost if what.startswith(("add, mixed, ", "remove, mixed, "))}
    yield Promise("a subscription operation, 10,000 open", told(to_open=shapes["add"], to_close=shapes["remove"]))


def _clients(stores: Stores, events: Sequence[Event], scale: float) -> Iterator[Promise]:
    """What clients see, by the generator in a process of its own."""

    def measured(name: str, **fields: object) -> Sample:
        counts = {key: max(round(int(str(value)) * scale), 20) for key, value in fields.items() if key in _COUNTS}
        plan = Plan(load=name, corpus=len(events), **{**fields, **counts})  # type: ignore[arg-type]
        with serving(Scenario(name, "", plan), OURS, stores) as (server, _):
            return load(server, OURS.name, plan)

    lone = measured("publish", first=20_000, count=1_000)
    asked = measured("read", shape="id", count=2_000, stored=20_000)
    yield Promise("delivering an answer", f"OK {_latency(lone, OK)}; a stored event {_latency(asked, EOSE)}")
    many = measured("publish", count=20_000, connections=10, window=200)
    heard = measured("follow", count=300, window=20, subscribers=500)
    yield Promise("events a second", f"{_rate(many, 'operations'):,.0f} new ones stored, verified and answered")
    yield Promise("messages a second", f"{_rate(heard, 'messages'):,.0f}, of events to 500 subscribers")
    live = measured("follow", count=1_000, window=1, subscribers=1, rate=100.0)
    yield Promise("live, to one subscriber, 100 events a second", _latency(live, LIVE))
    yield Promise("memory under load", f"{many.rss[1] / 1e6:.0f} MB after {_counted(many).operations:,} events")
    yield Promise("CPU an event", f"{many.cpu / _counted(many).operations * 1e3:.2f} ms")


_COUNTS: Final = ("first", "count", "stored")


def _counted(sample: Sample) -> Counted:
    if sample.counted is None:
        raise Failed(sample.failure)
    return sample.counted


def _rate(sample: Sample, what: str) -> float:
    counted = _counted(sample)
    number: int = getattr(counted, what)
    return number / counted.seconds


def _latency(sample: Sample, kind: str) -> str:
    return _quantiles(_counted(sample).latencies[kind])


def _quantiles(found: Sequence[float]) -> str:
    median, high = found
    return f"p50 {median * 1e3:.2f} ms, p99 {high * 1e3:.2f} ms"


class Tally(NamedTuple):
    """Of a relay that was killed: events whose OK had come, and how many of them it did not have afterwards."""

    acknowledged: int
    lost: int


def kills(command: Command, events: Sequence[Event], times: int) -> Tally:
    """Kill a relay while it takes events in, some times, then ask it for all that it has acknowledged."""
    random = Random(7)
    acknowledged = set[bytes]()
    share = len(events) // times
    with tempfile.TemporaryDirectory(prefix="perf-") as folder:
        for number in range(times):
            with running(command, folder=Path(folder)) as server:
                some = events[number * share : (number + 1) * share]
                acknowledged |= _acknowledged_until_killed(server, some, random.uniform(*_KILLED_WITHIN))
        with running(command, folder=Path(folder)) as server:
            found = _found(server, sorted(acknowledged))
    return Tally(len(acknowledged), len(acknowledged - found))


def _acknowledged_until_killed(server: Server, events: Sequence[Event], seconds: float) -> set[bytes]:
    """Publish over some connections until the relay is killed, and give the ids whose OK has come."""
    acknowledged = set[bytes]()
    left = iter(events)

    def heard(wire: Wire) -> Callable[[bytes], int]:
        def take(data: bytes) -> int:
            oks = list(_ACKNOWLEDGED.finditer(data))
            acknowledged.update(ok[1] for ok in oks)
            wire.send(_burst(left, len(oks)))
            return oks[-1].end() if oks else 0

        return take

    killer = Timer(seconds, os.killpg, (server.process.pid, signal.SIGKILL))
    with _connected(server, _CONNECTIONS) as wires, closing(Loop()) as loop:
        killer.start()
        try:
            for wire in wires:
                wire.on_data = heard(wire)
                wire.join(loop)
                wire.send(_burst(left, _WINDOW))
            loop.run(lambda: False)
        except (Failed, OSError):  # as it should: it was killed
            pass
    killer.join()
    server.process.wait()
    return acknowledged


def _burst(events: Iterator[Event], most: int) -> bytes:
    return b"".join(frame(b'["EVENT",' + encode(event) + b"]") for event, _ in zip(events, range(most), strict=False))


def _found(server: Server, ids: Sequence[bytes]) -> set[bytes]:
    """Ask for events by their ids, and give those that came."""
    found = set[bytes]()
    with _connected(server, 1) as (wire,):
        for start in range(0, len(ids), _ASKED_AT_ONCE):
            listed = b'","'.join(ids[start : start + _ASKED_AT_ONCE])
            wire.socket.sendall(frame(b'["REQ","found",{"ids":["%b"]}]' % listed))
            found.update(_FOUND.findall(_until(wire, b'["EOSE"')))
    return found


@contextmanager
def _connected(server: Server, count: int) -> Iterator[list[Wire]]:
    """Open so many connections, which are closed afterwards."""
    wires = connect(server.port, count)
    try:
        yield wires
    finally:
        for wire in wires:
            wire.socket.close()


def _until(wire: Wire, end: bytes) -> bytes:
    """Read until this has come, at the start of a message."""
    data = b""
    while end not in data:
        data += wire.read()
    return data


def found_after_ok(server: Server, events: Sequence[Event]) -> tuple[int, list[float]]:
    """Publish events one by one, and ask for each as soon as its OK is there; how many were found, and the seconds."""
    found, seconds = 0, list[float]()
    with _connected(server, 1) as (wire,):
        for event in events:
            wire.socket.sendall(_burst(iter([event]), 1))
            _until(wire, b'["OK"')
            start = time.perf_counter()
            wire.socket.sendall(frame(b'["REQ","found",{"ids":["%b"]}]' % event.id.encode()))
            found += event.id.encode() in _FOUND.findall(_until(wire, b'["EOSE"'))
            seconds.append(time.perf_counter() - start)
    return found, seconds


def _unused(server: Server, seconds: float) -> Promise:
    """Look at a relay that no client has spoken to."""
    before = server.cpu()
    time.sleep(seconds)
    share = (server.cpu() - before) / seconds
    return Promise("memory and idle CPU, no client", f"{server.rss() / 1e6:.0f} MB, {share:.1%} of a core")
