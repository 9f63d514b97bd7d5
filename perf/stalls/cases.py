"""What one client can send: named cases, each the same in every run, none larger than the default limits allow.

A case is made anew for each turn, because an event counts as new only once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from trio_relay.nostr.limits import Limits

LIMITS: Final = Limits()
MESSAGE: Final = LIMITS.max_message_length
CONTENT: Final = LIMITS.max_content_length
TAGS: Final = LIMITS.max_event_tags
ITEM: Final = LIMITS.max_tag_value_length
VALUES: Final = LIMITS.max_filter_values - 10
"""Of one connection, less what its other subscriptions have."""
FILTERS: Final = LIMITS.max_filters
SEARCH: Final = 1_000
"""Characters in the longest text of a search."""


@dataclass(frozen=True, slots=True)
class Messages:
    """Text messages, one after another on one connection, which can be sent plain or deflated.

    Attributes:
        name: in the table; the class stands before the first space.
        make: gives the messages of a turn.
        answer: how what answers it begins, if that may come late; b"": not to be waited for.
        before: a message that is sent before and answered in the same way, and does not count; b"": none.
    """

    name: str
    make: Callable[[int], Sequence[bytes]]
    answer: bytes = b""
    before: bytes = b""


@dataclass(frozen=True, slots=True)
class Frames:
    """Bytes of WebSocket frames on a connection that has agreed to permessage-deflate.

    Attributes:
        name: as above.
        make: gives what is written.
        inflated: bytes of its messages once inflated; None: nothing of it is deflated, and all that is written counts.
    """

    name: str
    make: Callable[[], bytes]
    inflated: int | None = None


@dataclass(frozen=True, slots=True)
class Requests:
    """Bytes on a connection that is no WebSocket yet."""

    name: str
    make: Callable[[int], bytes]


def filled(part: str, length: int) -> str:
    """Repeat a text up to exactly so many characters."""
    return (part * (length // len(part) + 1))[:length]


def in_bytes(part: bytes, length: int) -> bytes:
    """Repeat bytes, whole parts only, up to so many bytes at most."""
    return part * (length // len(part))
