"""How much ingest is left while backups are made, one right after another: `python -m perf backup [EVENTS]`.

Each round takes three ways in turn, each with a fresh relay over a filled store: nothing beside the load, the command
`trio-relay backup` over and over, and the relay's own backups.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import msgspec

from perf import generator
from perf.filled import filled
from perf.plan import Plan
from perf.servers import OURS, running

EVENTS: Final = 100_000
LEAST: Final = 0.5
"""What ingest is to keep of its rate."""
ALONE, COMMAND, ITSELF = "alone", "beside the command", "beside its own"
_LOAD: Final = Plan(load="publish", corpus=100_000, count=30_000, connections=10, window=200)
_SECONDS_BETWEEN_LOOKS: Final = 0.05


@dataclass(slots=True)
class Ingested:
    """What came of one load: events a second, bytes of the log at its longest, and seconds of each backup."""

    rate: float = 0.0
    log_bytes: int = 0
    backups: list[float] = field(default_factory=list)


def main(names: tuple[str, ...], rounds: int, tell: Callable[[str], None] = print) -> None:
    """Measure, and tell the numbers as they come.

    Args:
        names: how many events are stored before; or nothing, for `EVENTS`.
        rounds: of the three ways.
        tell: gets the lines.
    """
    stored = int(names[0].replace(",", "")) if names else EVENTS
    folder = filled(stored, tell)
    size = (folder / "relay.db").stat().st_size
    tell(f"{stored:,} events stored, {size / 1e6:,.0f} MB; {_LOAD.count:,} new ones, as fast as they are taken")
    found: dict[str, list[Ingested]] = defaultdict(list)
    for _ in range(rounds):
        for way in (ALONE, COMMAND, ITSELF):
            found[way].append(once := _ingest(way, folder))
            tell(f"  {way:18} {once.rate:7,.0f} events/s, {len(once.backups)} backups")
    for line in report(found, size):
        tell(line)


def report(found: dict[str, list[Ingested]], size: int) -> Iterator[str]:
    """Say what it comes to: medians of all rounds, and the longest log.

    Args:
        found: by way, its rounds.
        size: bytes of the store before the load.
    """
    alone = statistics.median(one.rate for one in found[ALONE])
    for way, rounds in found.items():
        rate = statistics.median(one.rate for one in rounds)
        log = max(one.log_bytes for one in rounds)
        line = f"{way}: {rate:,.0f} events/s, {rate / alone:.2f} of alone, a log of {log / 1e6:,.0f} MB at most"
        if took := [seconds for one in rounds for seconds in one.backups]:
            seconds = statistics.median(took)
            line += f"; a backup takes {seconds:.1f} s, {size / seconds / 1e6:,.0f} MB of the store a second"
        yield line if rate >= LEAST * alone else f"{line}: LESS than {LEAST}"


def _ingest(way: str, folder: Path) -> Ingested:
    own = {"TRIO_RELAY_BACKUP__EVERY_SECONDS": "1", "TRIO_RELAY_BACKUP__KEEP": "1"} if way == ITSELF else {}
    found = Ingested()
    with running(replace(OURS, environment=OURS.environment | own), folder) as server:
        with _beside(_look, server.folder, found), _beside(_back_up if way == COMMAND else None, server.folder, found):
            plan = msgspec.structs.replace(_LOAD, port=server.port)
            counted = generator.run(plan, lambda: None, lambda: None)
        found.rate = counted.operations / counted.seconds
        found.backups += seconds_told(server.folder / "log")
    return found


def seconds_told(log: Path) -> Iterator[float]:
    """How long each backup took that a relay has told of in its log."""
    for line in log.read_text().splitlines():
        if line.startswith("{") and (told := json.loads(line)).get("event") == "a backup was made":
            yield told["seconds"]


@contextmanager
def _beside(
    work: Callable[[Path, Ingested, threading.Event], None] | None, folder: Path, found: Ingested
) -> Iterator[None]:
    """Have something go on in a thread, until it is told that this is over."""
    over = threading.Event()
    thread = threading.Thread(target=work, args=(folder, found, over)) if work is not None else None
    if thread is not None:
        thread.start()
    yield
    over.set()
    if thread is not None:
        thread.join()


def _look(folder: Path, found: Ingested, over: threading.Event) -> None:
    while not over.wait(_SECONDS_BETWEEN_LOOKS):
        found.log_bytes = max(found.log_bytes, (folder / "relay.db-wal").stat().st_size)


def _back_up(folder: Path, found: Ingested, over: threading.Event) -> None:
    command = [sys.executable, "-P", "-m", "trio_relay", "backup", str(folder / "relay.backup")]
    environment = os.environ | {"TRIO_RELAY_STORE__PATH": str(folder / "relay.db")}
    while not over.is_set():
        told = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
        found.backups.append(float(told.rpartition("; ")[2].removesuffix(" s\n")))
