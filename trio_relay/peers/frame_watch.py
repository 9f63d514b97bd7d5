"""The frames of another relay, followed by their headers alone (RFC 6455, section 5.2). Pure.

A WebSocket library bounds the bytes of a message, but neither how many frames it has nor how long it takes, and it
answers every ping: an endless message of empty frames fills the memory, and looks like a relay that is there.
"""

from __future__ import annotations

from typing import Final

from trio_relay.peers.options import PeerOptions
from trio_relay.peers.waiting import Patience

MOST_FRAMES: Final = 16_384
"""Of one message: some 256 bytes each in the longest one that a peer may send."""
_IS_LAST: Final = 0x80
_IS_CONTROL: Final = 0x08
_IS_MASKED: Final = 0x80
_LENGTHS: Final = {126: 2, 127: 8}
"""Bytes of a length that follows the first two, by what stands in its place there."""
_HEAD_END: Final = b"\r\n\r\n"


class FrameWatch:
    """Follows what comes, from the first byte of the handshake's answer on.

    Args:
        options: the bounds of the connection.
    """

    def __init__(self, options: PeerOptions) -> None:
        self._seconds = options.answer_seconds
        self._patience = Patience(options.patience)
        self._head: bytearray | None = bytearray()
        """The end of what came of the handshake, or None once that is done."""
        self._header = bytearray()
        """What came of the header of a frame."""
        self._payload = 0
        """Bytes that are still to come of a frame."""
        self._frames = 0
        """Of the message that has begun."""
        self._waited = 0.0

    def take(self, data: bytes | bytearray, now: float, waited: float) -> str | None:
        """Follow what came; returns what is too much of it, if anything is.

        Args:
            data: the next bytes.
            now: seconds, of any clock.
            waited: seconds for which this was waited for.
        """
        if self._head is not None:
            data = self._after_handshake(data)
        if self._frames:
            self._waited += waited
        fault = self._follow(data, now)
        if fault is None and self._frames and self._waited > self._seconds:
            return f"it did not end a message within {self._seconds:g} seconds"
        return fault

    def _after_handshake(self, data: bytes | bytearray) -> bytes | bytearray:
        assert self._head is not None
        self._head += data
        _, end, rest = self._head.partition(_HEAD_END)
        self._head = None if end else self._head[1 - len(_HEAD_END) :]
        return rest

    def _follow(self, data: bytes | bytearray, now: float) -> str | None:
        place = 0
        while place < len(data):
            if self._payload:
                skipped = min(self._payload, len(data) - place)
                self._payload -= skipped
                place += skipped
                continue
            self._header.append(data[place])
            place += 1
            if len(self._header) == _size_of(self._header):
                fault = self._begin(now)
                if fault is not None:
                    return fault
        return None

    def _begin(self, now: float) -> str | None:
        """Note a frame whose header is there."""
        header, self._header = self._header, bytearray()
        length = header[1] & 127
        self._payload = int.from_bytes(header[2 : 2 + _LENGTHS[length]], "big") if length in _LENGTHS else length
        if header[0] & _IS_CONTROL:
            return None if self._patience.bears(now) else "it floods: pings and pongs"
        self._waited = self._waited if self._frames else 0.0
        self._frames = 0 if header[0] & _IS_LAST else self._frames + 1
        return None if self._frames <= MOST_FRAMES else f"it sent a message of more than {MOST_FRAMES} frames"


def _size_of(header: bytearray) -> int:
    """Bytes that a header has, as far as is known."""
    if len(header) < 2:
        return 2
    return 2 + _LENGTHS.get(header[1] & 127, 0) + (4 if header[1] & _IS_MASKED else 0)
