"""The C library's heap: set up so that it gives back what is freed, and asked to do so from time to time.

glibc keeps what a program frees for the program. With its defaults each thread has a heap of its own, up to eight for
each core, and the size from which on a piece is mapped by itself, and unmapped when it is freed, grows to 32 MiB as
soon as one of that size was freed. So one hostile minute costs memory for ever. Python's own objects are elsewhere:
they come in arenas of a megabyte, which Python gives back itself as soon as one is empty.
"""

from __future__ import annotations

import ctypes
from typing import Final

import trio

SECONDS: float = 20.0  # not Final: tests set another
"""Between two times that freed memory is given back, in a thread."""
_LIBRARY: Final = ctypes.CDLL(None)
_ARENA_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -8, -3, -1
"""Parameters of mallopt(3)."""
_HEAPS: Final = 2
"""The program's, and one that all threads share: they work one at a time but for what takes no memory."""
_MAPPED: Final = 2**17
"""glibc's default, which no longer grows once it is set."""


def tune() -> None:
    """Have few heaps, and long pieces unmapped when they are freed; where there is no glibc, nothing is done."""
    if (mallopt := getattr(_LIBRARY, "mallopt", None)) is not None:
        for parameter, value in ((_ARENA_MAX, _HEAPS), (_MMAP_THRESHOLD, _MAPPED), (_TRIM_THRESHOLD, _MAPPED)):
            mallopt(parameter, value)


def give_back() -> None:
    """Give free pages of all heaps back to the system; blocks for some milliseconds, without the GIL."""
    if (trim := getattr(_LIBRARY, "malloc_trim", None)) is not None:
        trim(0)


async def give_back_regularly() -> None:
    """Give free pages back every `SECONDS`, until cancelled."""
    while True:
        await trio.sleep(SECONDS)
        await trio.to_thread.run_sync(give_back)
