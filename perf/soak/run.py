"""One run: the relay, its clients and the weather for some minutes, and then the judgement."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import trio

from perf import node as opensearch
from perf.cluster import Cluster
from perf.node import Node
from perf.servers import rss_of_session
from perf.soak import judge
from perf.soak.clients import DELIVERED, Asker, Listener, Publisher, Stage, Syncer
from perf.soak.judge import Bounds
from perf.soak.ledger import Ledger
from perf.soak.plan import make_plan, names
from perf.soak.program import Program, Sample, alive, count_descriptors
from perf.soak.redis import Redis
from perf.soak.tally import Tally
from perf.soak.weather import Sky, bring
from perf.soak.writing import Writer

PROGRAM: Final = (sys.executable, "-P", "-m", "trio_relay")
_CALM: Final = 2.0
"""Seconds after which the relay has put away what its last client left."""
_SETTLING: Final = 60.0
"""Seconds in which all that is unanswered must get its answer, once the weather is over."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What is run.

    Attributes:
        seed: of the plan and of what is written.
        seconds: of weather.
        workers: of the relay.
        has_opensearch: a node is its store; else SQLite is.
        has_redis: it is on a bus.
        weathers: those that may come; empty: all.
        publishers: so many.
        pause: seconds between two windows of one of them, on average.
        command: starts the relay.
    """

    seed: int
    seconds: float
    workers: int = 1
    has_opensearch: bool = False
    has_redis: bool = False
    weathers: tuple[str, ...] = ()
    publishers: int = 5
    pause: float = 0.25
    listeners: int = 4
    askers: int = 2
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
        lives: times that the relay was started.
        bounds: what it held.
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
    bounds: Bounds
    counts: dict[str, int]
    sorts: dict[str, int]
    faults: list[str]


class Interrupted(Exception):
    """A signal came; all processes have ended."""


def soak(options: Options, folder: Path, tell: Callable[[str], None]) -> Outcome:
    """Run all of it.

    Args:
        options: what.
        folder: an empty one, which keeps the relay's log and the ledger.
        tell: gets a line about what happens.

    Raises:
        Failed: something is missing, or the relay does not start.
        Interrupted: a signal came.
    """
    with ExitStack() as ends:
        settings, node, redis = _behind(options, folder, ends)
        file = ends.enter_context((folder / "ledger.jsonl").open("wb"))
        return trio.run(partial(_soak, options, folder, settings, node, redis, file, tell))


def _behind(options: Options, folder: Path, ends: ExitStack) -> tuple[dict[str, str], Node | None, Redis | None]:
    """Settings of the relay, and what stands behind it."""
    settings = {
        "metrics.listen": "",
        "net.trusted_proxies": '["127.0.0.1"]',
        "policy.sweep_seconds": "5",
        "pipeline.workers": str(options.workers),
        "store.path": str(folder / "relay.db"),
    }
    if not options.has_opensearch:
        return settings, None, None
    node = ends.enter_context(opensearch.running(opensearch.OLD, folder / "opensearch"))
    cluster = ends.enter_context(closing(Cluster(node.url, node.pid)))
    settings |= {
        "store.backend": "opensearch",
        "opensearch.urls": f'["{node.url}"]',
        "opensearch.prefix": cluster.add(),
        "opensearch.replicas": "0",
        "opensearch.shards": "1",
        "pipeline.write_linger_seconds": "0.002",
    }
    if not options.has_redis:
        return settings, node, None
    redis = Redis(folder)
    ends.callback(redis.kill)
    redis.start()
    return settings | {"bus.url": redis.url}, node, redis


async def _soak(
    options: Options,
    folder: Path,
    settings: Mapping[str, str],
    node: Node | None,
    redis: Redis | None,
    file: BinaryIO,
    tell: Callable[[str], None],
) -> Outcome:
    began = time.monotonic()
    tally = Tally(lambda line: tell(f"{time.monotonic() - began:7.1f} s  {line}"))
    encoder = msgspec.json.Encoder()
    ledger = Ledger(lambda change: void(file.write(encoder.encode(change) + b"\n")))
    program = Program(options.command, settings, folder, tally)
    has = [name for name, is_there in _has(options).items() if is_there]
    plan = make_plan(options.seed, options.seconds, options.weathers or names(has))
    outcome: list[Outcome] = []
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as whole:
            whole.start_soon(_hear, signals, whole.cancel_scope)
            async with alive(program):
                stage = Stage(program.port, ledger, tally, time.time, [], trio.Event())
                await trio.sleep(_CALM)
                start = _sample(program)
                sky = Sky(program, tally, ledger, time.time, node, redis)
                await _weather_and_clients(options, stage, partial(bring, sky, plan, tell))
                await trio.sleep(_CALM)
                end = _sample(program)
                processes = len(program.pids)
                wanted, found = await judge.fates(stage)
                await program.stop(0, over=True)
            sent = {event_id: msgspec.to_builtins(entry.event) for event_id, entry in ledger.entries.items()}
            judge.compare(tally, "by id", wanted, sent, list(found.values()))
            exported = await judge.exported(program, options.command, tally)
            # What has expired is served to nobody, and is exported until it is removed.
            judge.compare(tally, "export", judge.but_expired(wanted, ledger), sent, exported)
            judge.read_log(program.log, tally)
            held = judge.bounds(program.samples, start, end)
            judge.hold_to(held, processes, tally)
            outcome.append(_outcome(options, program, ledger, tally, held))
            whole.cancel_scope.cancel()
    if not outcome:
        raise Interrupted
    return outcome[0]


async def _hear(signals: Any, scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


def _has(options: Options) -> dict[str, bool]:
    return {"workers": options.workers > 1, "opensearch": options.has_opensearch, "redis": options.has_redis}


def _sample(program: Program) -> Sample:
    return Sample(trio.current_time(), rss_of_session(program.pid), count_descriptors(program.pids))


async def _weather_and_clients(options: Options, stage: Stage, weather: Callable[[], Any]) -> None:
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
            with trio.move_on_after(options.seconds):
                await weather()
                await trio.sleep_forever()
            stage.over.set()
            writing.cancel_scope.deadline = trio.current_time() + _SETTLING
        for publisher in publishers:
            for event_id in publisher.unanswered:
                said = stage.ledger.entries[event_id].said
                stage.tally.fault("not answered in calm", f"{event_id}, at last {said!r}")
        with trio.move_on_after(DELIVERED + 1):
            while any(listener.due for listener in stage.listeners):  # noqa: ASYNC110  # many set it
                await trio.sleep(0.1)
        beside.cancel_scope.cancel()


async def _look(listeners: Sequence[Listener]) -> None:
    while True:
        for listener in listeners:
            listener.look()
        await trio.sleep(1)


def _outcome(options: Options, program: Program, ledger: Ledger, tally: Tally, held: Bounds) -> Outcome:
    counts, sorts = tally.counts, tally.sorts
    return Outcome(
        options=options,
        sent=len(ledger.entries),
        acknowledged=len(ledger.acknowledged),
        standing=counts["by id: must stand"],
        found=counts["by id: must stand"] - sorts.get("by id: lost", 0),
        exported=counts["export: must stand"] - sorts.get("export: lost", 0),
        lost=max(sorts.get("by id: lost", 0), sorts.get("export: lost", 0)),
        doubled=sum(sorts.get(sort, 0) for sort in ("delivered twice", "by id: doubled", "export: doubled")),
        lives=program.lives,
        bounds=held,
        counts=dict(counts),
        sorts=sorts,
        faults=tally.faults,
    )


def void(_: object) -> None:
    """Nothing comes of it."""
