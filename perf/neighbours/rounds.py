"""One relay, honest clients, and beside them a crowd of one kind: how long answers take, and who has the cores."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from perf import generator
from perf.filled import filled
from perf.neighbours.crowd import Done
from perf.plan import Counted, Failed, Plan
from perf.servers import OURS, Server, running

STORED: Final = 150_000
CORPUS: Final = 66_000
"""Signed events, of which each round publishes some that are new."""
_ALONE: Final = 6.0
_BESIDE: Final = 12.0
"""Seconds of honest clients alone, and of them beside hostile ones."""
_HONEST: Final = 10
_LISTENERS: Final = 4
_RATE: Final = 200.0
"""Operations a second of all honest clients together: an event and a REQ by id in turn."""
UNANSWERED: Final = 120
"""Events of honest clients that publish as fast as they may, all together."""
_MOST_PUSHED: Final = 20_000
"""Events of a round in which honest clients publish so."""
_LEAD: Final = 0.5
"""Seconds that the hostile ones have before honest latencies count."""
_PATIENCE: Final = 5.0
_NETWORK: Final = "192.0.2"


class Shares(msgspec.Struct, frozen=True, kw_only=True):
    """Cores that were used during a round, on average.

    Attributes:
        relay: of the relay.
        honest: of the generator of honest clients.
        hostile: of that of hostile ones.
        others: of everything else on the machine.
        stolen: that a hypervisor gave to other machines.
    """

    relay: float
    honest: float
    hostile: float
    others: float
    stolen: float


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Honest clients for some seconds.

    Attributes:
        latencies: seconds by kind of answer, p50 and p99.
        messages: that honest clients got, a second.
        unanswered: operations that were given up; their latencies are those until then.
        shares: of the cores.
    """

    latencies: dict[str, list[float]]
    messages: float
    unanswered: int
    shares: Shares


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of neighbours.

    Attributes:
        kind: its name.
        hostile: how many of them.
        is_pushed: True if honest clients had 120 unanswered events all the time, instead of a fixed rate.
        alone: honest clients before they came.
        beside: honest clients beside them.
        done: what the hostile ones did.
        seconds: that those had.
        rss: bytes of the relay before, and after.
    """

    kind: str
    hostile: int
    is_pushed: bool
    alone: Part
    beside: Part
    done: Done
    seconds: float
    rss: tuple[int, int]


class Ticks(msgspec.Struct, frozen=True):
    """What the system has accounted to all processes so far: seconds of CPU, and those that were stolen."""

    busy: float
    stolen: float


def ticks(stat: str, tick: int) -> Ticks:
    """The first line of /proc/stat, in ticks of which a second has so many."""
    user, nice, system, _, _, irq, softirq, stolen = map(int, stat.split("\n", 1)[0].split()[1:9])
    return Ticks((user + nice + system + irq + softirq) / tick, stolen / tick)


def _ticks() -> Ticks:
    return ticks(Path("/proc/stat").read_text(), os.sysconf("SC_CLK_TCK"))


class House:
    """One relay over a filled store, and its honest clients, who always publish what is new.

    Args:
        server: the relay.
        scale: shrinks all of it, for a trial.
        stored: events that it has.
    """

    def __init__(self, server: Server, scale: float, stored: int) -> None:
        self.server = server
        self.scale = scale
        self._stored = stored
        self._next = 0

    def round(self, kind: str, hostile: int, *, is_pushed: bool = False, seconds: float = _BESIDE) -> Row:
        """Honest clients alone, and then beside so many hostile ones.

        Raises:
            Failed: the relay has ended, or an honest client was refused.
        """
        alone = self.alone(is_pushed=is_pushed)
        before = self.server.rss()
        beside, theirs = self.beside(kind, hostile, seconds, is_pushed=is_pushed)
        return Row(
            kind=kind,
            hostile=hostile,
            is_pushed=is_pushed,
            alone=alone,
            beside=beside,
            done=theirs.done,
            seconds=theirs.seconds,
            rss=(before, self.server.rss()),
        )

    def alone(self, *, is_pushed: bool = False) -> Part:
        """Honest clients alone, for some seconds.

        Raises:
            Failed: the relay has ended, or an honest client was refused.
        """
        return self._honest(_ALONE, is_pushed=is_pushed)

    def beside(self, kind: str, hostile: int, seconds: float, *, is_pushed: bool = False) -> tuple[Part, Crowd]:
        """Honest clients beside so many hostile ones, and what those did.

        Raises:
            Failed: the relay has ended, or an honest client was refused.
        """
        with crowd(self.server.port, hostile, self._stored, kind) as theirs:
            part = self._honest(seconds, is_pushed=is_pushed, theirs=theirs)
        used = theirs.done.cpu / theirs.seconds
        shares = msgspec.structs.replace(part.shares, hostile=used, others=max(0.0, part.shares.others - used))
        return msgspec.structs.replace(part, shares=shares), theirs

    def _honest(self, seconds: float, *, is_pushed: bool, theirs: Crowd | None = None) -> Part:
        seconds *= self.scale
        count = round(_MOST_PUSHED * self.scale) if is_pushed else 2 * round(_RATE * seconds / 2)
        plan = Plan(
            load="publish" if is_pushed else "honest",
            port=self.server.port,
            corpus=round(CORPUS * self.scale),
            first=self._next,
            count=count,
            connections=_HONEST,
            window=UNANSWERED // _HONEST,
            subscribers=0 if is_pushed else _LISTENERS,
            shape="id",
            filled=self._stored,
            rate=0 if is_pushed else _RATE,
            patience=seconds if is_pushed else seconds + _PATIENCE,
            network=_NETWORK,
        )
        self._next += count if is_pushed else count // 2
        looks: list[tuple[float, float, Ticks]] = []

        def look() -> None:
            looks.append((time.perf_counter(), self.server.cpu(), _ticks()))

        def begin() -> None:
            if theirs is not None:
                theirs.begin()
                time.sleep(_LEAD)
            look()

        try:
            counted = generator.run(plan, begin, look)
        except Failed as failed:
            raise Failed(self.server.reason(str(failed))) from failed
        return _part(counted, *looks)


def _part(counted: Counted, before: tuple[float, float, Ticks], after: tuple[float, float, Ticks]) -> Part:
    seconds = after[0] - before[0]
    relay = (after[1] - before[1]) / seconds
    honest = counted.cpu / seconds
    busy = (after[2].busy - before[2].busy) / seconds
    return Part(
        latencies=counted.latencies,
        messages=counted.messages / counted.seconds,
        unanswered=counted.unanswered,
        shares=Shares(
            relay=relay,
            honest=honest,
            hostile=0.0,
            others=max(0.0, busy - relay - honest),
            stolen=(after[2].stolen - before[2].stolen) / seconds,
        ),
    )


class Crowd:
    """A process of hostile clients that have connected, and do nothing yet."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._began = self.seconds = 0.0
        self.done = Done()
        """What they did, once they have ended."""

    def begin(self) -> None:
        """Let them be hostile."""
        self._began = time.perf_counter()
        self._tell(b"go\n")

    def end(self) -> None:
        """Let them go, and hear what they did."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self.seconds = time.perf_counter() - self._began
        self.done = msgspec.json.decode(self._process.stdout.read() or b"{}", type=Done)

    def _tell(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()


@contextmanager
def crowd(port: int, hostile: int, stored: int, kind: str) -> Iterator[Crowd]:
    """Hostile clients of a kind, once all have connected.

    Raises:
        Failed: they could not.
    """
    command = [sys.executable, "-m", "perf.neighbours.crowd", str(port), str(hostile), str(stored), kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline() != b"ready\n":
                raise Failed("the hostile clients have failed; their traceback is above")
            one = Crowd(process)
            yield one
            one.end()
        finally:
            process.kill()


@contextmanager
def house(python: str, tell: Callable[[str], None], scale: float = 1.0) -> Iterator[House]:
    """A relay with its default settings over a filled store; of a proxy on this machine it takes addresses.

    Args:
        python: of an environment that has the relay.
        tell: gets a line if it takes a while.
        scale: shrinks all of it, for a trial.

    Raises:
        Failed: the relay doesn't start.
    """
    stored = round(STORED * scale)
    environment = {**OURS.environment, "TRIO_RELAY_NET__TRUSTED_PROXIES": '["127.0.0.1"]'}
    # -P: else it would be the relay in the current folder.
    command = replace(OURS, command=f"{shlex.quote(python)} -P -m trio_relay", environment=environment)
    with running(command, filled(stored, tell)) as server:
        yield House(server, scale, stored)
