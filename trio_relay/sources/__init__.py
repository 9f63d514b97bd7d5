"""Where events come from that are brought in: files in the forms of other relays, databases, and lines."""

from trio_relay.sources.lines import BrokenFile, Line, event_in, read_lines

__all__ = ["BrokenFile", "Line", "event_in", "read_lines"]
