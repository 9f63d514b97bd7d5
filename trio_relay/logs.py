"""Logging: structlog to standard error, as text on a terminal and as JSON elsewhere; what libraries log included.

Strangers can make the relay log what they have written, and have it log often. So what is shown of a value is bounded
and holds no character that a terminal obeys, and warnings and errors of one kind are bounded a minute.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import TextIOBase
from typing import Annotated, Final, Literal, TextIO

import msgspec
import structlog
from msgspec import Meta

log = structlog.get_logger("trio_relay.logs")

_MOST_CHARACTERS: Final = 1_000
"""Of a value; the longest of our own lines have some hundred."""
_MOST_OF_TRACEBACK: Final = 8_000
_MINUTE: Final = 60.0
_MOST_A_MINUTE: Final = 20
"""Lines of one kind, from warnings on."""
_MOST_KINDS: Final = 256
_GRAVE: Final = frozenset({"warning", "error", "critical"})


class LogOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is logged, and in which form. The content of events is never logged."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The least important lines that are shown; debug logs each connection and each refusal."),
    ] = "info"
    format: Annotated[
        Literal["auto", "text", "json"],
        Meta(description="Form of the lines: text for people, json for programs; auto: text on a terminal, else json."),
    ] = "auto"


def open_closed_streams() -> None:
    """Open on nothing what the process was started without, of its standard input, output and error.

    Else the next file that is opened would be one of these, and get what is meant for it.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free: this one
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)


def configure(options: LogOptions, worker: int | None = None) -> None:
    """Set up logging for the process; lines about a connection carry its number as `client`.

    Each line, and each traceback with it, is one write: those of several processes that share an output do not mix.
    On a pipe that is full, the kernel promises that for 4,096 bytes (pipe(7)).

    Args:
        options: what is logged, and in which form.
        worker: the number of the process, if it is one of several; all of its lines carry it.

    Libraries log by the standard library, and Python warns by it from here on: their lines get the same form, with the
    name of the `logger`. So do errors that Python would print by itself, of threads and of destructors. Libraries speak
    from warnings on, whatever the level, since below that some tell of each request, and others of all that is sent.
    """
    text = sys.stderr.isatty() if options.format == "auto" else options.format == "text"
    # Its own formatter of exceptions prints local variables, and with them what events say.
    console = structlog.dev.ConsoleRenderer(colors=_has_colours(), exception_formatter=structlog.dev.plain_traceback)
    last: list[structlog.types.Processor] = [structlog.processors.format_exc_info, _cut]
    last += [_escape, console] if text else [structlog.processors.JSONRenderer()]
    processors: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if worker is not None:
        processors.insert(0, partial(_name_worker, worker))
    sparing, output = Sparing(), WholeWrites(sys.stderr)
    level = logging.getLevelNamesMapping()[options.level.upper()]
    structlog.configure(
        processors=[*processors, sparing, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(output),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(output)
    handler.addFilter(sparing.lets_pass)
    _adopt_libraries(handler, [*processors, structlog.stdlib.add_logger_name], last, max(level, logging.WARNING))


def _has_colours() -> bool:
    """True if standard error is a terminal that shows colours to somebody who wants them (no-color.org)."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class WholeWrites(TextIOBase, TextIO):
    """A text output each of whose writes is one of the system's, however long: Python's cuts them at 8,192 bytes.

    What cannot be written is lost.

    Args:
        stream: where it goes; what waits there goes first.
    """

    def __init__(self, stream: TextIO) -> None:
        stream.flush()
        self._raw = getattr(stream.buffer, "raw", stream.buffer)
        self._encoding = stream.encoding

    def write(self, text: str) -> int:
        data = text.encode(self._encoding, "backslashreplace")
        # A log stops nobody, and holds up nobody: its disk may be full, its terminal closed, who read it may be gone.
        with suppress(OSError):
            # None from an output that was set not to block, and takes no more.
            while data and (written := self._raw.write(data)):
                data = data[written:]
        return len(text)


def _name_worker(
    worker: int, _logger: object, _method: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    line["worker"] = worker
    return line


class Sparing:
    """Leaves out warnings and errors of which there were enough in a minute; the next one tells how many.

    Args:
        clock: seconds, from any time on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}

    def __call__(self, _logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
        """Be a processor of structlog: the kind of a line is its text."""
        if line.get("level") not in _GRAVE:
            return line
        kind, before = self._count(str(line["event"]))
        if kind.lines > _MOST_A_MINUTE:
            raise structlog.DropEvent
        if kind.lines == _MOST_A_MINUTE:
            line["left_out"] = "all like this until the minute is over"
        elif before:
            line["left_out"] = before
        return line

    def lets_pass(self, record: logging.LogRecord) -> bool:
        """Be a filter of the standard library: a line's kind is its logger, since libraries put values into texts."""
        return self._count(f"logger {record.name}")[0].lines <= _MOST_A_MINUTE

    def _count(self, name: str) -> tuple[_Kind, int]:
        """Count a line; gives its kind, and how many were left out before, if a minute begins with it."""
        now = self._clock()
        kind = self._kinds.get(name)
        if kind is not None and now - kind.began < _MINUTE:
            kind.lines += 1
            return kind, 0
        if len(self._kinds) >= _MOST_KINDS:
            self._kinds.clear()
        fresh = self._kinds[name] = _Kind(now)
        return fresh, max(0, kind.lines - _MOST_A_MINUTE) if kind is not None else 0


@dataclass(slots=True)
class _Kind:
    began: float
    lines: int = 1


def _cut(_logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Bound what is shown of each text and each traceback."""
    for name, value in line.items():
        if isinstance(value, str) and len(value) > _MOST_CHARACTERS:
            if name != "exception":
                line[name] = f"{value[:_MOST_CHARACTERS]}…"
            elif len(value) > _MOST_OF_TRACEBACK:  # where it began, and what it was
                half = _MOST_OF_TRACEBACK // 2
                line[name] = f"{value[:half]}\n[…]\n{value[-half:]}"
    return line


def _escape(_logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Write what a terminal would obey, and what would begin a new line, as `\\x1b`: in every value."""
    for name, value in line.items():
        if name == "exception":
            # Each line stands back, so that none of them can be taken for a line of the log.
            line[name] = "\n".join(f"    {printable(text)}" for text in str(value).split("\n"))
        elif name == "event":
            line[name] = printable(str(value))
        elif not isinstance(value, str):
            line[name] = _Shown(printable(repr(value))[:_MOST_CHARACTERS])
        elif not value.isprintable():
            line[name] = _Shown(repr(value))
    return line


class _Shown:
    """What stands in a line as it is."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def printable(text: str) -> str:
    """Return a text in which control characters, line ends and marks of direction are written as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _adopt_libraries(
    handler: logging.Handler, first: list[structlog.types.Processor], last: list[structlog.types.Processor], level: int
) -> None:
    """Give the lines of the standard library's loggers the same form."""
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=first, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    sys.unraisablehook = _note_unraisable
    threading.excepthook = _note_death


def _note_unraisable(found: sys.UnraisableHookArgs) -> None:
    """Log what Python would print: an error that nobody can catch, of a destructor say."""
    # Not what it came from, nor Python's words for that: they might hold what an event says.
    log.error("an exception was ignored", exc_info=found.exc_value)


def _note_death(found: threading.ExceptHookArgs) -> None:
    """Log what Python would print: the error by which a thread has ended."""
    if found.exc_type is not SystemExit:
        log.error("a thread has failed", thread=found.thread.name if found.thread else "", exc_info=found.exc_value)
