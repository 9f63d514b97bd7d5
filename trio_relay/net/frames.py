"""WebSocket frames that leave the relay (RFC 6455, section 5.2): unmasked, whole, text, plain or deflated (RFC 7692).

Written by hand because a frame is made once and shared by all clients that get the same message; control frames and all
that comes in are left to websockets' protocol object.
"""

from __future__ import annotations

import zlib
from struct import Struct
from typing import Final

_FIN_TEXT: Final = 0x81
_SHORT: Final = Struct("!BB").pack
_DEFLATED: Final = 0x40
"""RSV1 of a frame's first byte: its payload is deflated (RFC 7692, section 6)."""
DEFLATE_WINDOW: Final = 12
"""Bits. A window of 4 KiB finds as much in messages of a few, and takes 20 KB instead of 270 while it works."""
_DEFLATE_LEVEL: Final = 1
_DEFLATE_MEMORY: Final = 5
_WORTH_DEFLATING: Final = range(1_024, 65_537)
"""Bytes. Less than these costs time to save what fits into one packet anyway; more would hold up the loop."""
_EMPTY_BLOCK: Final = b"\x00\x00\xff\xff"
_MEDIUM: Final = Struct("!BBH").pack
_LONG: Final = Struct("!BBQ").pack


def text(message: bytes) -> bytes:
    """One message, valid UTF-8, as a frame."""
    return _framed(_FIN_TEXT, message)


def deflated_text(message: bytes) -> bytes:
    """The same for clients that have agreed to permessage-deflate, deflated where that is worth it.

    Each message stands alone ("no context takeover"), so that all of these clients share the frame, and none of them
    costs memory for what was sent before.
    """
    if len(message) not in _WORTH_DEFLATING:
        return _framed(_FIN_TEXT, message)
    deflate = zlib.compressobj(_DEFLATE_LEVEL, zlib.DEFLATED, -DEFLATE_WINDOW, _DEFLATE_MEMORY)
    packed = deflate.compress(message) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return _framed(_FIN_TEXT | _DEFLATED, packed.removesuffix(_EMPTY_BLOCK))


def _framed(first: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        return _SHORT(first, length) + payload
    if length < 65_536:
        return _MEDIUM(first, 126, length) + payload
    return _LONG(first, 127, length) + payload
