"""What the bus asks of a stream: Redis gives it, and the tests' twin in memory.

A stream is a list of entries with a place each. Something is appended at its end, and forgotten at its beginning.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

READ_SECONDS = 1.0
"""How long `StreamLine.read` waits for an entry."""


class StreamAway(Exception):
    """The stream did not answer in time, or with an error; the message is for operators.

    What was asked may be carried out all the same, now or later.
    """


class StreamLine(Protocol):
    """A connection to the stream, for one task at a time. All of it raises `StreamAway`, within seconds."""

    async def append(self, entry: bytes, keep: int) -> str:
        """Put an entry at the end, let about so many of the newest stay, and return its place."""
        ...

    async def read(self, after: str, most: int) -> list[tuple[str, bytes]]:
        """Return the next entries after a place, at least one; none if there is none for `READ_SECONDS`."""
        ...

    async def holds(self, position: str) -> bool:
        """True if the entry of this place is still there, and so everything after it."""
        ...


class Stream(Protocol):
    """A way to connections."""

    def connect(self) -> AbstractAsyncContextManager[StreamLine]:
        """Open a connection; entering and leaving raise `StreamAway`, and what is raised inside passes as it is."""
        ...
