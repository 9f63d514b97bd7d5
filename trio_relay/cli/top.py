"""`trio-relay top`: what a running relay does, on the terminal, second by second, as its metrics tell it."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.filesize import decimal
from rich.live import Live
from rich.table import Table

from trio_relay.cli.leaving import CRASHED, leave
from trio_relay.cli.loading import config_option, loaded
from trio_relay.cli.metrics_page import NoPage, look_of, page_url, read_page
from trio_relay.net.vitals import OUTCOMES, Look, Point, between

_SECONDS: Final = 1.0
"""Between two readings."""
_QUIT: Final = "qQ\x03\x04"

Wait = Callable[[float], bool]
"""Waits so many seconds; True if somebody wants to go meanwhile."""


@click.command("top")
@config_option
@click.option("--url", help="The page of metrics, http://…/metrics; by default the one of metrics.listen.")
@click.option("--once", is_flag=True, help="Print one table, of two readings a second apart, and end.")
@click.pass_obj
def top_command(group_path: Path | None, config_path: Path | None, url: str | None, once: bool) -> None:
    """Show what the running relay does, until q or Ctrl-C.

    Connections, subscriptions, events by what became of them, requests and how long they took, deliveries, what waits
    in each stage, commits, the store, CPU and memory: each second, from the metrics listener, of all workers together.
    """
    with suppress(KeyboardInterrupt):
        try:
            place = url or page_url(loaded(config_path or group_path).metrics.listen)
            if once:
                _print_once(place)
            else:
                _follow(place)
        except NoPage as missing:
            leave(CRASHED, str(missing))


def _look(place: str) -> Look:
    return look_of(time.time(), read_page(place))


def _print_once(place: str) -> None:
    before = _look(place)
    time.sleep(_SECONDS)
    Console().print(table(between(before, _look(place))))


def _follow(place: str) -> None:
    before = _look(place)
    with _keys() as wants_to_go, Live(console=Console(), screen=True, auto_refresh=False) as live:
        while not wants_to_go(_SECONDS):
            after = _look(place)
            live.update(table(between(before, after), place), refresh=True)
            before = after


@contextmanager
def _keys() -> Iterator[Wait]:
    """Hear single keys, where there is a keyboard."""
    if not sys.stdin.isatty():
        yield _never
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    tty.setcbreak(keyboard)
    try:
        yield lambda seconds: _is_quit_within(keyboard, seconds)
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _never(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _is_quit_within(keyboard: int, seconds: float) -> bool:
    ends_at = time.monotonic() + seconds
    while (left := ends_at - time.monotonic()) > 0:
        if select.select([keyboard], [], [], left)[0]:
            pressed = os.read(keyboard, 64).decode(errors="ignore")
            if not pressed or any(key in _QUIT for key in pressed):
                return True
    return False


def table(point: Point, title: str | None = None) -> Table:
    """What is shown of a point, a line each: its name and its value."""
    found = Table(title=title, box=None, show_header=False, title_justify="left")
    found.add_column(no_wrap=True)
    found.add_column(justify="right", no_wrap=True)
    for name, value in lines(point.values):
        found.add_row(name, value)
    return found


def lines(values: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """The names and values of a point as a person reads them.

    Args:
        values: see `vitals.Point`.
    """
    yield "connections", _number(values["connections"])
    yield "  new", _rate(values["accepted"])
    yield "subscriptions", _number(values["subscriptions"])
    yield "events in", _rate(values["events"])
    for outcome in OUTCOMES:
        yield f"  {outcome}", _rate(values[outcome])
    yield "requests", _rate(values["requests"])
    yield "  p50", _duration(values.get("p50"))
    yield "  p99", _duration(values.get("p99"))
    yield "deliveries", _rate(values["deliveries"])
    for name, depth in values.items():
        if name.startswith("depth_"):
            yield f"waiting: {name.removeprefix('depth_')}", _number(depth)
    yield "commits", _rate(values["commits"])
    yield "store", decimal(int(values["store_bytes"]))
    yield "waits for clients", decimal(int(values["outgoing_bytes"]))
    yield "CPU", f"{100 * values['cpu']:.0f} %"
    yield "memory", decimal(int(values["resident_bytes"]))


def _number(value: float) -> str:
    return f"{value:,.0f}"


def _rate(value: float) -> str:
    return f"{value:,.1f}/s" if value < 100 else f"{value:,.0f}/s"  # where a digit says little


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1_000 * seconds:.1f} ms"
