"""What one client asks: its subscriptions, counts and syncs, and the tasks that answer those that take a while."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from trio_relay.net.client_syncs import ClientSyncs
from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.hyperloglog import Sketch
from trio_relay.nostr.message import (
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
_AT_A_TIME: Final = 2
"""Of one client; a hundred REQs at once wait for each other, and half of the readers stay free for others."""


class ClientRequests:
    """All that one client has open. What takes a while is begun here, in tasks of the client's.

    Args:
        session: knows which ids are open.
        relay: the front desk.
        outbox: of the client, for answers.
        visitor: who asks.
    """

    def __init__(self, session: Session, relay: Relay, outbox: Recipient, identity: Identity) -> None:
        self.tasks: trio.Nursery | None = None
        """The client's; there while it is read."""
        self._session = session
        self._relay = relay
        self._outbox = outbox
        self._identity = identity
        self._subscriptions: dict[str, Subscription] = {}
        self._queries: dict[Subscription, trio.CancelScope] = {}
        self._counts: dict[trio.CancelScope, str] = {}
        self._syncs = ClientSyncs(relay, outbox, identity)
        self._turns: trio.CapacityLimiter | None = None

    def take(self, request: Subscribe | Count | Unsubscribe | OpenSync | ContinueSync | CloseSync) -> None:
        """Do what the client asks for, or begin to."""
        if isinstance(request, Subscribe):
            self._subscribe(request)
        elif isinstance(request, Unsubscribe):
            self._unsubscribe(request.sub_id)
            self._stop_counts(request.sub_id)
        elif isinstance(request, Count):
            self._count(request)
        elif isinstance(request, OpenSync):
            self._open_sync(request)
        elif isinstance(request, ContinueSync):
            if self._syncs.wants_task(request):
                self._start(self._syncs.go_on, request)
        else:
            self._syncs.close(request.sync_id)

    def end(self, answer: RefusedMessage) -> None:
        """End what a refusal says is over."""
        if answer.ends is not None:
            self._unsubscribe(answer.ends)
        if answer.ends_sync is not None:
            self._syncs.close(answer.ends_sync)

    def end_all(self) -> None:
        """The client has gone."""
        self._syncs.close_all()
        for scope in self._counts:
            scope.cancel(reason="the client has gone")
        for sub_id in list(self._subscriptions):
            self._unsubscribe(sub_id)

    def recheck(self) -> None:
        """End all that is open if the client may read nothing any more: who may has changed."""
        refusal = self._relay.admit_filters([_ANYTHING], self._identity)
        if refusal is None:
            return
        for scope in self._counts:
            scope.cancel(reason="the client may not read any more")
        over = [*self._counts.values(), *self._subscriptions]
        for sub_id in list(self._subscriptions):
            self._unsubscribe(sub_id)
            self._session.ended(sub_id)
        for sub_id in over:
            self._outbox.send_nowait(closed(sub_id, str(refusal)))
        self._syncs.refuse_all(str(refusal))

    def watch(self, now: float) -> None:
        """End what has gone to sleep; to be called about every second."""
        self._syncs.watch(now)

    def remind(self, refusal: Rejected) -> None:
        """Send the challenge once more in front of a refusal that AUTH could mend (NIP-42)."""
        if refusal.prefix is Prefix.AUTH_REQUIRED and self._identity.challenge:
            self._outbox.send_nowait(challenged(self._identity.challenge))

    def _refused(self, filters: Sequence[Filter]) -> str | None:
        """Why the visitor may not ask these; he has been reminded to authenticate then."""
        refusal = self._relay.admit_filters(filters, self._identity)
        if refusal is None:
            return None
        self.remind(refusal)
        return str(refusal)

    def _subscribe(self, request: Subscribe) -> None:
        self._unsubscribe(request.sub_id)  # NIP-01: a REQ with an open id replaces that subscription
        if (reason := self._refused(request.filters)) is not None:
            self._session.ended(request.sub_id)
            self._outbox.send_nowait(closed(request.sub_id, reason))
            return
        subscription = Subscription(request.sub_id, request.filters, self._outbox, self._identity.reader)
        self._subscriptions[request.sub_id] = subscription
        self._relay.subscribe(subscription)
        # A client's answers come in turn: one that waits must not be overtaken for ever by quick ones.
        if self._queries or not self._relay.answer_nowait(subscription):
            scope = self._queries[subscription] = trio.CancelScope()
            self._start(self._answer, subscription, scope)

    def _start(self, work: Callable[..., Awaitable[None]], *args: object) -> None:
        assert self.tasks is not None, "who reads has a nursery"
        if self._turns is None:
            self._turns = trio.CapacityLimiter(_AT_A_TIME)
        self.tasks.start_soon(work, self._turns, *args)

    async def _answer(self, turns: trio.CapacityLimiter, subscription: Subscription, scope: trio.CancelScope) -> None:
        try:
            with scope:
                async with turns:
                    if not await self._relay.answer(subscription) and not subscription.is_ended:
                        self._unsubscribe(subscription.sub_id)
                        self._session.ended(subscription.sub_id)
        finally:
            del self._queries[subscription]

    def _count(self, request: Count) -> None:
        if (reason := self._refused(request.filters)) is not None:
            self._session.counted(request)
            self._outbox.send_nowait(closed(request.sub_id, reason))
            return
        scope = trio.CancelScope()
        self._counts[scope] = request.sub_id
        self._start(self._answer_count, request, scope)

    async def _answer_count(self, turns: trio.CapacityLimiter, request: Count, scope: trio.CancelScope) -> None:
        answer = b""
        try:
            with scope:
                async with turns:
                    try:
                        found = await self._relay.count(request.filters, self._identity)
                        number, registers = (
                            (found.number, found.registers) if isinstance(found, Sketch) else (found, None)
                        )
                        answer = counted(request.sub_id, number, registers)
                    except Rejected as refusal:
                        answer = closed(request.sub_id, str(refusal))
        finally:
            del self._counts[scope]
            self._session.counted(request)
        if not scope.cancel_called:  # the answer may come as the client says CLOSE
            self._outbox.send_nowait(answer)

    def _open_sync(self, request: OpenSync) -> None:
        self._syncs.close(request.sync_id)  # NIP-77: a NEG-OPEN with an open id begins anew
        if (reason := self._refused([request.filter])) is not None:
            self._syncs.refuse(request.sync_id, reason)
        elif not self._syncs.has_room():
            most = self._relay.sync_options.max_sessions
            self._syncs.refuse(request.sync_id, f"error: at most {most} syncs on a connection (max_sessions)")
        else:
            self._start(self._syncs.open, request, self._syncs.expect(request.sync_id))

    def _stop_counts(self, sub_id: str) -> None:
        """CLOSE ends a COUNT of its id, too, and nothing is said about it: that is what it means for a REQ."""
        for scope, counted_id in self._counts.items():
            if counted_id == sub_id:
                scope.cancel(reason="the client has closed it")

    def _unsubscribe(self, sub_id: str) -> None:
        subscription = self._subscriptions.pop(sub_id, None)
        if subscription is not None:
            self._relay.unsubscribe(subscription)
            # It stays among the queries until its task has ended: a client gets no second try on the loop before.
            if (scope := self._queries.get(subscription)) is not None:
                scope.cancel(reason="the subscription has ended")
