"""All that the pipeline knows of a client: `Recipient`, where messages go, and the flushes that send them.

Who puts a message into a recipient does not send it. A recipient over a network asks for a flush when something waits
for it and nothing did before. A stage that has a whole batch to answer or to deliver collects those flushes and carries
them out itself, so that what came for one client leaves in one system call; at all other times they are the affair of
whoever serves the clients (`net/flush`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, Self, TypeAlias

from trio_relay.turns import Turn

Frame: TypeAlias = Callable[[bytes], bytes]
"""Puts a message into its form on the wire; the same function for all clients that can share the result."""

Flush: TypeAlias = Callable[[], None]
"""Sends what waits for one client as far as the network takes it; sync, never waits, never fails."""


def unframed(message: bytes) -> bytes:
    """The frame of clients in the same process: none."""
    return message


class Recipient(Protocol):
    """Where one client's messages go: its connection's outbox, or anything of an embedding program's.

    Messages are whole JSON arrays as NIP-01 has them. Nothing here fails because of the client: what cannot be taken is
    dropped, and the client that it was for is to be disconnected.
    """

    @property
    def frame(self) -> Frame:
        """Frames answers and stored events; `unframed` where there are no frames."""

    @property
    def live_frame(self) -> Frame:
        """Frames live events, of which each is framed once for all clients with the same function and sub id."""

    @property
    def chunk_bytes(self) -> int:
        """Of stored events that may be framed and sent in one go, so that framing takes a few milliseconds at most."""

    def send_nowait(self, message: bytes) -> None:
        """Send an answer; it never waits for room."""

    def send_framed_nowait(self, framed: bytes) -> None:
        """Send what has been through one of the frames, be it several messages; it never waits for room either."""

    def has_room_for(self, size: int) -> bool:
        """True if stored events of so many bytes need not wait."""

    async def wait_for_room(self, framed: Sequence[bytes] = (), page: Sequence[bytes] = ()) -> None:
        """Wait until these stored events find room beside what is to come live, or the client is gone.

        Args:
            framed: they.
            page: that they are part of, which is held meanwhile.
        """


class FlushCollector:
    """Tells recipients who carries out their flushes.

    Attributes:
        current: a stage's list, while it collects; None: whoever serves the clients.
    """

    __slots__ = ("current",)

    def __init__(self) -> None:
        self.current: list[Flush] | None = None

    def collected(self) -> CollectedFlushes:
        """An empty collection; flushes go into it within its `with` blocks."""
        return CollectedFlushes(self)


class CollectedFlushes:
    """The flushes that recipients asked for while a stage filled them.

    Nobody may wait within a `with` block, so that nobody else's flushes get in; a collection may have several blocks,
    one after another.
    """

    __slots__ = ("_collector", "_flushes")

    def __init__(self, collector: FlushCollector) -> None:
        self._collector = collector
        self._flushes: list[Flush] = []

    def __enter__(self) -> Self:
        assert self._collector.current is None, "another stage collects: somebody waited within its block"
        self._collector.current = self._flushes
        return self

    def __exit__(self, *_exception: object) -> None:
        self._collector.current = None

    async def flush(self) -> None:
        """Carry out what was collected so far."""
        flushes, self._flushes = self._flushes, []
        if len(flushes) > 1:
            await flush_all(flushes)
        elif flushes:  # a lone event's: nobody's turn is over yet
            flushes[0]()


async def flush_all(flushes: Sequence[Flush]) -> None:
    """Carry out flushes, with turns for others; who brings so much waits until it is on its way."""
    turn = Turn()
    for flush in flushes:
        flush()
        if turn.is_over:
            await turn.give_shielded()
