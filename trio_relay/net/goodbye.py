"""The end of a conversation: what the client is still owed, the close frame, and the client's own.

A relay that stops finishes its answers first. Clients that connect again ask for what is newer than the newest event
that they have, though the rest of an answer, which is older, never came: `findings/history-cut-by-a-restart.sh`.

    stop ── PARTING_SECONDS: whatever was asked is answered ──→ all else ends
         ── as long as it gets on, a step in `close_seconds`: what has begun is finished ──→ close frame
"""

from __future__ import annotations

import math
from typing import Final

import trio

from trio_relay.net.client_events import ClientEvents
from trio_relay.net.client_requests import ClientRequests
from trio_relay.net.close_reasons import CLOSED_BY_CLIENT, STOPPING, CloseReason
from trio_relay.net.keepalive import Keepalive
from trio_relay.net.lobby import PARTING_SECONDS
from trio_relay.net.outbox import Outbox
from trio_relay.net.transport import Transport
from trio_relay.net.websocket import WebSocket

_READ_BYTES: Final = 65_536


class Goodbye:
    """What is still said to one client, which is read no more but for its close frame.

    Args:
        transport: to the client.
        socket: makes the close frame, and finds the client's.
        outbox: has what waits to be sent, and takes nothing more once this is said.
        keepalive: hears that the client is listened to.
        requests: what is still to be answered, and ends.
        events: those that are still to be answered.
    """

    def __init__(
        self,
        transport: Transport,
        socket: WebSocket,
        outbox: Outbox,
        keepalive: Keepalive,
        requests: ClientRequests,
        events: ClientEvents,
    ) -> None:
        self._transport = transport
        self._socket = socket
        self._outbox = outbox
        self._keepalive = keepalive
        self._requests = requests
        self._events = events

    async def say(self, close_reason: CloseReason, close_seconds: float) -> None:
        """Answer what was accepted, send the close frame, and wait for the client's: all within a bounded time.

        Args:
            close_reason: why the conversation ends; of a relay that stops, the server's grace bounds the answers.
            close_seconds: for the closing handshake, where the reason has no time of its own.
        """
        seconds = close_seconds if close_reason.seconds is None else close_reason.seconds
        if close_reason is STOPPING and not await self._finish(seconds):
            seconds = 0.0  # it has not read for as long: it is told as far as the network takes it
        self._requests.end_all()
        if close_reason in (STOPPING, CLOSED_BY_CLIENT):
            # To events that came in front of the close frame.
            with trio.move_on_after(math.inf if close_reason is STOPPING else seconds):
                await self._events.all_answered()
        with trio.move_on_after(seconds):
            await self._close(close_reason)

    async def _finish(self, seconds: float) -> bool:
        """Finish the answers of a relay that stops; False if the client does not read.

        What has not begun within a moment ends unsaid. What has begun goes on, as long as the client takes 64 KiB, and
        the store finds more, in this time.
        """
        self._outbox.take_sent()
        deadline = trio.current_time() + seconds
        with trio.move_on_after(min(PARTING_SECONDS, seconds)):
            await self._requests.all_answered()
        if self._requests.is_answering:
            self._requests.end_all_but_begun()
        while True:
            with trio.CancelScope(deadline=deadline):
                await self._requests.all_answered()
                self._outbox.flush()
                await self._outbox.drained()
                return True
            if (sending_since := self._keepalive.sending_since) is not None:
                deadline = sending_since + seconds
                if deadline <= trio.current_time():
                    return False
            elif self._outbox.take_sent():
                deadline = trio.current_time() + seconds
            else:
                return True

    async def _close(self, close_reason: CloseReason) -> None:
        """Send the close frame behind all else, and wait for the client's."""
        if close_reason.code:
            self._socket.close(close_reason.code, close_reason.text)
        self._outbox.close(last=self._socket.output(), forget=close_reason.forget)
        self._outbox.flush()
        await self._pass_over(b"")
        await self._outbox.drained()
        while not self._socket.is_done:
            self._keepalive.listening(trio.current_time())
            if not (data := await self._transport.receive(_READ_BYTES)):
                break
            await self._pass_over(data)
        await self._transport.end()

    async def _pass_over(self, data: bytes) -> None:
        """Look for the client's own close frame in what was read, and in what comes after it."""
        if data:
            self._socket.receive(data)
        while self._socket.has_more:
            await trio.lowlevel.checkpoint()
            self._socket.more()
        self._socket.output()  # pongs, which may not follow a close frame: else they would be kept
