"""Logging: structlog to standard error, as text on a terminal and as JSON elsewhere; what libraries log included."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Annotated, Literal

import msgspec
import structlog
from msgspec import Meta

log = structlog.get_logger("trio_relay.logs")


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


def configure(options: LogOptions) -> None:
    """Set up logging for the process; lines about a connection carry its number as `client`.

    Libraries log by the standard library, and Python warns by it from here on: their lines get the same form, with the
    name of the `logger`. So do errors that Python would print by itself, of threads and of destructors. Libraries speak
    from warnings on, whatever the level, since below that some tell of each request, and others of all that is sent.
    """
    text = sys.stderr.isatty() if options.format == "auto" else options.format == "text"
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # The default one prints local variables, and with them what events say.
            exception_formatter=structlog.dev.plain_traceback,
        )
        if text
        else structlog.processors.JSONRenderer()
    )
    processors: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.types.Processor] = [renderer] if text else [structlog.processors.format_exc_info, renderer]
    level = logging.getLevelNamesMapping()[options.level.upper()]
    structlog.configure(
        processors=[*processors, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    _adopt_libraries([*processors, structlog.stdlib.add_logger_name], last, max(level, logging.WARNING))


def _adopt_libraries(first: list[structlog.types.Processor], last: list[structlog.types.Processor], level: int) -> None:
    """Give the lines of the standard library's loggers the same form."""
    handler = logging.StreamHandler(sys.stderr)
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
