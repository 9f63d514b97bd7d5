"""All cases against one relay, one after another, while others are subscribed to it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Final

import click
import msgspec

from perf.loads import subscribe
from perf.stalls.attempt import TURNS, Case, Row, attempts
from perf.stalls.events import event_cases
from perf.stalls.frames import frame_cases, http_cases
from perf.stalls.gauge import STORED, gauged
from perf.stalls.report import line, page, summary, tables
from perf.stalls.requests import other_cases, request_cases
from perf.wire import Wire, connect

SECONDS: Final = 285.0
"""A whole run; what comes later is not measured, and that is said."""
_LISTENERS: Final = (
    {"kinds": [1], "limit": 0},
    {"#t": ["nostr", "bitcoin"], "limit": 0},
    {"search": "the relay", "limit": 0},
    {"search": '"answers what" -word', "limit": 0},
    {"limit": 0},
)
"""What others wait for meanwhile; two of them search."""


def cases() -> list[Case]:
    """All, in the order in which they are sent."""
    return [*event_cases(), *request_cases(), *other_cases(), *frame_cases(), *http_cases()]


def main(
    names: Sequence[str], python: str = sys.executable, json_file: Path | None = None, before: Path | None = None
) -> None:
    """Measure, and tell.

    Args:
        names: parts of names of cases, any of which is enough; empty: all.
        python: of an environment that has the relay.
        json_file: gets all rows.
        before: has those of another state, which are set beside these in a table for a page.
    """
    chosen = [case for case in cases() if not names or any(name in case.name for name in names)]
    if not chosen:
        raise click.UsageError(f"no case has any of these in its name: {', '.join(names)}")
    rows = measure(chosen, python, click.echo)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n")
    click.echo("\n" + tables(rows) + "\n")
    if before is not None:
        click.echo(page(msgspec.json.decode(before.read_bytes(), type=list[Row]), rows) + "\n")
    click.echo(summary(rows))


def measure(
    chosen: Sequence[Case],
    python: str,
    tell: Callable[[str], None],
    *,
    seconds: float = SECONDS,
    stored: int = STORED,
) -> list[Row]:
    """Each case, as far as the time allows; a line about each is told.

    Args:
        chosen: in their order.
        python: of an environment that has the relay.
        tell: gets the lines.
        seconds: after which no case begins.
        stored: so many events the relay has before.
    """
    rows: list[Row] = []
    end = time.monotonic() + seconds
    with gauged(python, stored) as gauge, _listening(gauge.server.port):
        tell(f"idle: {gauge.idle:.1%} of a core")
        for number, case in enumerate(chosen):
            if time.monotonic() > end:
                tell(f"the time is over: {len(chosen) - number} of {len(chosen)} cases were not measured")
                break
            for row in attempts(gauge, case, number * TURNS):
                rows.append(row)
                tell(line(row))
    return rows


@contextmanager
def _listening(port: int) -> Iterator[None]:
    """Others, subscribed, whose messages are read and thrown away by a thread."""
    wires = connect(port, len(_LISTENERS))
    subscribe(wires, _LISTENERS)
    over = Event()
    threads = [Thread(target=_drain, args=(wire, over)) for wire in wires]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _drain(wire: Wire, over: Event) -> None:
    wire.socket.settimeout(0.2)
    with wire.socket:
        while not over.is_set():
            try:
                if not wire.socket.recv(262_144):
                    return
            except TimeoutError:
                continue
            except OSError:
                return
