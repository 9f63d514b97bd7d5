"""One client: a task that reads, and while they are needed one that waits for the network and one for each long query.

Whatever ends the conversation is a `CloseReason`; the first one counts. Then reading stops, and what is still to be
said is said within a bounded time (`net/goodbye`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import trio

from trio_relay.net.budgets import BOUNDLESS, Budgets, Direction
from trio_relay.net.client_events import ClientEvents
from trio_relay.net.client_requests import ClientRequests
from trio_relay.net.close_reasons import CLOSED_BY_CLIENT, LOST, SILENT, STOPPING, STUCK, UNFINISHED, CloseReason
from trio_relay.net.flush import Flushes
from trio_relay.net.goodbye import Goodbye
from trio_relay.net.keepalive import Keepalive, KeepaliveVerdict
from trio_relay.net.lane import Lane, Pace
from trio_relay.net.options import NetOptions
from trio_relay.net.outbox import Outbox
from trio_relay.net.refusals import ClientRefusals
from trio_relay.net.transport import transport
from trio_relay.net.websocket import WebSocket
from trio_relay.nostr.event import Event
from trio_relay.nostr.message import Authenticate, ClientMessage, Publish, RefusedMessage, challenged
from trio_relay.nostr.session import OpenRequest
from trio_relay.pipeline.relay import Relay
from trio_relay.pipeline.submission import Submission
from trio_relay.policy.accounts import SECONDS_A_BYTE, Account
from trio_relay.turns import Turn

_READ_BYTES: Final = 65_536
_ASKS: Final = b'["CLOSED"'
"""How a refusal begins of what could be read, and asked too much."""
_LONG: Final = 65_536
"""Bytes of a message before which others get their turn even if it is the first one: parsing it takes a while."""
_EVENT_COST: Final = 3
"""Bytes of memory, about, that a byte of a message takes once it is an event: 1.0 to 3.5 were measured."""


class Connection:
    """A conversation with one connected client over a stream whose handshake is done.

    Args:
        stream: to the client.
        socket: has done the handshake.
        relay: whose verbs are called.
        options: bounds and deadlines.
        flushes: sends what waits.
        refusals: what the client is refused.
        account: what it draws on, and whom it counts as, see `Identity`; None: as nobody.
        budgets: are told of what this makes the relay hold; None: nobody is.
        lane: for clients that use much of the loop; None: each of them has its turn in each pass.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        socket: WebSocket,
        relay: Relay,
        options: NetOptions,
        flushes: Flushes,
        refusals: ClientRefusals,
        account: Account | None = None,
        budgets: Budgets | None = None,
        lane: Lane | None = None,
    ) -> None:
        account = self._account = account or relay.rates.account(None)
        identity = self.identity = relay.admission.new_identity(account.origin, refusals.address)
        identity.account = account
        self._allowed = 0
        """Of the messages that came last, those in front of this place are not too many."""
        self.origin = account.origin  # whom it counts as
        self._inbound = BOUNDLESS if budgets is None else budgets.inbound
        self._held = self._batch_bytes = 0
        self._clock = trio.lowlevel.current_clock()  # costs a third of `trio.current_time`
        self.heard = self._clock.current_time()
        """When it said something last, by Trio's clock; a pong is nothing."""
        self._pace = Pace(lane, identity.holder, identity.account)
        self._transport = transport(stream)
        self._socket = socket
        self._relay = relay
        self._options = options
        self._session = relay.admission.open_session()
        self._keepalive = Keepalive(self.heard)
        self._outbox = Outbox(
            self._transport,
            self._keepalive,
            flushes,
            options.outbox_bytes,
            self.hang_up,
            deflates=socket.takes_deflated,
            budget=BOUNDLESS if budgets is None else budgets.outbound,
        )
        self._refusals = refusals
        self._requests = ClientRequests(self._session, relay, self._outbox, identity, refusals)
        self._events = ClientEvents(relay, self._outbox, identity, refusals, self._requests.challenge, self.hang_up)
        self._listening = trio.CancelScope()
        self._tasks: trio.Nursery | None = None
        self._close_reason: CloseReason | None = None
        self._accepting = False
        self._claim: Event | None = None  # of a key, yet to be looked at

    async def run(self, first: bytes) -> CloseReason:
        """Hold the conversation to its end; the caller closes the stream.

        Args:
            first: what was read from the stream together with the handshake.

        Returns:
            How it ended.
        """
        try:
            async with trio.open_nursery() as self._tasks:
                self._requests.tasks = self._outbox.tasks = self._tasks
                if self._relay.rules.challenges_at_once:
                    self._outbox.send_nowait(challenged(self.identity.challenge))
                try:
                    with self._listening:
                        await self._read(first)
                    self._pace.pause(self._clock.current_time())
                    await self._say_goodbye()
                finally:
                    # Also when cancelled: nothing may be delivered from now on, nor sent by a nursery that closes.
                    self._pace.pause(self._clock.current_time())
                    self._requests.end_all()
                    self._outbox.close(forget=True)
                self._tasks.cancel_scope.cancel()
        finally:
            self._events.leave()
            self._tasks = self._requests.tasks = self._outbox.tasks = None
        return self._close_reason or CLOSED_BY_CLIENT

    @property
    def events_sent(self) -> int:
        """Events that the client has sent so far."""
        return self._events.sent

    @property
    def open_requests(self) -> list[OpenRequest]:
        """What the client has asked for and still waits for, or listens to."""
        return self._session.open_requests

    def hang_up(self, close_reason: CloseReason) -> None:
        """End the conversation this way, unless it is ending already; sync, from any task."""
        if self._close_reason is None:
            self._close_reason = close_reason
            # What was read is accepted: a relay that stops lets it into the pipeline, which the server's grace bounds.
            if not (self._accepting and close_reason is STOPPING):
                self._listening.cancel(reason=close_reason.reason)

    @property
    def idle_since(self) -> float | None:
        """Since when it has said nothing, by Trio's clock; None while it has something open, or waits for an answer, or
        is about to say something: that has a deadline of its own."""
        is_busy = (
            self._events.unanswered
            or self._close_reason
            or self._socket.is_unfinished
            or self._session.open_requests
            or self._requests.has_syncs
        )
        return None if is_busy else self.heard

    @property
    def filter_values(self) -> int:
        """What its open filters count."""
        return self._session.filter_values

    def held_bytes(self, direction: Direction) -> int:
        """What it makes the relay hold; frames that it shares with others are counted whole."""
        if direction is Direction.OUT:
            return self._outbox.held_bytes
        return self._socket.held_bytes() + self._batch_bytes + self._requests.held_bytes

    def own_bytes(self, direction: Direction) -> int:
        """The same; of frames that it shares with others, its share."""
        return self._outbox.own_bytes() if direction is Direction.OUT else self.held_bytes(direction)

    def put_out(self, reason: CloseReason) -> None:
        """End the conversation, and let go at once of what it makes the relay hold; sync, from any task."""
        self.hang_up(reason)
        self._socket.forget()
        self._outbox.close(forget=True)

    def recheck(self, keys: Collection[str]) -> None:
        """End what is open if the client has authenticated one of these and may read no more; sync, from any task."""
        if not self.identity.keys.isdisjoint(keys):
            self._requests.recheck()

    def take_options(self, options: NetOptions) -> None:
        """Go by other options, and by the rules as they have become; sync, from any task."""
        self._options = options
        self._socket.take_longest(self._relay.limits.max_message_length)
        self._outbox.take_room(options.outbox_bytes)
        self._requests.go_by_rules()

    def watch(self, now: float) -> None:
        """Ping a silent client, give up a dead one; to be called about every second."""
        self._requests.watch(now)
        self.identity.account.charge(self._outbox.take_sent() * SECONDS_A_BYTE, now)
        verdict = self._keepalive.judge(now, self._options)
        if verdict is KeepaliveVerdict.PING:
            self._socket.ping()
            self._outbox.send_framed_nowait(self._socket.output())
        elif verdict is KeepaliveVerdict.UNFINISHED:
            self.put_out(UNFINISHED)
        elif verdict is not KeepaliveVerdict.FINE:
            self.hang_up(SILENT if verdict is KeepaliveVerdict.SILENT else STUCK)

    async def _read(self, first: bytes) -> None:
        data = first
        while True:
            if not data:
                self._listen()
                data = await self._transport.receive(_READ_BYTES)
            now = self._clock.current_time()
            if self._held:
                self._keepalive.heard_of_unfinished(now)
            self._keepalive.busy()
            if not self._pace.begin_nowait(now, len(data)):
                now = await self._pace.begin(now)
            messages = self._socket.receive(data)
            self._allowed = self._account.take_read(len(data), len(messages), now)
            data = b""  # nobody needs it any more, and the pipeline may make us wait
            while self._close_reason is None:  # else it came while these were on their way: they were not accepted
                self._accepting = True
                batch: list[Submission] = []  # of all events of a read, or of a piece of it
                place, turn = 0, Turn(now)  # which inflating it counts in
                if messages:
                    self.heard = now
                    if len(messages[0]) <= _LONG or not turn.is_over:
                        place = self._take_some(messages, place, turn, batch, now)
                if place < len(messages) or self._claim is not None:
                    await self._go_on(messages, place, turn, batch, now)
                if not self._hand_on(batch):
                    messages.clear()  # the events hold what they need of them
                    self._batch_bytes = _EVENT_COST * sum(submission.size for submission in batch)
                    self._inbound.grow(self._batch_bytes)
                    self._pace.pause(self._clock.current_time())
                    try:
                        await self._relay.publish(batch, self.identity)
                    finally:
                        self._batch_bytes = 0
                self._accepting = False
                if not self._socket.is_open:
                    self.hang_up(self._socket_close_reason())
                if not self._socket.has_more:
                    break
                now = await self._give_turn()
                messages = self._socket.more()
                self._allowed = self._account.take_read(0, len(messages), now)
            if self._account.is_strained:
                await self._pause()
            if self._close_reason is not None:
                return
            if not self._outbox.has_room_for(0):  # who does not read is not read either, until the watch finds it stuck
                self._pace.pause(self._clock.current_time())
                await self._outbox.wait_for_room()
            if self._held or self._socket.is_unfinished:
                self._note_unfinished()
            messages, batch = [], []  # else everyone who is silent would keep a megabyte here

    async def _pause(self) -> None:
        """Read nothing for a while: the client goes on whatever it is told."""
        now = self._clock.current_time()
        self._pace.pause(now)
        await trio.sleep(self._events.pause(now))

    def _note_unfinished(self) -> None:
        """Note how much has come of a message whose end has not."""
        if self._socket.is_unfinished:
            held, before = self._socket.held_bytes(), self._held
            self._held = held
            self._keepalive.unfinished(self._socket.unfinished, held)
            if held > before:
                self._inbound.grow(held - before)
        else:
            self._held = 0
            self._keepalive.finished()

    def _socket_close_reason(self) -> CloseReason:
        if (code := self._socket.broken_rule) is not None:
            self._events.note_fault()
            return CloseReason(f"protocol error {code}")  # of the few that we send
        return CLOSED_BY_CLIENT if self._socket.was_closed_by_client else LOST

    def _listen(self) -> None:
        now = self._clock.current_time()
        self._pace.pause(now)
        self._keepalive.listening(now)

    async def _go_on(self, messages: list[bytes], place: int, turn: Turn, batch: list[Submission], now: float) -> None:
        """Go on behind a turn that is over, or a claim of a key, which comes before all that follows it."""
        while place < len(messages) or self._claim is not None:
            if self._claim is not None:
                claim, self._claim = self._claim, None
                self._pace.pause(self._clock.current_time())
                await self._events.authenticate(claim)
                await self._pace.begin(self._clock.current_time())
            if turn.is_over:
                turn = Turn(await self._give_turn())
            place = self._take_some(messages, place, turn, batch, now)

    def _hand_on(self, batch: list[Submission]) -> bool:
        """Send what the socket says by itself, and hand on a lone event; False if the batch has to be published."""
        # A close frame waits for the goodbye: nothing may follow it (RFC 6455, section 5.5.1).
        output = self._socket.output() if self._socket.is_open else b""
        if not (output or batch):
            return True
        self._outbox.hold()
        try:
            if output:
                self._outbox.send_framed_nowait(output)
            self._events.unanswered += len(batch)
            if len(batch) == 1:
                return self._relay.publish_nowait(batch[0], is_lone=self._events.unanswered == 1)
        finally:
            self._outbox.let_go()
        return not batch

    def _take_some(self, messages: list[bytes], place: int, turn: Turn, batch: list[Submission], now: float) -> int:
        """Do what these ask from a place on, until the turn is over or one claims a key; gives the next place."""
        first, end, before = place, len(messages), len(batch)
        self._outbox.hold()
        try:
            while place < end and self._claim is None and (place == first or not turn.is_over):
                data = messages[place]
                place += 1
                action = self._session.receive(data)
                if place > self._allowed and self._refuses(action):
                    continue
                if isinstance(action, Publish):
                    self._events.admit(action.event, len(data), now, batch)
                elif isinstance(action, Authenticate):
                    self._claim = action.event
                elif isinstance(action, RefusedMessage):
                    self._relay.note_unreadable()
                    self._refusals.note_unreadable(data, action)
                    if not action.message.startswith(_ASKS):
                        self._events.note_fault()
                    self._requests.end(action)
                    self._outbox.send_nowait(action.message)
                else:
                    self._requests.take(action)
            if len(batch) > before:
                self._events.hold_to_rates(batch, before, now)
        finally:
            self._outbox.let_go()
        return place

    def _refuses(self, action: ClientMessage) -> bool:
        """Refuse what is too much; what ends something, or claims a key, is never."""
        reason = str(self._account.too_much)
        if isinstance(action, Publish):
            self._events.refuse(action.event, reason)
            return True
        return self._requests.refuses(action, reason)

    async def _give_turn(self) -> float:
        """Let others go on, and this client when it may; gives the time then."""
        self._pace.pause(self._clock.current_time())
        await trio.lowlevel.cancel_shielded_checkpoint()  # half of what one read brought must not be lost
        return await self._pace.begin(self._clock.current_time())

    async def _say_goodbye(self) -> None:
        goodbye = Goodbye(self._transport, self._socket, self._outbox, self._keepalive, self._requests, self._events)
        await goodbye.say(self._close_reason or CLOSED_BY_CLIENT, self._options.close_seconds)
