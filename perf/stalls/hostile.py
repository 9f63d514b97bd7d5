"""Two hundred hostile clients beside ten honest ones: what memory they make the relay hold, and who waits."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Final

import click
import msgspec

from perf import generator
from perf.plan import Counted, Failed, Plan
from perf.report import number, verdict
from perf.results import Verdict
from perf.servers import OURS, Server, running
from perf.stalls.attackers import ATTACKS, EACH

MOST_MEMORY: Final = 400e6
"""Bytes above those of a relay without hostile clients."""
MOST_WAITING: Final = 0.05
"""Seconds: the bar for the 99th of a hundred honest answers."""
STORED: Final = 20_000
_CORPUS: Final = 45_000
_HONEST: Final = 10
_RATE: Final = 400.0
"""Operations a second of all honest clients together: an event and a small REQ each 50 ms of each."""
_ALONE: Final = 8
_BESIDE: Final = 20
_LOOK: Final = 0.25
_PATIENCE: Final = 10.0
"""Seconds that the last questions may wait; then they are given up."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it; seconds and bytes.

    Attributes:
        alone: latencies of honest clients by kind of answer, p50 and p99, while nobody is hostile.
        beside: the same while all are.
        unanswered: honest questions that were given up; their latencies are those until then.
        idle: memory of the relay before.
        most: the most of it meanwhile.
        cores: that it used meanwhile.
        told: what became of hostile clients, by kind.
    """

    alone: dict[str, list[float]]
    beside: dict[str, list[float]]
    unanswered: int
    idle: int
    most: int
    cores: float
    told: dict[str, int]

    @property
    def verdicts(self) -> list[Verdict]:
        """Both bars."""
        worst = max((quantiles[1] for quantiles in self.beside.values()), default=None)
        grown = self.most - self.idle
        return [
            Verdict(
                bar=f"memory grows by no more than {MOST_MEMORY / 1e6:g} MB",
                value=grown / 1e6,
                is_reached=grown <= MOST_MEMORY,
            ),
            Verdict(
                bar=f"honest clients wait no longer than {MOST_WAITING * 1e3:g} ms (p99)",
                value=None if worst is None else worst * 1e3,
                is_reached=None if worst is None else worst <= MOST_WAITING,
            ),
        ]


def main(names: Sequence[str], python: str, json_file: Path | None = None) -> None:
    """Measure, and tell.

    Args:
        names: of attacks; empty: all.
        python: of an environment that has the relay.
        json_file: gets the outcome.
    """
    if unknown := set(names) - ATTACKS.keys():
        raise click.UsageError(f"no attack {', '.join(sorted(unknown))}; there are {', '.join(ATTACKS)}")
    outcome = measure(python, names or tuple(ATTACKS))
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(outcome), indent=1) + b"\n")
    click.echo(report(outcome))


def report(outcome: Outcome) -> str:
    """All of it, in lines."""
    told = ", ".join(f"{name} {times}" for name, times in sorted(outcome.told.items()))
    lines = [
        f"RSS {outcome.idle / 1e6:.0f} MB before, {outcome.most / 1e6:.0f} MB at most; {outcome.cores:.2f} cores",
        f"honest clients alone (p50/p99 ms): {_latencies(outcome.alone)}",
        f"beside hostile ones: {_latencies(outcome.beside)}, {outcome.unanswered} unanswered",
        f"hostile clients: {told or 'all stay'}",
        *map(verdict, outcome.verdicts),
    ]
    return "\n".join(lines)


def _latencies(quantiles: dict[str, list[float]]) -> str:
    return ", ".join(f"{kind} {'/'.join(number(one * 1e3) for one in some)}" for kind, some in quantiles.items())


def measure(python: str, names: Sequence[str], scale: float = 1.0) -> Outcome:
    """Honest clients alone, and then beside all hostile ones.

    Args:
        python: of an environment that has the relay.
        names: of attacks.
        scale: shrinks all of it, for a trial.

    Raises:
        Failed: the relay doesn't start, or honest clients fail while nobody is hostile.
    """
    # -P: else it would be the relay in the current folder.
    environment = {**OURS.environment, "TRIO_RELAY_NET__TRUSTED_PROXIES": '["127.0.0.1"]'}
    command = replace(OURS, command=f"{shlex.quote(python)} -P -m trio_relay", environment=environment)
    plan = Plan(
        load="honest",
        corpus=round(_CORPUS * scale),
        stored=round(STORED * scale),
        connections=_HONEST,
        shape="author-kind",
    )
    with running(command) as server:
        plan = msgspec.structs.replace(plan, port=server.port)
        generator.run(msgspec.structs.replace(plan, load="publish", count=plan.stored, window=200), _nothing, _nothing)
        alone = _honest(server, plan, plan.stored, _ALONE * scale, _nothing)
        idle = server.rss()
        seen, told = [idle], dict[str, int]()
        used: list[tuple[float, float]] = []

        def attack() -> None:
            ends.enter_context(_watched(server, seen.append))
            attackers = ["-m", "perf.stalls.attackers", str(server.port), str(max(2, round(EACH * scale))), *names]
            ends.enter_context(besieged(attackers, told))
            used.append((time.perf_counter(), server.cpu()))

        first = plan.stored + round(_RATE * _ALONE * scale)
        with ExitStack() as ends:
            beside = _honest(server, plan, first, _BESIDE * scale, attack)
            used.append((time.perf_counter(), server.cpu()))
    (began, cpu), (ended, cpu_then) = used
    return Outcome(
        alone=alone.latencies,
        beside=beside.latencies,
        unanswered=beside.unanswered,
        idle=idle,
        most=max(seen),
        cores=(cpu_then - cpu) / (ended - began),
        told=told,
    )


def _honest(server: Server, plan: Plan, first: int, seconds: float, before: Callable[[], None]) -> Counted:
    """What honest clients find, who connect before something happens."""
    paced = msgspec.structs.replace(
        plan, first=first, count=round(_RATE * seconds), rate=_RATE, patience=seconds + _PATIENCE
    )
    try:
        return generator.run(paced, before, _nothing)
    except Failed as failed:
        raise Failed(server.reason(str(failed))) from failed


@contextmanager
def besieged(arguments: Sequence[str], told: dict[str, int]) -> Iterator[None]:
    """A process of hostile clients, once it says that it is ready; what became of them is told in the end.

    Args:
        arguments: of Python, after which it runs until its input ends.
        told: gets the numbers that it writes then.

    Raises:
        Failed: it ended before.
    """
    with subprocess.Popen([sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.stdout.readline() != b"ready\n":
                raise Failed("the hostile clients have failed; their traceback is above")
            yield
            process.stdin.close()
            told.update(msgspec.json.decode(process.stdout.read(), type=dict[str, int]))
        finally:
            process.kill()


@contextmanager
def _watched(server: Server, see: Callable[[int], None]) -> Iterator[None]:
    """Somebody who looks at the relay's memory all the time."""
    over = Event()

    def watch() -> None:
        while not over.wait(_LOOK):
            see(server.rss())

    thread = Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _nothing() -> None:
    """Nobody looks."""
