"""Logging: structlog to standard error, as text on a terminal and as JSON elsewhere; what libraries log included."""

from __future__ import annotations

import logging
import sys
from typing import Annotated, Literal

import msgspec
import structlog
from msgspec import Meta


class LogOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is logged, and in which form. The content of events is never logged."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The least important lines that are shown; debug logs each connection."),
    ] = "info"
    format: Annotated[
        Literal["auto", "text", "json"],
        Meta(description="Form of the lines: text for people, json for programs; auto: text on a terminal, else json."),
    ] = "auto"


def configure(options: LogOptions) -> None:
    """Set up logging for the process; lines about a connection carry its number as `client`.

    Libraries log by the standard library, and Python warns by it from here on: their lines get the same form, with the
    name of the `logger`. They speak from warnings on, whatever the level, since below that some tell of each request,
    and others of all that is sent.
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
