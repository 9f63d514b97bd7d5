"""What waits for the words of another relay, bounded: one answer, a queue of events, how many answers are owed, and
how much nonsense is borne.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar

import trio

T = TypeVar("T")

_MOST_GRANTED: Final = 1_000.0
"""Messages that may come beside answers: more than are ever on their way."""


class PeerLost(Exception):
    """The other relay is gone, or was given up; the message says why, in words for an operator."""


class Unanswered(PeerLost):
    """Something was not answered in time, though the connection may still be there."""


class PeerRefused(Exception):
    """The other relay does not do what was asked; the message is what it said.

    Args:
        reason: its words.
        most: how many events a sync may have, if it said that (NIP-77).
    """

    def __init__(self, reason: str, most: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.most = most


@asynccontextmanager
async def tasks_beside() -> AsyncIterator[trio.Nursery]:
    """Tasks that end with the body; what the body raises comes out as it is, and not in a group."""
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except Exception as error:
            failure = error
        finally:
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def run_together(work: Callable[[], Awaitable[None]], times: int) -> None:
    """Do the same work so many times side by side; that the peer is lost comes out as such, and not in a group."""
    try:
        async with trio.open_nursery() as nursery:
            for _ in range(times):
                nursery.start_soon(work)
    except BaseExceptionGroup as group:
        lost, others = group.split(PeerLost)
        if lost is None or others is not None:
            raise
        raise _first_of(lost) from None


def _first_of(group: BaseExceptionGroup[PeerLost]) -> PeerLost:
    first = group.exceptions[0]
    return first if isinstance(first, PeerLost) else _first_of(first)


class Expected(Generic[T]):
    """One answer that is still to come."""

    def __init__(self) -> None:
        self._came = trio.Event()
        self._answer: T | Exception | None = None

    @property
    def has_come(self) -> bool:
        """True once there is an answer."""
        return self._came.is_set()

    def give(self, answer: T | Exception) -> None:
        """It has come; or this is to be raised in its stead. Only the first counts."""
        if not self._came.is_set():
            self._answer = answer
            self._came.set()

    async def wait(self, seconds: float, what: str) -> T:
        """Wait for it.

        Raises:
            Unanswered: it did not come in time.
            Exception: that was given in its stead.
        """
        with trio.move_on_after(seconds):
            await self._came.wait()
        if self._answer is None:
            raise Unanswered(f"{what} was not answered within {seconds:g} seconds")
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class Inbox(Generic[T]):
    """A queue for one reader, bounded by bytes: who puts more into it waits until the reader has taken some.

    Args:
        most_bytes: with so many in it, it is full; an item that is put while it is not may go beyond.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._items: deque[tuple[T, int]] = deque()
        self._held = 0
        self._end: Exception | None = None
        self._is_closed = False
        self._readers = trio.lowlevel.ParkingLot()
        self._writers = trio.lowlevel.ParkingLot()

    async def put(self, item: T, size: int) -> None:
        """Add an item of so many bytes, once there is room; after the end nothing is added."""
        while self._held >= self._most and not self._is_closed:
            await self._writers.park()
        self.put_nowait(item, size)

    def put_nowait(self, item: T, size: int = 0) -> None:
        """The same, whether or not there is room: for what comes once."""
        if not self._is_closed:
            self._items.append((item, size))
            self._held += size
            self._readers.unpark()

    async def get(self, seconds: float, what: str) -> T:
        """The next item.

        Raises:
            Unanswered: none came in time.
            Exception: that the queue was ended with, once everything before it is taken.
        """
        with trio.move_on_after(seconds):
            while not self._items and self._end is None:
                await self._readers.park()
        if self._items:
            item, size = self._items.popleft()
            self._held -= size
            self._writers.unpark()
            return item
        raise self._end or Unanswered(f"{what} was not answered within {seconds:g} seconds")

    def end(self, error: Exception) -> None:
        """Nothing more comes: the reader gets what is there, then this."""
        self._end = self._end or error
        self._readers.unpark_all()

    def close(self) -> None:
        """Nobody reads it any more: what is there goes, and nobody waits."""
        self._is_closed = True
        self._items.clear()
        self._held = 0
        self._writers.unpark_all()


class Window:
    """How much is on its way without an answer; whoever sends more waits until that is few."""

    def __init__(self) -> None:
        self._unanswered = 0
        self._waiting = trio.lowlevel.ParkingLot()

    def add(self, number: int = 1) -> None:
        """So many more are on their way."""
        self._unanswered += number

    def remove(self, number: int = 1) -> None:
        """So many were answered."""
        self._unanswered -= number
        self._waiting.unpark_all()

    async def until_below(self, most: int) -> None:
        """Wait until fewer than this are on their way; does not wait if they are."""
        while self._unanswered >= most:
            await self._waiting.park()


class Patience:
    """How much that means nothing is borne: so many at once, one more each second, and one for each question.

    Args:
        most: at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._debt = 0.0
        self._noted = 0.0

    def grant(self) -> None:
        """Something was asked: one message beside its answer is borne."""
        self._debt = max(self._debt - 1, -_MOST_GRANTED)

    def bears(self, now: float) -> bool:
        """Note one, at this time in seconds; False if that is too much."""
        forgotten = max(0.0, now - self._noted)
        self._debt = min(self._debt, max(0.0, self._debt - forgotten)) + 1
        self._noted = now
        return self._debt <= self._most
