"""Logging: structlog to standard error, as text on a terminal and as JSON elsewhere."""

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
    """Set up logging for the process; lines about a connection carry its number as `client`."""
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
    if not text:
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(options.level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
