"""One run: the relay, its clients and the weather for some minutes, and then the judgement."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import trio

from perf.plan import Failed
from perf.soak import judge
from perf.soak.behind import Behind, behind
from perf.soak.clients import Asker, Listener, Publisher, Stage, Syncer
from perf.soak.judge import Bounds
from perf.soak.ledger import Ledger
from perf.soak.plan import make_plan, names
from perf.soak.program import Program, Sample, alive
from perf.soak.tally import Tally
from perf.soak.weather import Sky, bring
from perf.soak.writing import Writer

PROGRAM: Final = (sys.executable, "-P", "-m", "trio_relay")
_SETTINGS: Final = {
    "metrics.listen": "",
    "net.trusted_proxies": '["127.0.0.1"]',  # each client has an address of its own
    "policy.sweep_seconds": "5",
}
_WITH_PLUGIN: Final = {
    "plugins.write": f'["{sys.executable}", "{Path(__file__).with_name("plugin.py")}"]',
    "plugins.processes": "2",
}
_CALM: Final = 2.0
"""Seconds after which the relay has put away what its last client left."""
_OVERTIME: Final = 60.0
"""Seconds in which spells may still come that had to wait: where the machine is busy, starts take long."""
_SETTLING: Final = 60.0
"""Seconds in which all that is unanswered must get its answer, once the weather is over."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What is run.

    Attributes:
        seed: of the plan and of what is written.
        seconds: of weather.
        workers: of a relay.
        has_plugin: a write policy in two processes is asked about each event, and lets it in.
        has_opensearch: a node is the store; else SQLite is.
        has_redis: there are two relays on that node, and a bus between them.
        weathers: those that may come; empty: all.
        publishers: so many.
        pause: seconds between two windows of one of them, on average.
        listeners: so many.
        askers: so many.
        delivered: seconds within which events must be live, however the relay stands still meanwhile.
        command: starts a relay.
    """

    seed: int
    seconds: float
    workers: int = 1
    has_plugin: bool = False
    has_opensearch: bool = False
    has_redis: bool = False
    weathers: tuple[str, ...] = ()
    publishers: int = 5
    pause: float = 0.25
    listeners: int = 4
    askers: int = 2
    delivered: float = 60.0
    command: tuple[str, ...] = PROGRAM


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        options: that were run.
        sent: events.
        acknowledged: events with OK true.
        standing: events that must stand in the end.
        found: of them, by their ids.
        exported: of them, in the export.
        lost: of them, missing in either.
        doubled: events that were found or delivered twice.
        lives: times that a relay was started.
        bounds: what each relay held.
        counts: how often what happened.
        sorts: how many faults of each sort.
        faults: word by word.
    """

    options: Options
    sent: int
    acknowledged: int
    standing: int
    found: int
    exported: int
    lost: int
    doubled: int
    lives: int
    bounds: list[Bounds]
    counts: dict[str, int]
    sorts: dict[str, int]
    faults: list[str]


class Interrupted(Exception):
    """A signal came; all processes have ended."""


def soak(options: Options, folder: Path, tell: Callable[[str], None]) -> Outcome:
    """Run all of it.

    Args:
        options: what.
        folder: an empty one, which keeps the ledger, and the log of each relay.
        tell: gets a line about what happens.

    Raises:
        Failed: something is missing, or the relay does not start.
        Interrupted: a signal came.
    """
    with ExitStack() as ends:
        stands = behind(folder, ends, has_opensearch=options.has_opensearch, has_redis=options.has_redis)
        file = ends.enter_context((folder / "ledger.jsonl").open("wb"))
        try:
            return trio.run(partial(_soak, options, folder, stands, file, tell))
        except BaseExceptionGroup as group:
            while isinstance(failed := group.exceptions[0], BaseExceptionGroup):
                group = failed
            if isinstance(failed, Failed):  # alone, since everything else is cancelled then
                raise failed from None
            raise


async def _soak(options: Options, folder: Path, stands: Behind, file: BinaryIO, tell: Callable[[str], None]) -> Outcome:
    began = time.monotonic()
    tally = Tally(lambda line: tell(f"{time.monotonic() - began:7.1f} s  {line}"))
    encode = msgspec.json.Encoder().encode
    ledger = Ledger(lambda change: file.writelines((encode(change), b"\n")))
    settings = {**_SETTINGS, "pipeline.workers": str(options.workers), **stands.settings}
    settings |= _WITH_PLUGIN if options.has_plugin else {}
    programs = [
        Program(options.command, settings, folder / f"relay-{number}", tally) for number in (1, 2)[: _relays(options)]
    ]
    stage = Stage([program.port for program in programs], ledger, tally, time.time, [], trio.Event(), options.delivered)
    sky = Sky(programs, tally, ledger, time.time, stands.node, stands.redis)
    plan = make_plan(options.seed, options.seconds, options.weathers or names(_has(options)))
    outcome: list[Outcome] = []
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as whole:
            whole.start_soon(_hear, signals, whole.cancel_scope)
            async with alive(programs):
                await trio.sleep(_CALM)
                start = [program.sample() for program in programs]
                await _weather_and_clients(options, stage, partial(bring, sky, plan, tell))
                await trio.sleep(_CALM)
                held = _hold(programs, start, tally)
                await _compare(programs, stage, options.command)
            outcome.append(_outcome(options, programs, stage, held))
            whole.cancel_scope.cancel()
    if not outcome:
        raise Interrupted
    return outcome[0]


async def _hear(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


def _has(options: Options) -> list[str]:
    has = {
        "workers": options.workers > 1,
        "plugins": options.has_plugin,
        "opensearch": options.has_opensearch,
        "redis": options.has_redis,
    }
    return [name for name, is_there in has.items() if is_there]


def _relays(options: Options) -> int:
    return 2 if options.has_redis else 1


async def _weather_and_clients(options: Options, stage: Stage, weather: Callable[[], Awaitable[None]]) -> None:
    """All clients, while the weather comes and until what they have sent is answered and delivered."""
    writers = [Writer(options.seed, number, stage.clock) for number in range(options.publishers)]
    authors = [writer.pubkey for writer in writers]
    publishers = [
        Publisher(stage, writer, f"192.0.2.{number}", options.pause) for number, writer in enumerate(writers, 1)
    ]
    stage.listeners.extend(
        Listener(stage, f"192.0.2.{number}", authors) for number in range(101, 101 + options.listeners)
    )
    others: list[Listener | Asker | Syncer] = [
        *stage.listeners,
        *(Asker(stage, f"192.0.2.{number}") for number in range(151, 151 + options.askers)),
        Syncer(stage, "192.0.2.200", authors),
    ]
    async with trio.open_nursery() as beside:
        for client in others:
            beside.start_soon(client.run)
        beside.start_soon(_look, stage.listeners)
        async with trio.open_nursery() as writing:
            for publisher in publishers:
                writing.start_soon(publisher.run)
            calm_from = trio.current_time() + options.seconds
            with trio.move_on_at(calm_from + _OVERTIME):
                await weather()
                await trio.sleep_until(calm_from)
            stage.over.set()
            writing.cancel_scope.deadline = trio.current_time() + _SETTLING
        for publisher in publishers:
            for event_id in publisher.unanswered:
                said = stage.ledger.entries[event_id].said
                stage.tally.fault("not answered in calm", f"{event_id}, at last {said!r}")
        with trio.move_on_after(options.delivered + 2):
            while any(listener.due for listener in stage.listeners):  # noqa: ASYNC110  # many set it
                await trio.sleep(0.1)
        beside.cancel_scope.cancel()


async def _look(listeners: Sequence[Listener]) -> None:
    while True:
        for listener in listeners:
            listener.look()
        await trio.sleep(1)


def _hold(programs: Sequence[Program], start: Sequence[Sample], tally: Tally) -> list[Bounds]:
    """What each relay has held, and whether that was too much."""
    held = []
    for program, first in zip(programs, start, strict=True):
        held.append(judge.bounds(program.samples, first, program.sample()))
        judge.hold_to(held[-1], len(program.pids), tally)
    return held


async def _compare(programs: Sequence[Program], stage: Stage, command: Sequence[str]) -> None:
    """The ledger against what each relay finds, and what the store gives; and their logs. Stops them."""
    asked = [await judge.fates(stage, program.port) for program in programs]
    for program in programs:
        await program.stop(0, over=True)
    sent = {event_id: msgspec.to_builtins(entry.event) for event_id, entry in stage.ledger.entries.items()}
    for number, (wanted, found) in enumerate(asked, 1):
        judge.compare(stage.tally, "by id" if number == 1 else f"by id at {number}", wanted, sent, list(found.values()))
    exported = await judge.exported(programs[0], command, stage.tally)
    # What has expired is served to nobody, and is exported until it is removed.
    judge.compare(stage.tally, "export", judge.but_expired(asked[0][0], stage.ledger), sent, exported)
    for program in programs:
        judge.read_log(program.log, stage.tally)


def _outcome(options: Options, programs: Sequence[Program], stage: Stage, held: list[Bounds]) -> Outcome:
    counts, sorts = stage.tally.counts, stage.tally.sorts
    return Outcome(
        options=options,
        sent=len(stage.ledger.entries),
        acknowledged=len(stage.ledger.acknowledged),
        standing=counts["by id: must stand"],
        found=counts["by id: must stand"] - sorts.get("by id: lost", 0),
        exported=counts["export: must stand"] - sorts.get("export: lost", 0),
        lost=max(number for sort, number in {": lost": 0, **sorts}.items() if sort.endswith(": lost")),
        doubled=sum(number for sort, number in sorts.items() if sort.endswith((" doubled", " twice"))),
        lives=sum(program.lives for program in programs),
        bounds=held,
        counts=dict(counts),
        sorts=sorts,
        faults=stage.tally.faults,
    )
