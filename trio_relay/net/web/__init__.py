"""Pages for people: the front page, pages of events, and the console."""

from __future__ import annotations

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
