"""Reasons for which a connection ends: what the close frame, the log and the metrics say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class CloseReason:
    """How a connection ends.

    Attributes:
        reason: for log and metrics.
        code: of the close frame; 0 if none can or need be sent.
        text: in the close frame.
        seconds: how long it may take until the client's own close frame has come; None: the configured time.
        forget: drop what waits to be sent, so that the close frame comes soon.
    """

    reason: str
    code: int = 0
    text: str = ""
    seconds: float | None = None
    forget: bool = False


CLOSED_BY_CLIENT: Final = CloseReason("closed by client")
LOST: Final = CloseReason("lost")
STOPPING: Final = CloseReason("stopping", 1012, "the relay is stopping")
"""Service restart (the registry of RFC 6455, 11.7): after 1001, "going away", some clients think that all is well and
never come back; after 1012 more of them do. docs/clients.md has the table."""
TOO_SLOW: Final = CloseReason("too slow", 1008, "too slow: messages wait to be read", seconds=1.0, forget=True)
UNFINISHED: Final = CloseReason(
    "unfinished message", 1008, "too slow: a message has to arrive in time (message_seconds)", seconds=1.0
)
IDLE: Final = CloseReason("idle", 1013, "idle: others wait for this place", seconds=1.0)
CROWDED: Final = CloseReason(
    "crowded", 1013, "too many connections from this address: others wait for a place", seconds=1.0
)
SILENT: Final = CloseReason("silent", seconds=0.0)
STUCK: Final = CloseReason("stuck", seconds=0.0)
INSISTENT: Final = CloseReason(
    "rate limited", 1008, "rate-limited: this client goes on whatever it is told", seconds=1.0
)
BARRED: Final = CloseReason(
    "barred",
    1008,
    "blocked: this address has broken too many rules, and is barred for a while",
    seconds=1.0,
    forget=True,
)
