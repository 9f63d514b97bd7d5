"""Pages for people: the front page, pages of events, and the console; each module is loaded once it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trio_relay.net.web import (
        assembly,
        console,
        deeds,
        login,
        moderation_pages,
        place,
        plots,
        readable,
        rendering,
        sessions,
    )

__all__ = [
    "assembly",
    "console",
    "deeds",
    "login",
    "moderation_pages",
    "place",
    "plots",
    "readable",
    "rendering",
    "sessions",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")
