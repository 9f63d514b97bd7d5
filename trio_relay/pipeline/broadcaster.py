"""Stored and ephemeral events in, live deliveries out: one match an event, one frame a sub id, no wait for anyone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from trio_relay.nostr.access import PRIVATE_KINDS, concerned
from trio_relay.nostr.errors import Rejected
from trio_relay.nostr.event import Event, encode, has_expired
from trio_relay.nostr.limits import Limits
from trio_relay.pipeline.batches import Batches
from trio_relay.pipeline.filter_room import FilterRoom
from trio_relay.pipeline.histogram import SECONDS, Histogram
from trio_relay.pipeline.index_work import IndexWork
from trio_relay.pipeline.live_searches import LiveSearches
from trio_relay.pipeline.pending_ids import PendingIds
from trio_relay.pipeline.recipient import CollectedFlushes, FlushCollector, Frame
from trio_relay.pipeline.statistics import BroadcasterStatistics
from trio_relay.pipeline.submission import Submission
from trio_relay.pipeline.subscription import Subscription
from trio_relay.pipeline.subscription_index import SubscriptionIndex
from trio_relay.turns import Turn

_MOST_AT_ONCE: Final = 500
"""What the filters of a subscription count that is entered at once, in a fifth of a millisecond."""
_MOST_OUT_AT_ONCE: Final = 100
"""The same of one that is taken out: a client that leaves may have hundreds of them."""
_FLUSH_SECONDS: Final = 0.01
"""So long deliveries are collected before they leave: several events for one client in one system call."""


class Broadcaster:
    """Owns the index of open subscriptions, and is the one task that delivers live events.

    Args:
        pending_ids: the writer's ids that have not been here; taken out once delivered.
        collector: collects the flushes that deliveries ask for, for several events.
        clock: seconds since 1970.
        private_kinds: of all other kinds the gate refuses nobody anything.
        room: for the filters of subscriptions.
        oldest: tells the least `created_at` that an event can have now; None: there is none.
    """

    def __init__(
        self,
        pending_ids: PendingIds,
        collector: FlushCollector,
        clock: Callable[[], float],
        private_kinds: frozenset[int] = PRIVATE_KINDS,
        room: FilterRoom | None = None,
        oldest: Callable[[], int] | None = None,
    ) -> None:
        self._private_kinds = private_kinds | PRIVATE_KINDS
        self._clock = clock
        self._pending_ids = pending_ids
        self._collector = collector
        self._room = room or FilterRoom(Limits())
        self._oldest = oldest
        self._index: SubscriptionIndex[Subscription] = SubscriptionIndex()
        self._large = IndexWork(self._index)
        self._searches = LiveSearches()
        self._events = 0
        self._deliveries = 0
        self._latency = Histogram(SECONDS)

    def add(self, subscription: Subscription) -> Rejected | None:
        """Deliver to this subscription from the next event on, a large one once it is `entered`; or tell why not."""
        origin, size = subscription.origin, subscription.size
        refusal: Rejected | None = self._room.take(origin, size)
        if refusal is not None:
            return refusal
        oldest = 0 if self._oldest is None else self._oldest()
        if size > _MOST_AT_ONCE:
            subscription.entering = self._large.enter(subscription, oldest)
        elif (refusal := self._index.add(subscription, oldest)) is not None:
            self._room.give_back(origin, size)
        if refusal is None:
            self._searches.add(subscription)
        return refusal

    def remove(self, subscription: Subscription) -> None:
        """Deliver nothing more to a subscription that was added."""
        self._searches.remove(subscription)
        origin, size = subscription.origin, subscription.size
        if size > _MOST_OUT_AT_ONCE:
            self._large.leave(subscription, partial(self._room.give_back, origin, size))
        else:
            self._index.remove(subscription)
            self._room.give_back(origin, size)

    async def enter(self) -> None:
        """Enter large subscriptions, and take them out; for ever."""
        await self._large.run()

    @property
    def subscriptions(self) -> int:
        """How many there are now."""
        return len(self._index)

    def is_heard(self, event: Event) -> bool:
        """True if any subscription would get this event now, or may get it by a search that takes long."""
        if self._searches.take_long(event) and self._searches.may_want(event, self._index.match):
            return True
        targets = self._index.match(event)
        return bool(targets) and bool(self._receivers(event, targets))

    async def wanted_by(self, event: Event) -> int:
        """How many subscriptions would get this event now; nothing is delivered."""
        if self._searches.take_long(event):
            await self._searches.prepare(event, self._index.match)
        return len(self._receivers(event, self._index.match(event)))

    async def run(self, live: trio.MemoryReceiveChannel[list[Submission]], most: int) -> None:
        """Deliver until the channel has ended; the handle is this task's own and is closed by it."""
        with live:
            async for batch in Batches(live, most):
                await self._deliver_all(batch)

    async def _deliver_all(self, batch: list[Submission]) -> None:
        collected = self._collector.collected()
        turn, flushed = Turn(), trio.current_time()
        for submission in batch:
            if self._searches.take_long(submission.event):
                await collected.flush()  # nobody's events wait for this one's words
                await self._searches.prepare(submission.event, self._index.match)
                turn, flushed = Turn(), trio.current_time()
            self._deliver(submission.event, collected)
            now = trio.current_time()
            self._latency.observe(now - submission.arrived)
            if now - flushed > _FLUSH_SECONDS:
                await collected.flush()
                flushed = trio.current_time()
            if turn.is_over_at(now):
                await turn.give()
        await collected.flush()

    def _deliver(self, event: Event, collected: CollectedFlushes) -> None:
        targets = self._index.match(event)
        if targets:
            targets = self._receivers(event, targets)
        if targets:
            json = encode(event)
            shared: dict[tuple[str, Frame], bytes] = {}
            with collected:
                for target in targets:
                    target.deliver(event.id, json, shared)
        # In the same turn as the deliveries: from here on a query that finds the event was late for them.
        self._pending_ids.delivered(event.id)
        self._events += 1
        self._deliveries += len(targets)

    def _receivers(self, event: Event, targets: list[Subscription]) -> list[Subscription]:
        """Those of the targets that may have it; thousands of them are asked only where the gate could refuse any."""
        if has_expired(event, int(self._clock())):
            return []
        if event.kind not in self._private_kinds:
            return targets
        keys = concerned(event)  # once: an event may name ten thousand, and have thousands of targets
        return [
            target
            for target in targets
            if event.kind not in target.reader.private_kinds or not keys.isdisjoint(target.reader.keys)
        ]

    def statistics(self) -> BroadcasterStatistics:
        """What this stage has seen so far."""
        return BroadcasterStatistics(
            len(self._index),
            self._room.held,
            self._index.keys,
            self._events,
            self._deliveries,
            self._latency.statistics(),
        )
