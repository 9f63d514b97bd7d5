"""The searches of open subscriptions: what takes them long to find out of an event is worked out in a thread."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event as ThreadEvent
from typing import Final

import trio

from trio_relay.nostr.event import Event
from trio_relay.nostr.event_text import is_long
from trio_relay.nostr.search import Searched, look_at
from trio_relay.pipeline.subscription import Subscription

MOST_WORDS_AT_ONCE: Final = 1_000
"""Words of all open searches that are looked for within a turn of the loop, in a text that is not long."""


class LiveSearches:
    """Counts what open subscriptions search for, and tells which events need a thread for it."""

    def __init__(self) -> None:
        self._searches = 0
        self._words = 0

    def add(self, subscription: Subscription) -> None:
        """A subscription has been opened."""
        self._count(subscription, 1)

    def remove(self, subscription: Subscription) -> None:
        """A subscription that was added is over."""
        self._count(subscription, -1)

    def _count(self, subscription: Subscription, step: int) -> None:
        for filter_ in subscription.filters:
            if filter_.search is not None:
                self._searches += step
                self._words += step * filter_.search.words

    def take_long(self, event: Event) -> bool:
        """Return True if to match this event may hold the loop for longer than a turn."""
        return self._searches > 0 and (self._words > MOST_WORDS_AT_ONCE or is_long(event))

    async def prepare(self, event: Event, match: Callable[[Event], object]) -> None:
        """Have all searches of `match` know about this event, until another one is matched.

        `match` is called once, and asks the searches of those filters alone that want the event otherwise. Cancelled,
        it returns at once; the thread then ends by itself, soon.
        """
        searched = Searched(event)
        if searches := searched.who_asks(match):
            is_over = ThreadEvent()
            try:
                await trio.to_thread.run_sync(searched.judge, searches, is_over.is_set, abandon_on_cancel=True)
            finally:
                is_over.set()
        look_at(searched)

    def may_want(self, event: Event, match: Callable[[Event], object]) -> bool:
        """Return True if any search is asked about this event by `match`, without finding out what it says."""
        return bool(Searched(event).who_asks(match))
