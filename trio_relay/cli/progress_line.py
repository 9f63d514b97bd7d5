"""One line on standard error that tells how far a command is, where that is a terminal; elsewhere nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

Advance: TypeAlias = Callable[[int], None]
"""Takes how many more there are."""


@contextmanager
def counted(doing: str) -> Iterator[Advance]:
    """Show how many events have been worked on while the context lasts, and for how long it has.

    Args:
        doing: what is done with them, in a word.
    """
    with _line(f"{doing} {{task.completed:,}} events") as progress:
        task = progress.add_task("", total=None)
        yield lambda number: progress.advance(task, number)


@contextmanager
def timed(doing: str) -> Iterator[None]:
    """Show what is done while the context lasts, and for how long it has been."""
    with _line(doing) as progress:
        progress.add_task("", total=None)
        yield


def _line(words: str) -> Progress:
    console = Console(stderr=True)
    return Progress(TextColumn(words), TimeElapsedColumn(), console=console, disable=not console.is_terminal)
