"""Large filters on their way into the index and out of it: one task, a turn at a time, first come first.

Thousands of values take milliseconds each way. What asks for them waits: the store is asked once all of a subscription
is in the index, and its room is free for others once all of it is out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Generic

import trio

from trio_relay.nostr.errors import Rejected
from trio_relay.pipeline.subscription_index import S, SubscriptionIndex
from trio_relay.turns import Turn


class Entering:
    """A subscription on its way into the index."""

    __slots__ = ("_is_over", "_refusal")

    def __init__(self) -> None:
        self._is_over = trio.Event()
        self._refusal: Rejected | None = None

    def finish(self, refusal: Rejected | None) -> None:
        """It has been entered, or has not for this reason."""
        self._refusal = refusal
        self._is_over.set()

    async def wait(self) -> Rejected | None:
        """Wait until it has been entered; or tell why there is no room for it."""
        await self._is_over.wait()
        return self._refusal


class IndexWork(Generic[S]):
    """Enters subscriptions into an index, and takes them out, in pieces.

    Args:
        index: whose pieces are done.
    """

    def __init__(self, index: SubscriptionIndex[S]) -> None:
        self._index = index
        self._begun: deque[Iterator[None]] = deque()
        self._has_more = trio.Event()

    def enter(self, subscription: S, oldest: int) -> Entering:
        """Begin to enter a subscription; see `SubscriptionIndex.add`."""
        entering = Entering()
        self._begin(self._entered(subscription, oldest, entering))
        return entering

    def leave(self, subscription: S, free: Callable[[], None]) -> None:
        """Begin to take a subscription out, which is not found from now on; `free` is called once all of it is out."""
        self._begin(self._left(subscription, free))

    async def run(self) -> None:
        """Do what has been begun; for ever."""
        while True:
            await self._has_more.wait()
            turn = Turn()
            while self._begun:
                if _is_over(self._begun[0]):
                    self._begun.popleft()
                if turn.is_over:
                    await turn.give()
            self._has_more = trio.Event()

    def _begin(self, work: Iterator[None]) -> None:
        if not _is_over(work):
            self._begun.append(work)
            self._has_more.set()

    def _entered(self, subscription: S, oldest: int, entering: Entering) -> Iterator[None]:
        entering.finish((yield from self._index.adding(subscription, oldest)))

    def _left(self, subscription: S, free: Callable[[], None]) -> Iterator[None]:
        yield from self._index.removing(subscription)
        free()


def _is_over(work: Iterator[None]) -> bool:
    """Do one more piece, and tell whether there was none."""
    return next(work, _OVER) is _OVER


_OVER: Final = object()
