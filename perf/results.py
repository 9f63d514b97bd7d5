"""What a measurement gives, as it is written to JSON and read again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from perf.plan import Counted
from perf.yardstick import Yardstick

CLOSED: Final = "closed"
"""The part in which each answer makes the next question."""
PACED: Final = "paced"
"""The part in which questions come at a rate."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One server in one round.

    Attributes:
        server: its name.
        round: from 1.
        part: CLOSED or PACED.
        rate: operations a second that were asked for; 0 in a closed loop.
        counted: by the generator; None if it failed.
        cpu: seconds that the server used.
        rss: of the server, bytes, before the load and after it, connections still open.
        node_cpu: seconds that OpenSearch used behind it.
        batch: events that it wrote in one go, on average; 0 where that was not asked.
        failure: why it failed, in a line.
    """

    server: str
    round: int = 0
    part: str = CLOSED
    rate: float = 0
    counted: Counted | None = None
    cpu: float = 0
    rss: tuple[int, int] = (0, 0)
    node_cpu: float = 0
    batch: float = 0
    failure: str = ""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Medians of one server's rounds in one part; CPU in µs an operation.

    Attributes:
        rate: operations a second.
        messages: that came back, a second.
        latencies: by kind of answer, p50 and p99, µs.
        cpu: of the server, all its processes.
        v: the same in V.
        rss: of the server at the end, bytes.
        growth: of it during the load, bytes an operation.
        cores: that server and generator used together.
        generator_cpu: of the generator.
        ceiling: operations that a second of the generator's CPU makes.
        node_cpu: of OpenSearch, where it stood behind the server.
        batch: events written in one go.
        matches: that a COUNT found.
        rounds: messages that came back in a sync.
        sent: bytes of what it said.
        received: bytes of the answers to that.
    """

    server: str
    part: str
    rate: float
    messages: float
    latencies: dict[str, tuple[float, float]]
    cpu: float
    v: float
    rss: float
    growth: float
    cores: float
    generator_cpu: float
    ceiling: float
    node_cpu: float = 0
    batch: float = 0
    matches: float = 0
    rounds: float = 0
    sent: float = 0
    received: float = 0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One bar: what it says, the relay's value in its unit and whether that reaches it; None: it cannot be told."""

    bar: str
    value: float | None
    is_reached: bool | None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario by all servers, with the yardstick of just then.

    Attributes:
        attempts: that it took until V was steady; `MOST_ATTEMPTS` may be one that was not.
        skipped: servers that took no part, and why.
        failed: servers that could not do it, and why.
    """

    scenario: str
    title: str
    yardstick: Yardstick
    attempts: int
    figures: list[Figures]
    verdicts: list[Verdict]
    skipped: dict[str, str]
    failed: dict[str, str]
    samples: list[Sample]


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """All that a command has measured.

    Attributes:
        versions: of what took part.
        scale: 1, or less in a trial, whose bars mean nothing.
        rounds: of each scenario.
    """

    versions: dict[str, str]
    scale: float
    rounds: int
    runs: list[Run]


def save(results: Results, path: Path) -> None:
    """Write it, readable for people too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def load(path: Path) -> Results:
    """What `save` wrote."""
    return msgspec.json.decode(path.read_bytes(), type=Results)


Tell = Callable[[str], None]
"""Takes a line for whoever waits."""
