"""WebSocket frames that leave the relay (RFC 6455, section 5.2): unmasked, whole, text.

Written by hand because a frame is made once and shared by all clients that get the same message; control frames and all
that comes in are left to websockets' protocol object.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

_FIN_TEXT: Final = 0x81
_SHORT: Final = Struct("!BB").pack
_MEDIUM: Final = Struct("!BBH").pack
_LONG: Final = Struct("!BBQ").pack


def text(message: bytes) -> bytes:
    """One message, valid UTF-8, as a frame."""
    length = len(message)
    if length < 126:
        return _SHORT(_FIN_TEXT, length) + message
    if length < 65_536:
        return _MEDIUM(_FIN_TEXT, 126, length) + message
    return _LONG(_FIN_TEXT, 127, length) + message
