"""One client: a task that reads, a task that writes, and one for each query that runs; all end together.

Whatever ends the conversation is a `Farewell`; the first one counts. Then reading stops, subscriptions go, and what is
still to be said is said within a bounded time.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog
import trio

from trio_relay.net.frames import text
from trio_relay.net.liveness import Liveness, Verdict
from trio_relay.net.options import NetOptions
from trio_relay.net.websocket import WebSocket
from trio_relay.nostr.event import Event
from trio_relay.nostr.message import Answer, Publish, Subscribe, Unsubscribe, ok
from trio_relay.nostr.session import Session
from trio_relay.pipeline.outbox import Outbox
from trio_relay.pipeline.relay import Relay
from trio_relay.pipeline.submission import Submission
from trio_relay.pipeline.subscription import Subscription

log = structlog.get_logger("trio_relay.net")

_READ_BYTES: Final = 65_536
_WRITE_BYTES: Final = 65_536
_TURN_SECONDS: Final = 0.002
"""After so long one client's messages make room for others'."""
_QUERIES_AT_A_TIME: Final = 2
"""Of one client; a hundred REQs at once wait for each other, and half of the readers stay free for others."""


@dataclass(frozen=True, slots=True)
class Farewell:
    """How a conversation ends.

    Attributes:
        reason: for log and metrics.
        code: of the close frame; 0 if none can or need be sent.
        text: in the close frame.
        seconds: what saying it may take, the client's own close frame included; None: the configured time.
        forget: drop what waits to be sent, so that the close frame comes soon.
    """

    reason: str
    code: int = 0
    text: str = ""
    seconds: float | None = None
    forget: bool = False


LEFT: Final = Farewell("left")
GONE: Final = Farewell("gone")
STOPPING: Final = Farewell("stopping", 1001, "the relay is stopping")
TOO_SLOW: Final = Farewell("too slow", 1008, "too slow: messages wait to be read", seconds=1.0, forget=True)
SILENT: Final = Farewell("silent", seconds=0.0)
STUCK: Final = Farewell("stuck", seconds=0.0)


class Client:
    """A conversation with one connected client over a stream whose handshake is done."""

    def __init__(self, stream: trio.abc.Stream, socket: WebSocket, relay: Relay, options: NetOptions) -> None:
        self._stream = stream
        self._socket = socket
        self._relay = relay
        self._options = options
        self._session = Session(relay.limits)
        self._outbox = Outbox(text, options.outbox_bytes, lambda: self.hang_up(TOO_SLOW))
        self._liveness = Liveness(trio.current_time())
        self._queries: dict[str, tuple[Subscription, trio.CancelScope]] = {}
        self._turns: trio.CapacityLimiter | None = None
        self._listening = trio.CancelScope()
        self._farewell: Farewell | None = None
        self._publishing = False
        self._unanswered = 0
        self._answered: trio.Event | None = None

    async def run(self, first: bytes) -> Farewell:
        """Hold the conversation to its end; the caller closes the stream.

        Args:
            first: what was read from the stream together with the handshake.

        Returns:
            How it ended.
        """
        try:
            async with trio.open_nursery() as nursery:
                written = trio.Event()
                nursery.start_soon(self._write, written)
                with self._listening:
                    await self._read(first, nursery)
                self._end_subscriptions()
                await self._say_goodbye(written)
                nursery.cancel_scope.cancel()
        finally:
            # Cancelled, too, nothing may be delivered to who is gone.
            self._end_subscriptions()
            self._outbox.close(forget=True)
        return self._farewell or LEFT

    def hang_up(self, farewell: Farewell) -> None:
        """End the conversation this way, unless it is ending already; sync, from any task."""
        if self._farewell is None:
            self._farewell = farewell
            # What was read is accepted: a relay that stops lets it into the pipeline, which the server's grace bounds.
            if not (self._publishing and farewell is STOPPING):
                self._listening.cancel(reason=farewell.reason)

    def watch(self, now: float) -> None:
        """Ping a silent client, give up a dead one; to be called about every second."""
        verdict = self._liveness.judge(now, self._options)
        if verdict is Verdict.PING:
            self._socket.ping()
            self._outbox.put_nowait(self._socket.output())
        elif verdict is Verdict.SILENT:
            self.hang_up(SILENT)
        elif verdict is Verdict.STUCK:
            self.hang_up(STUCK)

    async def _read(self, first: bytes, nursery: trio.Nursery) -> None:
        data = first or await self._receive()
        while True:
            self._liveness.busy()
            messages = self._socket.receive(data)
            if self._farewell is not None:
                return  # it came while these bytes were on their way to us: they were not accepted
            await self._take(messages, nursery)
            if not self._socket.is_open:
                self.hang_up(self._socket_farewell())
            if self._farewell is not None:
                return
            # Who doesn't read his answers is not read either; if it lasts, the watch finds him stuck.
            await self._outbox.wait_for_room()
            data = await self._receive()

    def _socket_farewell(self) -> Farewell:
        """How the connection was closed below us; few enough words for a label, whatever code a client sends."""
        if self._socket.broken_rule is not None:
            return Farewell(f"protocol error {self._socket.broken_rule}")
        return LEFT if self._socket.was_closed_by_client else GONE

    async def _receive(self) -> bytes:
        """The next bytes, b"" at the end of the stream, however it came."""
        self._liveness.listening(trio.current_time())
        try:
            return bytes(await self._stream.receive_some(_READ_BYTES))
        except trio.BrokenResourceError:
            return b""

    async def _take(self, messages: list[bytes], nursery: trio.Nursery) -> None:
        """Do what all the messages of one read ask for; their events go on as one parcel."""
        parcel: list[Submission] = []
        now = turn = trio.current_time()
        for data in messages:
            if trio.current_time() - turn > _TURN_SECONDS:
                # Others get their turn; shielded, since half of what one read brought must not be lost.
                await trio.lowlevel.cancel_shielded_checkpoint()
                turn = trio.current_time()
            action = self._session.receive(data)
            match action:
                case Publish(event):
                    if (refusal := self._relay.admit(event)) is None:
                        parcel.append(Submission(event, self._reply, now, len(data)))
                    else:
                        self._outbox.send_nowait(ok(event.id, False, str(refusal)))
                case Subscribe():
                    self._subscribe(action, nursery)
                case Unsubscribe(sub_id):
                    self._unsubscribe(sub_id)
                case Answer(message, ends):  # pragma: no branch (the last of four)
                    self._relay.note_unreadable()
                    if ends is not None:
                        self._unsubscribe(ends)
                    self._outbox.send_nowait(message)
        # A close frame waits for the goodbye: nothing may follow it (RFC 6455, section 5.5.1).
        if self._socket.is_open and (output := self._socket.output()):
            self._outbox.put_nowait(output)
        if parcel:
            await self._publish(parcel)

    async def _publish(self, parcel: list[Submission]) -> None:
        self._unanswered += len(parcel)
        self._publishing = True
        try:
            await self._relay.publish(parcel)
        finally:
            self._publishing = False

    def _reply(self, event: Event, accepted: bool, reason: str) -> None:
        self._unanswered -= 1
        self._outbox.send_nowait(ok(event.id, accepted, reason))
        if self._unanswered == 0 and self._answered is not None:
            self._answered.set()

    def _subscribe(self, request: Subscribe, nursery: trio.Nursery) -> None:
        self._unsubscribe(request.sub_id)  # NIP-01: a REQ with an open id replaces that subscription
        subscription = Subscription(request.sub_id, request.filters, self._outbox)
        scope = trio.CancelScope()
        self._queries[request.sub_id] = subscription, scope
        self._relay.subscribe(subscription)
        nursery.start_soon(self._answer, subscription, scope)

    async def _answer(self, subscription: Subscription, scope: trio.CancelScope) -> None:
        if self._turns is None:
            self._turns = trio.CapacityLimiter(_QUERIES_AT_A_TIME)
        with scope:
            async with self._turns:
                if not await self._relay.answer(subscription) and not subscription.is_ended:
                    self._unsubscribe(subscription.sub_id)
                    self._session.ended(subscription.sub_id)

    def _unsubscribe(self, sub_id: str) -> None:
        found = self._queries.pop(sub_id, None)
        if found is not None:
            subscription, scope = found
            self._relay.unsubscribe(subscription)
            scope.cancel(reason="the subscription has ended")

    def _end_subscriptions(self) -> None:
        for sub_id in list(self._queries):
            self._unsubscribe(sub_id)

    async def _say_goodbye(self, written: trio.Event) -> None:
        """Answer what was accepted, send the close frame, and wait for the client's: all within a bounded time."""
        farewell = self._farewell or LEFT
        seconds = self._options.close_seconds if farewell.seconds is None else farewell.seconds
        if farewell is STOPPING:
            await self._wait_for_answers()  # the server's grace bounds it
        elif farewell is LEFT:
            with trio.move_on_after(seconds):
                await self._wait_for_answers()  # to events that came in front of the close frame
        with trio.move_on_after(seconds):
            if farewell.code:
                self._socket.close(farewell.code, farewell.text)
            self._outbox.close(last=self._socket.output(), forget=farewell.forget)
            await written.wait()
            while not self._socket.is_done and (data := await self._receive()):
                self._socket.receive(data)
            await self._end_stream()

    async def _end_stream(self) -> None:
        """The server closes first (RFC 6455, section 7.1.1): say so, then wait for the client to follow.

        Closing at once, with input unread, makes the kernel reset the connection and the client lose the close frame.
        """
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if isinstance(self._stream, trio.abc.HalfCloseableStream):
                await self._stream.send_eof()
            while await self._receive():
                pass

    async def _wait_for_answers(self) -> None:
        if self._unanswered:
            self._answered = trio.Event()
            await self._answered.wait()

    async def _write(self, written: trio.Event) -> None:
        """Send what the outbox holds, all that waits at a time, until it is closed and empty or the network breaks."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while True:
                joined, cost = await self._outbox.take()
                if not cost:
                    break
                await self._send(joined, cost)
        written.set()

    async def _send(self, joined: bytes, cost: int) -> None:
        # A frame may be longer than what should leave in one go.
        view = memoryview(joined)
        for start in range(0, len(view), _WRITE_BYTES):
            self._liveness.sending(trio.current_time())
            await self._stream.send_all(view[start : start + _WRITE_BYTES])
        self._liveness.sent()
        self._outbox.sent(cost)
