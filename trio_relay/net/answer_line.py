"""The stored answers of one client that take a while: they stand in a line, which tasks of the connection move on."""

from __future__ import annotations

from typing import Final

import trio

from trio_relay.net.refusals import ClientRefusals
from trio_relay.nostr.errors import Prefix
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.session import Session
from trio_relay.pipeline.relay import Relay
from trio_relay.pipeline.stored_answer import StoredAnswer
from trio_relay.pipeline.subscription import Subscription

AT_A_TIME: Final = 2
"""Of one connection; a hundred REQs at once wait for each other, so that few answers are held half sent."""
_UNFINISHED: Final = f"{Prefix.ERROR}: what is stored could not be sent to its end"


class Subscribed:
    """A subscription in the index of the relay, and what sends what is stored while that takes a while.

    Raises:
        Rejected: there is no room for it.
    """

    __slots__ = ("_line", "_relay", "filters", "is_ended", "is_untried", "scope", "size", "sub_id", "subscription")

    def __init__(self, relay: Relay, subscription: Subscription, line: AnswerLine) -> None:
        self.sub_id, self.size, self.is_ended = "", 0, False
        self.filters: tuple[Filter, ...] = ()
        self._relay = relay
        self._line = line
        self.subscription = subscription
        self.is_untried = False
        """True if it waits for its turn, and nobody knows yet whether it could have been answered at once."""
        self.scope: trio.CancelScope | None = None
        """Of the sending, while that is under way."""
        if (refusal := relay.subscribe(subscription)) is not None:
            raise refusal

    def end(self) -> None:
        """Leave the index; what is still on its way is not sent."""
        self._relay.unsubscribe(self.subscription)
        self._line.leave(self)
        if self.scope is not None:
            self.scope.cancel(reason="the subscription has ended")


class AnswerLine:
    """Answers of one client, each in its turn.

    Args:
        session: has the table of open requests, out of which a subscription is taken whose answer fails.
        refusals: what the client is refused.
    """

    __slots__ = ("_ended", "_moving", "_refusals", "_sending", "_session", "_waiting")

    def __init__(self, session: Session, refusals: ClientRefusals) -> None:
        self._session = session
        self._refusals = refusals
        self._waiting: dict[Subscribed, StoredAnswer] = {}
        """In the order in which they were asked for. A subscription that ends leaves it: who opens and closes many in a
        breath has no task for any of them."""
        self._sending: dict[Subscribed, StoredAnswer] = {}
        self._moving = 0
        """Tasks that take answers out of the line, one after another."""
        self._ended: trio.Event | None = None
        """Set when the next answer has ended; there while somebody waits for that."""

    @property
    def is_moving(self) -> bool:
        """True while a task sends answers, so that the next one has to wait."""
        return self._moving > 0

    @property
    def begun(self) -> list[Subscribed]:
        """Those of which the client has something and not all."""
        return [running for running, answer in self._sending.items() if answer.has_begun]

    def __contains__(self, running: object) -> bool:
        return running in self._waiting or running in self._sending

    def add(self, running: Subscribed, answer: StoredAnswer) -> bool:
        """Put an answer behind all others; True if a task is to be started with `move`."""
        self._waiting[running] = answer
        if self._moving == AT_A_TIME:
            return False
        self._moving += 1
        return True

    def leave(self, running: Subscribed) -> None:
        """Take the answer out, if it is still waiting."""
        self._waiting.pop(running, None)

    async def move(self, turns: trio.CapacityLimiter) -> None:
        """Send what is in the line, one answer after another, until there is none."""
        try:
            while self._waiting:
                async with turns:
                    if self._waiting:
                        running = next(iter(self._waiting))
                        await self._send(running, self._waiting.pop(running))
        finally:
            self._moving -= 1

    async def _send(self, running: Subscribed, answer: StoredAnswer) -> None:
        self._sending[running] = answer
        try:
            with trio.CancelScope() as running.scope:
                if running.is_untried and len(self._sending) == 1 and answer.send_nowait():
                    return  # where the loop is busy, a thread is slow: what waited only for its turn does without
                if not await answer.send() and not answer.subscription.is_ended:
                    self._refusals.note("REQ", _UNFINISHED)
                    self._session.close(running.sub_id)
        finally:
            running.scope = None
            del self._sending[running]
            self.note_end()

    def note_end(self) -> None:
        """An answer has ended, however it did; to be told of those, too, that have no place in the line: COUNTs."""
        if self._ended is not None:
            self._ended.set()

    async def next_end(self) -> None:
        """Wait until the next answer has ended."""
        self._ended = trio.Event()
        await self._ended.wait()
