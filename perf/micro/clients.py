"""Clients without a network, inside the relay's process: who publishes, who listens, and what they note together."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import trio

from trio_relay import Filter, NetOptions, Relay, Submission, Subscription
from trio_relay.net.close_reasons import CloseReason
from trio_relay.net.flush import Flushes
from trio_relay.net.keepalive import Keepalive
from trio_relay.net.outbox import Outbox
from trio_relay.net.transport import Transport
from trio_relay.nostr.event import Event, encode

_ID: Final = re.compile(rb'"id":"([0-9a-f]{64})"')
_EVENT: Final = b'["EVENT"'


class Log:
    """When events were handed in, and how long their answers and deliveries took; seconds.

    Args:
        listeners: that get each of them.
    """

    def __init__(self, listeners: int = 1) -> None:
        self.sent: dict[str, float] = {}
        self.answers: list[float] = []
        self.deliveries: list[float] = []
        self._delivered = 0
        self._listeners = listeners
        self._complete = trio.Event()

    async def wait_complete(self) -> None:
        """Until each event handed in so far has been answered, and has come to every listener."""
        if not self._is_complete():
            self._complete = trio.Event()
            await self._complete.wait()

    def answer(self, event: Event, accepted: bool, reason: str) -> None:
        """One event's answer, which must be that it is stored."""
        if not accepted or reason:
            raise RuntimeError(f"{event.id} answered {accepted} {reason!r}")
        self.answers.append(trio.current_time() - self.sent[event.id])
        self._look()

    def time(self, frames: bytes) -> None:
        """Note each delivery in what a listener got."""
        now = trio.current_time()
        found = [now - self.sent[key.decode()] for key in _ID.findall(frames)]
        self.deliveries += found
        self._delivered += len(found)
        self._look()

    def count(self, frames: bytes) -> None:
        """Only count them, which costs less."""
        self._delivered += frames.count(_EVENT)
        self._look()

    def _is_complete(self) -> bool:
        return len(self.answers) == len(self.sent) and self._delivered == len(self.sent) * self._listeners

    def _look(self) -> None:
        if self._is_complete():
            self._complete.set()


class _Ear(Transport):
    """A network that takes all it is given."""

    def __init__(self, hear: Callable[[bytes], None]) -> None:
        self._hear = hear

    def send_nowait(self, data: bytes) -> int:
        self._hear(data)
        return len(data)


class Listener:
    """Subscribed to all events; what is flushed out of its outbox is heard."""

    def __init__(self, flushes: Flushes, hear: Callable[[bytes], None]) -> None:
        outbox = Outbox(_Ear(hear), Keepalive(0), flushes, NetOptions().outbox_bytes, self._hang_up)
        self.subscription = Subscription("live", (Filter(limit=0),), outbox)

    def _hang_up(self, close_reason: CloseReason) -> None:
        raise RuntimeError(f"a listener who takes all that comes was hung up on: {close_reason.reason}")


class Publisher:
    """One connection's sending side: its batches go on their way one after another, each when the last is answered."""

    def __init__(self, relay: Relay, log: Log) -> None:
        self._relay = relay
        self._log = log
        self._unanswered = 0
        self._answered = trio.Event()

    async def publish_all(self, events: Sequence[Event], batch: int) -> None:
        """Hand in all, so many at a time, and wait for their answers."""
        for start in range(0, len(events), batch):
            self._answered = trio.Event()
            await self.publish(events[start : start + batch])
            await self._answered.wait()

    async def publish(self, events: Sequence[Event], since: float | None = None) -> None:
        """Hand in a batch.

        Args:
            events: of which it is.
            since: Trio's time from which on its events wait; by default now.
        """
        now = since or trio.current_time()
        self._log.sent.update((event.id, now) for event in events)
        self._unanswered += len(events)
        await self._relay.publish([Submission(event, self._reply, now, len(encode(event))) for event in events])

    def _reply(self, event: Event, accepted: bool, reason: str) -> None:
        self._log.answer(event, accepted, reason)
        self._unanswered -= 1
        if self._unanswered == 0:
            self._answered.set()
