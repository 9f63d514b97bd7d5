"""Where events come from that are brought in: files in the forms of other relays, databases, and lines."""

from trio_relay.sources.lines import Line, LineBounds, event_in, read_lines
from trio_relay.sources.packed import BrokenFile, Packed, open_packed, said_as_broken
from trio_relay.sources.recognizing import EventSource, NoSource, open_source

__all__ = [
    "BrokenFile",
    "EventSource",
    "Line",
    "LineBounds",
    "NoSource",
    "Packed",
    "event_in",
    "open_packed",
    "open_source",
    "read_lines",
    "said_as_broken",
]
