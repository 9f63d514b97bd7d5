"""Connections that have not become WebSockets: a place each while they talk HTTP, and whose turn it is to leave.

Nobody is shut out by connections that say nothing: whoever the relay has waited for longest makes room, at first those
of the address that has most of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter

import trio

from trio_relay.net.http import Request, Respond, Response
from trio_relay.places import Places


class Visit(trio.abc.HalfCloseableStream):
    """The stream of a connection that talks HTTP, which notes how long the relay has waited for it.

    Args:
        stream: that connection; its owner closes it.
        scope: the visit ends where this is cancelled.
    """

    def __init__(self, stream: trio.abc.Stream, scope: trio.CancelScope) -> None:
        self._stream = stream
        self._scope = scope
        self.waiting_since: float | None = trio.current_time()
        """Since when it may send a request, or take an answer; None while the relay works on one."""
        self.was_put_out = False
        """True if it had to make room for another."""

    def end(self) -> None:
        """Close the connection soon; sync."""
        self._scope.cancel(reason="the visit has been ended")

    def served(self, answer: Respond) -> Respond:
        """The same answers, during whose making the relay does not wait for this connection."""

        async def served(request: Request) -> Response | None:
            self.waiting_since = None
            try:
                return await answer(request)
            finally:
                self.waiting_since = trio.current_time()

        return served

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        # It counts for nothing: who sends a byte now and then has not asked for anything.
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)
        self.waiting_since = trio.current_time()

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


class Lobby:
    """The places for visits.

    Args:
        most: visits at a time.
        most_of_one: of them, those of one origin; 0: no limit.
        origin: whom a peer at this address counts as; None: it counts under nobody.
    """

    def __init__(self, most: int, most_of_one: int, origin: Callable[[str], str | None]) -> None:
        self._places: Places[Visit] = Places(most, most_of_one, attrgetter("waiting_since"))
        self._origin = origin
        self._visits: set[Visit] = set()

    @property
    def held(self) -> int:
        """Visits of now."""
        return self._places.held

    def has_room(self, peer: str) -> bool:
        """True if a peer at this address may come in; for its sake somebody else's visit may have been ended."""
        origin = self._origin(peer)
        if self._places.lack(origin) is None:
            return True
        idlest = self._places.put_out(origin, trio.current_time())
        if idlest is None:
            return False
        idlest.was_put_out = True
        idlest.end()
        return True

    @contextmanager
    def visit(self, stream: trio.abc.Stream, peer: str) -> Iterator[Visit]:
        """A visit by a peer at this address, which has a place meanwhile; it may be ended, and nothing is raised."""
        with trio.CancelScope() as scope:
            visit = Visit(stream, scope)
            self._places.take(visit, self._origin(peer))
            self._visits.add(visit)
            try:
                yield visit
            finally:
                self._visits.discard(visit)
                self._places.give_back(visit)

    def end_all(self) -> None:
        """End every visit of now."""
        for visit in self._visits:
            visit.end()
