"""What one client asks: its subscriptions, counts and syncs, and the tasks that answer those that take a while."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from trio_relay.net.answer_line import AT_A_TIME, AnswerLine, Subscribed
from trio_relay.net.client_syncs import ClientSyncs, too_long
from trio_relay.net.refusals import ClientRefusals
from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.hyperloglog import Sketch
from trio_relay.nostr.message import (
    ClientMessage,
    CloseSync,
    ContinueSync,
    Count,
    OpenSync,
    RefusedMessage,
    Subscribe,
    Unsubscribe,
    challenged,
    closed,
    counted,
)
from trio_relay.nostr.session import Session
from trio_relay.pipeline.recipient import Recipient
from trio_relay.pipeline.relay import Relay
from trio_relay.pipeline.subscription import Subscription
from trio_relay.policy.identity import Identity

_ANYTHING: Final = Filter()


class _Pending:
    """A COUNT, or a REQ that waits to be judged, and the task that sees to it."""

    __slots__ = ("filters", "is_ended", "scope", "size", "sub_id")

    def __init__(self) -> None:
        self.filters: tuple[Filter, ...] = ()
        self.sub_id, self.size, self.is_ended = "", 0, False
        self.scope = trio.CancelScope()

    def end(self) -> None:
        """Stop; no answer is sent."""
        self.scope.cancel(reason="the request has ended")


class ClientRequests:
    """Answers what one client asks; what takes a while is begun here, in tasks of the connection's.

    The session's table is the only one of what is open: a subscription is in the relay's index as long as it is there.

    Args:
        session: has the table of open requests.
        relay: answers them.
        outbox: of the client, for answers.
        identity: who asks.
        refusals: what the client is refused.
    """

    def __init__(
        self, session: Session, relay: Relay, outbox: Recipient, identity: Identity, refusals: ClientRefusals
    ) -> None:
        self.tasks: trio.Nursery | None = None
        """The client's; there while it is read."""
        self._session = session
        self._relay = relay
        self._outbox = outbox
        self._identity = identity
        self._refusals = refusals
        self._has_challenged = False
        self._line = AnswerLine(session, refusals)
        self._syncs = ClientSyncs(relay, outbox, identity, refusals)
        self._turns: trio.CapacityLimiter | None = None

    @property
    def has_syncs(self) -> bool:
        """True while a sync is open, or about to be."""
        return self._syncs.has_any

    @property
    def held_bytes(self) -> int:
        """Bytes of messages that wait for their turn."""
        return self._syncs.held_bytes

    def take(self, request: Subscribe | Count | Unsubscribe | OpenSync | ContinueSync | CloseSync) -> None:
        """Do what the client asks for, or begin to."""
        if isinstance(request, Subscribe):
            self._subscribe(request)
        elif isinstance(request, Unsubscribe):
            pass  # the session has ended it
        elif isinstance(request, Count):
            self._count(request)
        elif isinstance(request, OpenSync):
            self._open_sync(request)
        elif isinstance(request, ContinueSync):
            if self._syncs.wants_task(request):
                self._start(self._syncs.go_on, request)
        else:
            self._syncs.close(request.sync_id)

    def refuses(self, action: ClientMessage, reason: str) -> bool:
        """Refuse a request that is too much, whatever it asks; False for what asks nothing: it is to be done."""
        if isinstance(action, Subscribe):
            self._close("REQ", action.sub_id, reason)
        elif isinstance(action, Count):
            self._close("COUNT", action.sub_id, reason)
        elif isinstance(action, OpenSync):
            self._syncs.close(action.sync_id)
            self._syncs.refuse(action.sync_id, reason)
        elif isinstance(action, ContinueSync):
            self._syncs.end(action.sync_id, reason)
        else:
            return False
        return True

    def end(self, answer: RefusedMessage) -> None:
        """End the sync that a refusal says is over; a subscription the session has ended itself."""
        if answer.ends_sync is not None:
            self._syncs.close(answer.ends_sync)

    def end_all(self) -> None:
        """End all that is open: the client has disconnected."""
        self._syncs.close_all()
        self._session.close_all()

    def end_all_but_begun(self) -> None:
        """End all that is open, but for answers of which the client has something and not all.

        Nothing is said about it: many clients ask no more for what was CLOSED, and anew for what was broken off.
        """
        self._syncs.close_all()
        self._session.close_all(but=self._line.begun)

    @property
    def is_answering(self) -> bool:
        """True while a REQ has neither EOSE nor CLOSED, or a COUNT has no answer."""
        return any(isinstance(request, _Pending) or request in self._line for request in self._session.open_requests)

    async def all_answered(self) -> None:
        """Wait until no REQ and no COUNT waits for anything; syncs do not count."""
        while self.is_answering:
            await self._line.next_end()

    def go_by_rules(self) -> None:
        """Hold the client to the rules as they have become; sync."""
        self._session.go_by(self._relay.admission.open_session())
        self._relay.admission.renew(self._identity)
        self.recheck()

    def recheck(self) -> None:
        """End all that is open if the client may read nothing any more: who may has changed."""
        refusal = self._relay.admission.admit_filters([_ANYTHING], self._identity)
        if refusal is None:
            return
        over = self._session.open_requests
        self._session.close_all()
        for request in over:
            self._close("REQ", request.sub_id, str(refusal))
        self._syncs.refuse_all(str(refusal))

    def watch(self, now: float) -> None:
        """End syncs of which nothing was heard for too long; to be called about every second."""
        self._syncs.watch(now)

    def challenge(self, refusal: Rejected) -> None:
        """Send the challenge in front of the first refusal that AUTH could mend (NIP-42).

        Once: some clients ask their user each time. A client that was sent it when it connected may have been too busy
        to note it, so it gets it here like any other.
        """
        if refusal.prefix is Prefix.AUTH_REQUIRED and self._identity.challenge and not self._has_challenged:
            self._has_challenged = True
            self._outbox.send_nowait(challenged(self._identity.challenge))

    def _refused(self, verb: str, filters: Sequence[Filter]) -> str | None:
        """Why the client may not ask these; if AUTH could mend it, the challenge has been sent."""
        refusal = self._relay.admission.admit_filters(filters, self._identity)
        if refusal is None:
            refusal = self._identity.account.refusal(verb, trio.current_time())
        if refusal is None:
            return None
        self.challenge(refusal)
        return str(refusal)

    def _close(self, verb: str, sub_id: str, reason: str) -> None:
        self._refusals.note(verb, reason)
        self._outbox.send_nowait(closed(sub_id, reason))

    def _subscribe(self, request: Subscribe) -> None:
        if (reason := self._refused("REQ", request.filters)) is not None:
            self._close("REQ", request.sub_id, reason)
        elif self._relay.judges.filters is not None:
            self._have_judged(request)
        else:
            self._subscribe_to(request, self._session.asked)

    def _have_judged(self, request: Subscribe) -> None:
        """Hold the place of a subscription while it is judged; CLOSE, or another of its id, ends that."""
        if (refusal := self._relay.filter_room.take(self._identity.origin, self._session.asked)) is not None:
            self._close("REQ", request.sub_id, str(refusal))
            return
        pending = _Pending()
        self._session.open(request, pending)
        self._start(self._subscribe_as_judged, request, pending)

    async def _subscribe_as_judged(self, _: trio.CapacityLimiter, request: Subscribe, pending: _Pending) -> None:
        filters: tuple[Filter, ...] = ()
        refusal: Rejected | None = None
        try:
            with pending.scope:
                filters = await self._relay.judged(request.filters, self._identity)
        except Rejected as rejected:
            refusal = rejected
        finally:
            self._relay.filter_room.give_back(self._identity.origin, pending.size)
            self._line.note_end()
        if pending.scope.cancel_called:
            return  # the verdict may come as the client says CLOSE
        self._session.close(request.sub_id)
        if refusal is not None:
            self.challenge(refusal)
            self._close("REQ", request.sub_id, str(refusal))
            return
        limits = self._relay.limits
        clamped = [one.with_limit(default=limits.default_limit, most=limits.max_limit) for one in filters]
        narrowed = Subscribe(request.sub_id, tuple(clamped))
        self._subscribe_to(narrowed, sum(filter_.weight for filter_ in clamped))

    def _subscribe_to(self, request: Subscribe, size: int) -> None:
        identity = self._identity
        subscription = Subscription(
            request.sub_id,
            request.filters,
            self._outbox,
            identity.reader,
            origin=identity.origin,
            size=size,
        )
        try:
            running = Subscribed(self._relay, subscription, self._line)
        except Rejected as refusal:
            self._close("REQ", request.sub_id, str(refusal))
            return
        self._session.asked = size
        self._session.open(request, running)
        answer = self._relay.answer(subscription, self._identity)
        # A client's answers come in turn: one that waits must not be overtaken for ever by quick ones.
        running.is_untried = self._line.is_moving
        if (running.is_untried or not answer.send_nowait()) and self._line.add(running, answer):
            self._start(self._line.move)

    def _start(self, work: Callable[..., Awaitable[None]], *args: object) -> None:
        assert self.tasks is not None, "who reads has a nursery"
        if self._turns is None:
            self._turns = trio.CapacityLimiter(AT_A_TIME)
        self.tasks.start_soon(work, self._turns, *args)

    def _count(self, request: Count) -> None:
        if (reason := self._refused("COUNT", request.filters)) is not None:
            self._close("COUNT", request.sub_id, reason)
            return
        if (refusal := self._relay.filter_room.take(self._identity.origin, self._session.asked)) is not None:
            self._close("COUNT", request.sub_id, str(refusal))
            return
        counting = _Pending()
        self._session.open(request, counting)
        self._start(self._answer_count, request, counting)

    async def _answer_count(self, turns: trio.CapacityLimiter, request: Count, counting: _Pending) -> None:
        answer, reason = b"", ""
        try:
            with counting.scope:
                filters = request.filters
                if self._relay.judges.filters is not None:
                    filters = await self._relay.judged(filters, self._identity)
                async with turns:
                    found = await self._relay.count(filters, self._identity)
                number, registers = (found.number, found.registers) if isinstance(found, Sketch) else (found, None)
                answer = counted(request.sub_id, number, registers)
        except Rejected as refusal:
            self.challenge(refusal)
            reason = str(refusal)
        finally:
            self._session.answered(counting)
            self._relay.filter_room.give_back(self._identity.origin, counting.size)
            self._line.note_end()
        if counting.scope.cancel_called:
            return  # the answer may come as the client says CLOSE
        if reason:
            self._close("COUNT", request.sub_id, reason)
        else:
            self._outbox.send_nowait(answer)

    def _open_sync(self, request: OpenSync) -> None:
        self._syncs.close(request.sync_id)  # NIP-77: a NEG-OPEN with an open id begins anew
        if (reason := self._refused("NEG-OPEN", [request.filter])) is not None:
            self._syncs.refuse(request.sync_id, reason)
        elif not self._syncs.has_room():
            most = self._relay.sync_options.max_sessions
            self._syncs.refuse(request.sync_id, f"{Prefix.ERROR}: at most {most} syncs on a connection (max_sessions)")
        elif len(request.message) > (longest := self._relay.sync_options.longest):
            self._syncs.refuse(request.sync_id, str(too_long(longest)))  # before it waits for anything
        elif (refusal := self._relay.filter_room.take(self._identity.origin, size := self._session.asked)) is not None:
            self._syncs.refuse(request.sync_id, str(refusal))
        else:
            self._session.hold(size)
            self._start(self._open_sync_of, request, self._syncs.expect(request.sync_id), size)

    async def _open_sync_of(
        self, turns: trio.CapacityLimiter, request: OpenSync, scope: trio.CancelScope, size: int
    ) -> None:
        """Read the set of a sync, and answer its first message; its filter counts so long."""
        try:
            await self._syncs.open(turns, request, scope)
        finally:
            self._session.let_go(size)
            self._relay.filter_room.give_back(self._identity.origin, size)
