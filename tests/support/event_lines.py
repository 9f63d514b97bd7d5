"""Events as the lines of a file."""

from __future__ import annotations

from collections.abc import Iterable

from trio_relay import Event
from trio_relay.nostr import event as wire


def jsonl(events: Iterable[Event]) -> bytes:
    """One event a line, in this order, as an export writes them."""
    return b"".join(wire.encode(event) + b"\n" for event in events)
