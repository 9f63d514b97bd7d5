"""The syncs of one client (NIP-77): each has an id, a set, and a task while that is read."""

from __future__ import annotations

from functools import partial
from typing import Final

import trio

from trio_relay.net.refusals import ClientRefusals
from trio_relay.nostr.errors import Prefix, Rejected, invalid
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.message import ContinueSync, OpenSync, sync_error, sync_message
from trio_relay.pipeline.recipient import Recipient
from trio_relay.pipeline.relay import Relay
from trio_relay.pipeline.sync_sets import SetTooLarge, Sync
from trio_relay.policy.identity import Identity

_SMALL_BYTES: Final = 512
"""Of a message that is answered on the loop: some 20 fingerprints, each of which may have to be split and made anew.
Over a million events 16 KiB of them took 0.27 s."""
_HASTY: Final = f"{Prefix.CLOSED}: a message came before the last one was answered"
_UNKNOWN: Final = f"{Prefix.CLOSED}: no sync of this id is open"
_GAVE_WAY: Final = f"{Prefix.CLOSED}: others wait for this place, and of this sync nothing was heard for the longest"
_IDLE: Final = f"{Prefix.CLOSED}: nothing was heard of this sync for too long"


class ClientSyncs:
    """All syncs that one client has open; an id is another thing than a subscription's.

    Args:
        relay: whose verbs are called.
        outbox: of the client, for answers.
        identity: who asks.
        refusals: what the client is refused.
    """

    def __init__(self, relay: Relay, outbox: Recipient, identity: Identity, refusals: ClientRefusals) -> None:
        self._refusals = refusals
        self._relay = relay
        self._outbox = outbox
        self._identity = identity
        self._opening: dict[str, trio.CancelScope] = {}
        self._open: dict[str, Sync] = {}
        self.held_bytes = 0
        """Of messages that wait for their turn."""

    def refuse(self, sync_id: str, reason: str, most: int | None = None, verb: str = "NEG-OPEN") -> None:
        """Say that a sync is over, or never began."""
        self._refusals.note(verb, reason)
        self._outbox.send_nowait(sync_error(sync_id, reason, most))

    @property
    def has_any(self) -> bool:
        """True if one is open, or is being opened."""
        return bool(self._opening or self._open)

    def has_room(self) -> bool:
        """True if one more may be opened."""
        return len(self._opening) + len(self._open) < self._relay.sync_options.max_sessions

    def expect(self, sync_id: str) -> trio.CancelScope:
        """One that has been asked for has this id from now on; to be `open`ed in this scope."""
        scope = self._opening[sync_id] = trio.CancelScope()
        return scope

    async def open(self, turns: trio.CapacityLimiter, request: OpenSync, scope: trio.CancelScope) -> None:
        """Read the set, and answer the first message."""
        session: Sync | None = None
        self.held_bytes += len(request.message)
        try:
            with scope:
                filter_ = request.filter
                if self._relay.judges.filters is not None:
                    filter_ = await self._judged(filter_)
                async with turns:
                    session = await self._relay.open_sync(filter_, self._identity)
        except Rejected as refusal:
            if not scope.cancel_called:
                self.refuse(request.sync_id, str(refusal), refusal.most if isinstance(refusal, SetTooLarge) else None)
        finally:
            self.held_bytes -= len(request.message)
            if self._opening.get(request.sync_id) is scope:
                del self._opening[request.sync_id]
            if session is not None and scope.cancel_called:
                session.close()
        if session is not None and not scope.cancel_called:
            self._open[request.sync_id] = session
            session.give_way = partial(self.end, request.sync_id, _GAVE_WAY)
            await self._reply(request.sync_id, session, request.message)

    async def _judged(self, filter_: Filter) -> Filter:
        """What is compared in the stead of this; raises Rejected."""
        first, *others = await self._relay.judged((filter_,), self._identity)
        if others or first.search is not None:
            raise Rejected(Prefix.ERROR, "this relay could not narrow the filter of a sync to one")
        return first

    def wants_task(self, request: ContinueSync) -> bool:
        """True if `go_on` is to answer this, in a task; else it has been answered, or refused."""
        sync_id, message = request.sync_id, request.message
        session = self._open.get(sync_id)
        if session is None:
            if sync_id in self._opening:
                self.end(sync_id, _HASTY)
            else:
                self.refuse(sync_id, _UNKNOWN, verb="NEG-MSG")
        elif session.is_busy:
            self.end(sync_id, _HASTY)
        elif (refusal := self._identity.account.refusal("NEG-MSG", trio.current_time())) is not None:
            self.end(sync_id, str(refusal))
        elif len(message) > _SMALL_BYTES:
            session.is_busy = True
            return True
        else:
            self._tell(sync_id, _answer(session, message))
        return False

    async def go_on(self, turns: trio.CapacityLimiter, request: ContinueSync) -> None:
        """Answer a further message that takes long; no other of the same sync comes before its answer."""
        self.held_bytes += len(request.message)
        try:
            async with turns:
                if (session := self._open.get(request.sync_id)) is not None and session.is_busy:
                    await self._reply(request.sync_id, session, request.message)
        finally:
            self.held_bytes -= len(request.message)

    async def _reply(self, sync_id: str, session: Sync, message: bytes) -> None:
        session.is_busy = True
        if len(message) <= _SMALL_BYTES:
            answer = _answer(session, message)
        else:
            answer = await self._answer_in_turn(session, message)
        session.is_busy = False
        if self._open.get(sync_id) is session:  # else it was closed meanwhile
            self._tell(sync_id, answer)

    async def _answer_in_turn(self, session: Sync, message: bytes) -> bytes | Rejected:
        try:
            return await self._relay.in_turn(
                self._identity, partial(trio.to_thread.run_sync, _answer, session, message)
            )
        except Rejected as refusal:
            return refusal

    def _tell(self, sync_id: str, answer: bytes | Rejected) -> None:
        if isinstance(answer, Rejected):
            self.end(sync_id, str(answer))
            return
        self._open[sync_id].last_heard = trio.current_time()
        self._outbox.send_nowait(sync_message(sync_id, answer))

    def end(self, sync_id: str, reason: str) -> None:
        """End a sync whose message is not answered, and say why."""
        self.close(sync_id)
        self.refuse(sync_id, reason, verb="NEG-MSG")

    def close(self, sync_id: str) -> None:
        """End a sync, if there is one of this id; nothing is said about it."""
        if (scope := self._opening.pop(sync_id, None)) is not None:
            scope.cancel(reason="the sync has been closed")
        if (session := self._open.pop(sync_id, None)) is not None:
            session.close()

    def close_all(self) -> None:
        """End all of them: the client has disconnected."""
        for sync_id in [*self._opening, *self._open]:
            self.close(sync_id)

    def refuse_all(self, reason: str) -> None:
        """End all of them, and say why."""
        for sync_id in [*self._opening, *self._open]:
            self.close(sync_id)
            self.refuse(sync_id, reason)

    def watch(self, now: float) -> None:
        """End those of which nothing was heard; to be called about every second."""
        for sync_id, session in list(self._open.items()):
            if now - session.last_heard > self._relay.sync_options.idle_seconds:
                self.close(sync_id)
                self.refuse(sync_id, _IDLE)


def too_long(most: int) -> Rejected:
    """Why a message is not looked at that has more bytes than this."""
    return invalid(f"a sync's message has at most {most} bytes")


def _answer(session: Sync, message: bytes) -> bytes | Rejected:
    if len(message) > session.longest:
        return too_long(session.longest)
    try:
        return session.reply(message)
    except Rejected as refusal:
        return refusal
