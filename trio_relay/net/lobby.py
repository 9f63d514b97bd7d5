"""Connections that have not become WebSockets: a place each while they talk HTTP, and whose turn it is to leave.

Nobody is shut out by connections that say nothing: whoever the relay has waited for longest makes room, at first those
of the address that has most of them.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from types import TracebackType
from typing import Final, Self

import trio

from trio_relay.net.http import Request, Respond
from trio_relay.net.http_responses import Response
from trio_relay.places import Places
from trio_relay.shares import Elsewhere

PARTING_SECONDS: Final = 1.0
"""Of a relay that stops: for the request of somebody who has just come, and for an answer that is being made."""


class Visit(trio.abc.HalfCloseableStream):
    """The stream of a connection that talks HTTP, which notes how long the relay has waited for it.

    It lasts for the `with` block of which it is the context: that may be ended early, and nothing is raised.

    Args:
        stream: that connection; its owner closes it.
        lobby: in which it has a place meanwhile.
        origin: whom it counts as there.
    """

    def __init__(self, stream: trio.abc.Stream, lobby: Lobby, origin: str | None) -> None:
        self._stream = self._below = stream
        self._lobby = lobby
        self._origin = origin
        self._scope = trio.CancelScope()
        self._came = trio.current_time()
        self.waiting_since: float | None = self._came
        """Since when it may send a request, or take an answer; None while the relay works on one."""
        self.was_put_out = False
        """True if it had to make room for another."""
        self._has_asked = self._is_owed = self._is_parting = False

    def __enter__(self) -> Self:
        self._scope.__enter__()
        self._lobby.admit(self, self._origin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self._lobby.dismiss(self)
        return self._scope.__exit__(kind, error, traceback)

    def go_on(self, stream: trio.abc.Stream) -> None:
        """Read and send on a stream on top of the one so far: a handshake is over."""
        self._stream = stream

    def end(self) -> None:
        """Close the connection soon; sync."""
        self._scope.cancel(reason="the visit has been ended")

    def part(self) -> None:
        """Close the connection as soon as nobody is owed anything; sync.

        A request that is being answered may be so, and one that lies here unread. Whoever has just come may still send
        one: its bytes are on their way, and to close before they are read is a reset, as if nobody had been there.
        """
        self._is_parting = True
        if self._is_owed or _is_readable(self._below):
            self._scope.deadline = trio.current_time() + PARTING_SECONDS
        elif self._has_asked:
            self.end()
        else:
            self._scope.deadline = self._came + PARTING_SECONDS

    def served(self, answer: Respond) -> Respond:
        """The same answers, during whose making the relay does not wait for this connection."""

        async def served(request: Request) -> Response | None:
            self.waiting_since = None
            self._has_asked = self._is_owed = True
            if self._is_parting:
                self._scope.deadline = trio.current_time() + PARTING_SECONDS
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
        self._is_owed = False

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


def _is_readable(stream: trio.abc.Stream) -> bool:
    """Whether something has come that a loop with much to do has not got round to; False where that cannot be told."""
    return isinstance(stream, trio.SocketStream) and stream.socket.is_readable()


class Lobby:
    """The places for visits.

    Args:
        most: visits at a time.
        most_of_one: of them, those of one origin; 0: no limit.
        origin: whom a peer at this address counts as; None: it counts under nobody.
        elsewhere: the visits of other processes, which count too; one of this process makes room.
    """

    def __init__(
        self,
        most: int,
        most_of_one: int,
        origin: Callable[[str], str | None],
        elsewhere: Elsewhere[str] | None = None,
    ) -> None:
        self._places: Places[Visit] = Places(most, most_of_one, attrgetter("waiting_since"), elsewhere=elsewhere)
        self._origin = origin
        self._visits: set[Visit] = set()
        self._is_closed = False

    def bound(self, most: int, most_of_one: int) -> None:
        """Have other bounds hold for whoever comes from now on."""
        self._places.bound(most, most_of_one)

    @property
    def held(self) -> int:
        """Visits of now, in this process."""
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

    def visit(self, stream: trio.abc.Stream, peer: str) -> Visit:
        """A visit by a peer at this address."""
        return Visit(stream, self, self._origin(peer))

    def admit(self, visit: Visit, origin: str | None) -> None:
        """A visit begins: it has a place of this origin, whether there is a free one or not."""
        self._places.take(visit, origin)
        self._visits.add(visit)
        if self._is_closed:  # it was accepted before that
            visit.part()

    def dismiss(self, visit: Visit) -> None:
        """A visit has ended."""
        self._visits.discard(visit)
        self._places.give_back(visit)

    def close(self) -> None:
        """Let nobody stay: see `Visit.part`."""
        self._is_closed = True
        for visit in self._visits:
            visit.part()
