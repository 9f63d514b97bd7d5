"""How far an import is, how fast it goes and how long it will take: on a terminal, or by a line now and then."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import click
import trio
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TextColumn

from trio_relay.transfer import ImportSummary

SECONDS_BETWEEN_LINES: Final = 10.0
_SECONDS_BETWEEN_LOOKS: Final = 0.5
_OF_LATE: Final = 30.0
"""Seconds by which the pace is told: what goes slower by and by is seen, and what stutters is evened out."""


class _PaceLook(NamedTuple):
    time: float
    size: int
    events: int


class ImportPace:
    """Tells in words how far something is and how fast it went of late, from a look at it now and then.

    Args:
        total: bytes of the whole; None if nobody knows.
    """

    def __init__(self, total: int | None) -> None:
        self.total = total
        self._looks: deque[_PaceLook] = deque()

    def look(self, time: float, size: int, events: int) -> str:
        """Take a look, and tell.

        Args:
            time: seconds.
            size: bytes of the whole that have been read.
            events: that have been answered.
        """
        self._looks.append(_PaceLook(time, size, events))
        while len(self._looks) > 2 and self._looks[1].time <= time - _OF_LATE:
            self._looks.popleft()
        before = self._looks[0]
        seconds = time - before.time
        told = [f"{events:,} events"]
        if seconds and events > before.events:
            told.append(f"{(events - before.events) / seconds:,.0f}/s")
        if not self.total:
            return ", ".join([*told, decimal(size)])
        told.append(f"{min(size / self.total, 1):.0%} of {decimal(self.total)}")
        # Where nothing was answered, what was read is what is passed over, which says nothing of the rest.
        if seconds and size > before.size and events > before.events:
            told.append(f"{_span((self.total - size) * seconds / (size - before.size))} left")
        return ", ".join(told)


def _span(seconds: float) -> str:
    """Seconds in words: two units at most."""
    whole = max(math.ceil(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class ImportProgress:
    """Tells on standard error how far an import is, and at its end how long it took.

    Where that is no terminal, an import of less than ten seconds has nothing to tell.

    Args:
        summary: has the outcomes.
        is_quiet: True: say nothing.
    """

    def __init__(self, summary: ImportSummary, *, is_quiet: bool) -> None:
        self._read = 0
        self._pace = ImportPace(None)
        self._summary = summary
        self._is_quiet = is_quiet

    def expect(self, total: int | None) -> None:
        """Take so many bytes for what there is to read; None: nobody knows."""
        self._pace.total = total

    def advance(self, size: int) -> None:
        """Take so many bytes for read; called by the thread that reads, and by no other."""
        self._read += size

    async def beside(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work, and tell meanwhile."""
        console, started = Console(stderr=True), trio.current_time()
        if self._is_quiet:
            await work()
        elif console.is_terminal:
            with Progress(*_COLUMNS, console=console, auto_refresh=False, expand=True) as progress:
                task = progress.add_task("", total=self._pace.total)

                def draw(words: str) -> None:
                    progress.update(task, description=words, completed=self._read, refresh=True)

                await self._told(work, draw, _SECONDS_BETWEEN_LOOKS)
                draw(self._done(trio.current_time() - started))
        else:
            await self._told(work, _say, SECONDS_BETWEEN_LINES)
            if (seconds := trio.current_time() - started) >= SECONDS_BETWEEN_LINES:
                _say(self._done(seconds))

    async def _told(self, work: Callable[[], Awaitable[None]], tell: Callable[[str], None], seconds: float) -> None:
        async def tell_regularly() -> None:
            while True:
                self._look()
                await trio.sleep(seconds)
                tell(self._look())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_regularly)
            await work()
            nursery.cancel_scope.cancel(reason="all of it is in")

    def _look(self) -> str:
        return self._pace.look(trio.current_time(), self._read, self._summary.total)

    def _done(self, seconds: float) -> str:
        total = self._summary.total
        return f"{total:,} events in {_span(seconds)}, {total / max(seconds, 0.001):,.0f}/s"


_COLUMNS: Final = (TextColumn("importing"), BarColumn(None), TextColumn("{task.description}"))


def _say(words: str) -> None:
    click.echo(f"importing: {words}", err=True)
