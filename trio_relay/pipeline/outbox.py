"""What waits to be sent to one client: bounded in bytes, so that who doesn't read hurts only himself.

Answers and live events never wait: where they find no room the client is too slow, and is told so and left. Stored
results wait for room, and take at most half of it, so that a large answer does not cost the client its live events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import trio

from trio_relay.pipeline.post import Flush, Post

Frame: TypeAlias = Callable[[bytes], bytes]
"""Puts a message into its form on the wire; the same function for all clients that can share the result."""

_OVERHEAD: Final = 64
"""What a waiting message costs beyond its own bytes; without it, a flood of tiny answers would pass for small."""

_TAKE_BYTES: Final = 65_536
"""What leaves in one go: so little that a slow but living client shows progress, and a close frame comes soon."""


def unframed(message: bytes) -> bytes:
    """The frame of clients in the same process: none."""
    return message


def _nothing() -> None:
    pass


class Outbox:
    """A queue with one reader, who sends, and any number of senders in the same loop.

    The reader either waits in `take`, or gives a `flush` that comes for what waits with `take_nowait`.

    Args:
        frame: see `Frame`.
        most_bytes: what may wait; half of it for stored results.
        on_overflow: called once, when something found no room; sync. The outbox takes nothing from then on;
            whoever is called must `close` it, for its reader to come to an end.
        flush: has what waits sent as far as the network takes it; put into the post when something waits and nothing
            did before, and called when there is no more room: what was never offered to the client is not his delay.
        post: carries flushes out.
        live_frame: as `frame`, for live events; the same by default.
        turn_bytes: of stored results that `frame` may be given in one go, so that it takes a few milliseconds at most.
    """

    __slots__ = (
        "_arrived",
        "_bytes",
        "_closed",
        "_ended",
        "_flush",
        "_most",
        "_on_overflow",
        "_post",
        "_room",
        "_waiting",
        "frame",
        "half",
        "is_held",
        "live_frame",
        "turn_bytes",
    )

    def __init__(
        self,
        frame: Frame,
        most_bytes: int,
        on_overflow: Callable[[], None],
        flush: Flush = _nothing,
        post: Post | None = None,
        turn_bytes: int = 2**20,
        live_frame: Frame | None = None,
    ) -> None:
        self.frame = frame
        self.live_frame = live_frame or frame
        self.half = most_bytes // 2
        self.is_held = False
        """True while the reader puts things in himself, and will come for them anyway: the post is not called."""
        self._most = most_bytes
        self._on_overflow = on_overflow
        self._flush = flush
        self._post = post
        self.turn_bytes = turn_bytes
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._closed = False
        self._ended = False
        self._arrived: trio.Event | None = None
        self._room: trio.Event | None = None

    def send_nowait(self, message: bytes) -> None:
        """Queue one message; dropped only if the client is gone, or leaves because of it."""
        self.put_nowait(self.frame(message))

    def put_nowait(self, framed: bytes) -> None:
        """Queue what is framed already."""
        if self._closed:
            return
        cost = len(framed) + _OVERHEAD
        # A client that has read everything before gets its message, whatever the size.
        if self._bytes + cost > self._most and self._bytes and not self._made_room(cost):
            if not self._closed:
                self._closed = True  # but not ended: the reader, who may have all of it, waits for the last word
                self._wake_senders()
                self._on_overflow()
            return
        self._bytes += cost
        self._waiting.append(framed)
        if len(self._waiting) == 1:
            if self._post is not None and not self.is_held:
                self._post.add(self._flush)
            if self._arrived is not None:
                self._arrived.set()
                self._arrived = None

    def _made_room(self, cost: int) -> bool:
        self._flush()  # which closes this where it finds that the client is gone
        return not self._closed and (not self._bytes or self._bytes + cost <= self._most)

    def has_room_for(self, size: int) -> bool:
        """True if stored results of so many bytes need not wait."""
        return self._bytes + size <= self.half and not self._closed

    async def wait_for_room(self, framed: Sequence[bytes] = ()) -> None:
        """Wait until at least half of the room is free and these messages fit in, or the client is gone."""
        below = min(self.half, self._most - sum(map(len, framed)) - _OVERHEAD * len(framed))
        while not self._closed and self._bytes and self._bytes > below:
            if self._room is None:
                self._room = trio.Event()
            await self._room.wait()

    async def take(self) -> tuple[bytes, int]:
        """What waits, about `_TAKE_BYTES` of it, joined, and what it cost; `(b"", 0)` once closed and empty.

        The cost is to be given to `sent` when the bytes are on their way: until then they fill the outbox.
        """
        while not self._waiting:
            if self._ended:
                return b"", 0
            self._arrived = trio.Event()
            await self._arrived.wait()
        return self.take_nowait()

    def take_nowait(self) -> tuple[bytes, int]:
        """As `take`, but `(b"", 0)` also while nothing waits."""
        if not self._waiting:
            return b"", 0
        taken = self._next_frames()
        joined = taken[0] if len(taken) == 1 else b"".join(taken)
        return joined, len(joined) + _OVERHEAD * len(taken)

    def _next_frames(self) -> list[bytes]:
        if self._bytes <= _TAKE_BYTES:
            taken, self._waiting = self._waiting, []
            return taken
        size = count = 0
        while size < _TAKE_BYTES and count < len(self._waiting):
            size += len(self._waiting[count])
            count += 1
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def sent(self, cost: int) -> None:
        """What was taken has been sent, or part of it: that room is free again."""
        self._bytes -= cost
        if self._room is not None and self._bytes <= self.half:
            self._wake_senders()

    def close(self, *, last: bytes = b"", forget: bool = False) -> None:
        """Take nothing more; what waits is still to be sent.

        Args:
            last: framed, goes out after all else and finds room always: a close frame.
            forget: drop what waits, so that `last` is next.
        """
        if forget:
            self._bytes -= sum(map(len, self._waiting)) + _OVERHEAD * len(self._waiting)
            self._waiting.clear()
        if last:
            self._waiting.append(last)
            self._bytes += len(last) + _OVERHEAD
        self._closed = self._ended = True
        # Nothing calls them any more, and a client who is gone is not to wait for the garbage collector.
        self._on_overflow = self._flush = _nothing
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None
        self._wake_senders()

    def _wake_senders(self) -> None:
        if self._room is not None:
            self._room.set()
            self._room = None
