"""Puts the clock of day of a process ahead, or behind, by what stands in a file: the system's own stays right.

The relay takes the time from `time.time` and `time.time_ns`; what lasts it measures by clocks that no jump touches, as
it would be on a machine whose clock was set. The file named by `SOAK_CLOCK` holds seconds, a double of 8 bytes; it is
mapped, so that a jump is seen at once.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from typing import Final

AHEAD: Final = struct.Struct("=d")
VARIABLE: Final = "SOAK_CLOCK"


def replace_clock(path: str) -> None:
    """Have `time.time` and `time.time_ns` follow a file."""
    with open(path, "rb") as file:
        ahead = mmap.mmap(file.fileno(), AHEAD.size, access=mmap.ACCESS_READ)
    real, real_ns = time.time, time.time_ns

    def now() -> float:
        seconds: float = AHEAD.unpack_from(ahead)[0]
        return real() + seconds

    def now_ns() -> int:
        return real_ns() + int(AHEAD.unpack_from(ahead)[0] * 1e9)

    time.time, time.time_ns = now, now_ns


if VARIABLE in os.environ:
    replace_clock(os.environ[VARIABLE])
