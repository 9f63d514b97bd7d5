"""`python -m perf restarts [COUNT]`: how long a new client waits while a relay is restarted under load, and for what.

A relay is started behind a socket that stays open, clients publish and come all the time, and it is restarted as
systemd does it: asked to end, waited for, and started again. In the other way the next process is started at once, and
the two overlap.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import trio

from perf.corpus import signed_events
from perf.restarts.load import Clients, Tally, missing
from perf.restarts.manager import HeldSockets, Notices, hearing, held, tcp

COMMAND: Final = (sys.executable, "-m", "trio_relay")
PATIENCE: Final = 60.0
"""Seconds that a start, or an end, may take."""
COUNT: Final = 50
_EVENTS: Final = 20_000
_BETWEEN_SECONDS: Final = 0.5
"""For which a relay serves between two restarts."""


@dataclass(frozen=True, slots=True)
class Restart:
    """One restart: when it was asked for, the seconds until the old process was gone, and until the new one served."""

    began: float
    ended: float
    served: float


@dataclass(slots=True)
class Outcome:
    """What came of all.

    Attributes:
        restarts: each.
        tally: of the clients.
        lost: ids that were acknowledged, and are not there.
        codes: with which the processes ended.
    """

    restarts: list[Restart] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    lost: set[str] = field(default_factory=set)
    codes: list[int] = field(default_factory=list)

    def longest_waits(self) -> list[float]:
        """For each restart, the seconds that the client waited longest who came during it; 0 if none did."""
        return [
            max((one.waited for one in self.tally.visits if restart.began <= one.came <= restart.served), default=0.0)
            for restart in self.restarts
        ]


class Life:
    """One process of the relay, and what it tells."""

    def __init__(self, process: trio.Process, notices: Notices) -> None:
        self.process = process
        self._notices = notices
        self.ready_at: float | None = None

    async def ready(self) -> None:
        """Wait until it serves."""
        with trio.fail_after(PATIENCE):
            await self._notices.until("READY=1")
        self.ready_at = trio.current_time()

    async def end(self) -> int:
        """Ask it to end, and wait for that; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        with trio.fail_after(PATIENCE):
            return await self.process.wait()


class Starts:
    """Starts processes of the relay, each with the sockets; all are killed when the nursery is cancelled.

    Args:
        nursery: they live in it.
        sockets: handed over to each.
        folder: for the store and the log.
        settings: `section.key` to its value.
        command: what starts one.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        sockets: HeldSockets,
        folder: Path,
        settings: Mapping[str, str],
        command: Sequence[str],
    ) -> None:
        self._nursery = nursery
        self._sockets = sockets
        self._folder = folder
        self._settings = {f"TRIO_RELAY_{key.replace('.', '__').upper()}": value for key, value in settings.items()}
        self._command = command

    async def one(self) -> Life:
        """A process that has just been started."""
        life: Life = await self._nursery.start(self._live)
        return life

    async def _live(self, *, task_status: trio.TaskStatus[Life]) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TRIO_RELAY_")}
        with hearing() as notices, (self._folder / "relay.log").open("ab") as log:
            async with trio.open_nursery() as nursery:
                start = partial(
                    trio.run_process,
                    self._sockets.command(self._command, notices),
                    stdout=log,
                    stderr=log,
                    cwd=self._folder,
                    env=inherited | self._settings,
                    check=False,
                    pass_fds=self._sockets.fds,
                    deliver_cancel=_kill,
                )
                task_status.started(Life(await nursery.start(start), notices))


async def _kill(process: trio.Process) -> None:
    process.kill()


async def restarted(
    folder: Path,
    count: int,
    *,
    settings: Mapping[str, str] | None = None,
    is_overlapping: bool = False,
    command: Sequence[str] = COMMAND,
    tell: Callable[[str], None] = lambda _line: None,
) -> Outcome:
    """Restart a relay so often, under load.

    Args:
        folder: for its store and its log.
        count: of restarts.
        settings: `section.key` to its value.
        is_overlapping: the next process is started when the one before is asked to end, rather than when it has ended.
        command: what starts it.
        tell: gets a line for each restart.
    """
    bound = tcp()
    port: int = bound.getsockname()[1]
    clients = Clients(port, signed_events(_EVENTS))
    outcome = Outcome(tally=clients.tally)
    chosen = {"net.listen": f'["127.0.0.1:{port}"]', "metrics.listen": "", **(settings or {})}
    with held(bound) as sockets:
        async with trio.open_nursery() as living:
            starts = Starts(living, sockets, folder, chosen, command)
            life = await starts.one()
            await life.ready()
            async with trio.open_nursery() as busy:
                busy.start_soon(clients.run)
                for _ in range(count):
                    await trio.sleep(_BETWEEN_SECONDS)
                    with trio.fail_after(PATIENCE):
                        await clients.answered()  # else a machine with much to do would never get round to anyone
                    life = await _restart(starts, life, outcome, is_overlapping=is_overlapping)
                    tell(_line(outcome.restarts[-1]))
                await trio.sleep(_BETWEEN_SECONDS)
                clients.finish()
            outcome.lost = await missing(port, clients.tally.acknowledged)
            outcome.codes.append(await life.end())
    return outcome


async def _restart(starts: Starts, old: Life, outcome: Outcome, *, is_overlapping: bool) -> Life:
    began = trio.current_time()
    ended = began
    if is_overlapping:
        async with trio.open_nursery() as both:

            async def end() -> None:
                nonlocal ended
                outcome.codes.append(await old.end())
                ended = trio.current_time()

            both.start_soon(end)
            new = await starts.one()
            await new.ready()
    else:
        outcome.codes.append(await old.end())
        ended = trio.current_time()
        new = await starts.one()
        await new.ready()
    outcome.restarts.append(Restart(began, ended, trio.current_time()))
    return new


def _line(restart: Restart) -> str:
    ended, served = restart.ended - restart.began, restart.served - restart.began
    return f"  ended after {ended:.3f} s, served again after {served:.3f} s"


def main(names: Sequence[str], workers: int | None, tell: Callable[[str], None] = print) -> None:
    """Measure both ways, and tell the numbers as they come.

    Args:
        names: how many restarts; or nothing, for `COUNT`.
        workers: how many processes serve; None: one.
        tell: gets the lines.
    """
    count = int(names[0]) if names else COUNT
    settings = {} if workers is None else {"pipeline.workers": f"{workers}"}
    for is_overlapping in (False, True):
        with tempfile.TemporaryDirectory(prefix="perf-") as folder:
            outcome = trio.run(
                partial(restarted, Path(folder), count, settings=settings, is_overlapping=is_overlapping)
            )
        for line in report(outcome, "overlapping" if is_overlapping else "one after the other"):
            tell(line)


def report(outcome: Outcome, way: str) -> list[str]:
    """Say what it comes to.

    Args:
        outcome: of all restarts.
        way: in which they were made.
    """
    tally = outcome.tally
    ended = [one.ended - one.began for one in outcome.restarts]
    started = [one.served - max(one.ended, one.began) for one in outcome.restarts]
    usual = [one.waited for one in tally.visits]
    return [
        f"{len(outcome.restarts)} restarts, {way}: {len(tally.acknowledged):,} events acknowledged, {len(outcome.lost)}"
        f" lost; {len(tally.visits):,} new clients, {tally.faults.total()} faults {dict(tally.faults) or ''}".rstrip(),
        f"  exit codes other than 0: {[code for code in outcome.codes if code] or 'none'}",
        f"  longest wait of a new client in each: {_spread(outcome.longest_waits())}",
        f"  of all new clients, between restarts too: {_spread(usual)}",
        f"  from the signal to the end of the old process: {_spread(ended)}",
        f"  from there until the new one serves: {_spread(started)}",
        f"  sent away before they had an answer, and back at once: {tally.sent_away}",
    ]


def _spread(seconds: Sequence[float]) -> str:
    return f"median {statistics.median(seconds):.3f} s, longest {max(seconds):.3f} s"
