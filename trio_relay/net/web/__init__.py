"""Pages for people: the front page, pages of events, and the console."""

from __future__ import annotations

from trio_relay.net.web import place, plots, sessions

__all__ = ["place", "plots", "sessions"]
