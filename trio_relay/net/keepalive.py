"""When a connection is to be pinged, and when it is to be given up. Pure; the server's watch asks every second."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from trio_relay.net.options import NetOptions

_PIECE_BYTES: Final = 65_536
"""Of a message; for each that has come, its sender gets `message_seconds` more."""


class KeepaliveVerdict(Enum):
    """What to do about a connection now."""

    FINE = auto()
    PING = auto()
    """It has been silent for `ping_seconds`: ask whether anyone is there."""
    SILENT = auto()
    """Nothing came within `pong_seconds` of a ping: give up."""
    STUCK = auto()
    """A piece of output has not left within `send_seconds`: give up."""
    UNFINISHED = auto()
    """A message has begun, and comes too slowly: give up."""


class Keepalive:
    """What one connection has let us know lately; times are Trio's.

    One object a connection and one task for all of them cost less than a timer for each read and write, and reader and
    writer stay plain loops.
    """

    __slots__ = ("_heard", "_message", "_pinged", "_sending", "_size", "_waited")

    def __init__(self, now: float) -> None:
        self._heard: float | None = now
        self._pinged: float | None = None
        self._sending: float | None = None
        self._message = 0
        self._size = 0
        self._waited = 0.0

    def listening(self, now: float) -> None:
        """Something has arrived, or we are ready for more: silence counts from here."""
        self._heard = now
        self._pinged = None

    def busy(self) -> None:
        """We are not reading, by our own choice: the client's silence means nothing."""
        self._heard = None
        self._pinged = None

    def heard_of_unfinished(self, now: float) -> None:
        """Something has arrived behind a message's beginning; to be told before `busy`, whose time does not count."""
        if self._heard is not None:
            self._waited += now - self._heard

    def unfinished(self, message: int, size: int) -> None:
        """A message has begun and not ended.

        Args:
            message: tells it from those before.
            size: bytes that have come of it.
        """
        if message != self._message:
            self._message = message
            self._waited = 0.0
        self._size = size

    def finished(self) -> None:
        """Nothing has begun that has not ended."""
        self._size = 0

    def sending(self, now: float) -> None:
        """A piece of output is handed to the network."""
        self._sending = now

    def sent(self) -> None:
        """It has left."""
        self._sending = None

    @property
    def sending_since(self) -> float | None:
        """Since when the network has not taken a piece of output; None if it has taken all."""
        return self._sending

    def judge(self, now: float, options: NetOptions) -> KeepaliveVerdict:
        """What is to be done now; a PING is taken as sent."""
        if self._size and self._heard is not None:
            allowed = options.message_seconds * (1 + self._size // _PIECE_BYTES)
            if self._waited + now - self._heard >= allowed:
                return KeepaliveVerdict.UNFINISHED
        if self._sending is not None:
            if now - self._sending >= options.send_seconds:
                return KeepaliveVerdict.STUCK
            # A ping stands behind what is leaving: its time begins when that has left, however slowly.
            if self._pinged is not None:
                self._pinged = now
            return KeepaliveVerdict.FINE
        if self._pinged is not None:
            return KeepaliveVerdict.SILENT if now - self._pinged >= options.pong_seconds else KeepaliveVerdict.FINE
        if self._heard is not None and now - self._heard >= options.ping_seconds:
            self._pinged = now
            return KeepaliveVerdict.PING
        return KeepaliveVerdict.FINE
