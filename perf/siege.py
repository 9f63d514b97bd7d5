"""Ten thousand hostile connections that say next to nothing, held for two minutes beside a few honest clients.

A third of them are WebSockets that stay idle, a third connect and say nothing, and a third say a byte of their
handshake each second. Who is hung up on comes back after some seconds. All come from addresses of this machine, 127.x,
so that there are ports enough.

`python -m perf.siege PORT CONNECTIONS` is the process of the hostile ones: it says "ready" once each has tried, and
what became of them once its input ends, or after five minutes.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import click
import msgspec
import trio

from perf import generator
from perf.plan import Counted, Failed, Plan
from perf.report import number, verdict
from perf.results import Verdict
from perf.servers import OURS, Server, relay_of, running
from perf.stalls.hostile import besieged
from perf.wire import handshake

CONNECTIONS: Final = 10_000
HELD: Final = 120.0
MOST_WAITING: Final = 0.02
"""Seconds: the bar for the 99th of a hundred honest answers …"""
MOST_TIMES: Final = 3.0
"""… or so many times what it is without hostile ones, if that is more."""
MOST_LEFT: Final = 60e6
"""Bytes above those of the start, a minute after the last hostile client has gone."""
STORED: Final = 20_000
_CORPUS: Final = 66_000
_ALONE: Final = 10.0
_AFTER: Final = 60.0
_HONEST: Final = 10
_RATE: Final = 200.0
_PATIENCE: Final = 10.0
_MOST_SECONDS: Final = 300.0
_BACK: Final = 5.0
_AT_A_TIME: Final = 200
_CRUMB: Final = 1.0
_KINDS: Final = ("idle", "silent", "slow")


class Besieged(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        alone: seconds by kind of answer, p50 and p99, of honest clients while nobody is hostile.
        beside: the same while all are.
        unanswered: honest questions that were given up.
        resident: bytes of the relay before, at most, and a minute after the last hostile client has gone.
        descriptors: that it had open at the same times.
        told: what became of hostile connections: those that stood at the end by kind, and how often one was ended.
    """

    alone: dict[str, list[float]]
    beside: dict[str, list[float]]
    unanswered: int
    resident: tuple[int, int, int]
    descriptors: tuple[int, int, int]
    told: dict[str, int]

    @property
    def verdicts(self) -> list[Verdict]:
        """The bars: what honest clients wait, and what stays behind."""
        found = []
        for kind, (_, p99) in self.beside.items():
            most = max(MOST_WAITING, MOST_TIMES * self.alone[kind][1])
            found.append(
                Verdict(bar=f"p99 of {kind} at most {number(most * 1e3)} ms", value=p99 * 1e3, is_reached=p99 <= most)
            )
        left = self.resident[2] - self.resident[0]
        more = self.descriptors[2] - self.descriptors[0]
        return [
            *found,
            Verdict(bar=f"{MOST_LEFT / 1e6:g} MB left behind", value=left / 1e6, is_reached=left <= MOST_LEFT),
            Verdict(bar="no descriptor left behind", value=more, is_reached=more <= 0),
        ]


def main(python: str, json_file: Path | None = None) -> None:
    """Measure, and tell.

    Args:
        python: of an environment that has the relay.
        json_file: gets the outcome.
    """
    outcome = measure(python)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(outcome), indent=1) + b"\n")
    click.echo(report(outcome))


def report(outcome: Besieged) -> str:
    """All of it, in lines."""
    told = ", ".join(f"{name} {times}" for name, times in sorted(outcome.told.items()))
    return "\n".join(
        [
            "RSS before, at most, a minute later: " + ", ".join(f"{one / 1e6:.0f} MB" for one in outcome.resident),
            "descriptors at the same times: " + ", ".join(map(str, outcome.descriptors)),
            f"honest clients alone (p50/p99 ms): {_latencies(outcome.alone)}",
            f"beside hostile ones: {_latencies(outcome.beside)}, {outcome.unanswered} unanswered",
            f"hostile connections: {told}",
            *map(verdict, outcome.verdicts),
        ]
    )


def _latencies(quantiles: dict[str, list[float]]) -> str:
    return ", ".join(f"{kind} {'/'.join(number(one * 1e3) for one in some)}" for kind, some in quantiles.items())


def measure(python: str, scale: float = 1.0) -> Besieged:
    """Honest clients alone, and then beside all hostile ones.

    Args:
        python: of an environment that has the relay.
        scale: shrinks all of it, for a trial.

    Raises:
        Failed: the relay doesn't start, or an honest client was refused.
    """
    command = OURS if python == sys.executable else relay_of(python, OURS.name)
    seconds = HELD * scale
    plan = Plan(load="honest", corpus=round(_CORPUS * scale), stored=round(STORED * scale), connections=_HONEST)
    told: dict[str, int] = {}
    looks: list[tuple[int, int]] = []
    with running(command) as server:
        plan = msgspec.structs.replace(plan, port=server.port)
        generator.run(msgspec.structs.replace(plan, load="publish", count=plan.stored, window=200), _nothing, _nothing)
        alone = _honest(server, plan, plan.stored, _ALONE * scale)
        looks.append(_look(server))
        hostile = ["-m", "perf.siege", str(server.port), str(max(3, round(CONNECTIONS * scale)))]
        with besieged(hostile, told):
            beside = _honest(server, plan, plan.stored + round(_RATE * _ALONE * scale), seconds)
            looks.append(_look(server))
        time.sleep(_AFTER * scale)
        looks.append(_look(server))
    before, most, after = looks
    return Besieged(
        alone=alone.latencies,
        beside=beside.latencies,
        unanswered=beside.unanswered,
        resident=(before[0], most[0], after[0]),
        descriptors=(before[1], most[1], after[1]),
        told=told,
    )


def _look(server: Server) -> tuple[int, int]:
    """Memory and descriptors of the relay."""
    return server.rss(), len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def _honest(server: Server, plan: Plan, first: int, seconds: float) -> Counted:
    paced = msgspec.structs.replace(
        plan, first=first, count=2 * round(_RATE * seconds / 2), rate=_RATE, patience=seconds + _PATIENCE
    )
    try:
        return generator.run(paced, _nothing, _nothing)
    except Failed as failed:
        raise Failed(server.reason(str(failed))) from failed


def source_of(connection: int) -> str:
    """An address of this machine for each hundred connections."""
    return f"127.1.{connection // 25_000}.{connection // 100 % 250 + 1}"


class _Besieger:
    """One hostile client, which comes back after it was hung up on."""

    def __init__(self, port: int, number: int, tally: Counter[str], doors: trio.CapacityLimiter) -> None:
        self._port = port
        self._number = number
        self._kind = _KINDS[number % len(_KINDS)]
        self._tally = tally
        self._doors = doors

    async def run(self, tried: Callable[[], None]) -> None:
        """Stand before the door, for ever."""
        while True:
            with suppress(OSError), trio.socket.socket() as socket:
                try:
                    async with self._doors:
                        await socket.bind((source_of(self._number), 0))
                        await socket.connect(("127.0.0.1", self._port))
                        if self._kind == "idle":
                            await _upgrade(socket)
                finally:
                    tried()
                await self._stand(socket)
            self._tally["hung up"] += 1
            tried = _nothing
            await trio.sleep(_BACK)

    async def _stand(self, socket: trio.socket.SocketType) -> None:
        self._tally[self._kind] += 1
        try:
            for crumb in handshake() if self._kind == "slow" else b"":
                with trio.move_on_after(_CRUMB):
                    await _drain(socket)
                    return
                await socket.send(bytes([crumb]))
            await _drain(socket)
        finally:
            self._tally[self._kind] -= 1


async def _upgrade(socket: trio.socket.SocketType) -> None:
    await socket.send(handshake())
    if b" 101 " not in await socket.recv(4_096):
        raise ConnectionRefusedError


async def _drain(socket: trio.socket.SocketType) -> None:
    """Read until the end: pings of the relay are not answered, so it will hang up."""
    while await socket.recv(4_096):
        pass


async def _besiege(port: int, connections: int) -> None:
    tally: Counter[str] = Counter()
    waiting = connections
    all_tried = trio.Event()

    def tried() -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            all_tried.set()

    doors, stood = trio.CapacityLimiter(_AT_A_TIME), dict[str, int]()
    with trio.move_on_after(_MOST_SECONDS):
        async with trio.open_nursery() as nursery:
            for one in range(connections):
                nursery.start_soon(_Besieger(port, one, tally, doors).run, tried)
            await all_tried.wait()
            _tell(b"ready")
            await trio.to_thread.run_sync(sys.stdin.buffer.readline, abandon_on_cancel=True)
            stood = dict(tally)
            nursery.cancel_scope.cancel()
    _tell(msgspec.json.encode(stood))


def _tell(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def _nothing() -> None:
    """Nobody looks."""


if __name__ == "__main__":
    generator.open_many_files()
    trio.run(_besiege, int(sys.argv[1]), int(sys.argv[2]))
