"""A channel of small batches, taken as larger ones: the first that comes, and what already waits behind it.

Usually nothing waits for company: load makes batches grow by itself, a lone event goes on at once. Where a batch has a
price of its own, it may linger.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final, Generic, Protocol, Self, TypeVar

import trio

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

BATCH_BYTES: Final = 8 * 2**20
"""Events may have a megabyte each; a batch of them is not to have hundreds."""


class BatchSource(Protocol[T_co]):
    """What batches are taken from: a channel of Trio's, or a `FairChannel`."""

    async def receive(self) -> T_co:
        """The next item; raises `trio.EndOfChannel` if none can come any more."""
        ...

    def receive_nowait(self) -> T_co:
        """The next item; raises `trio.WouldBlock` if there is none, `trio.EndOfChannel` if none can come any more."""
        ...


class Batches(Generic[T]):
    """Iterates over a channel of lists, several at a time, until the channel has ended.

    Args:
        channel: what to take from; its items are lists, not empty.
        most: a batch that has this many items takes no further part; it may exceed it by one part's.
        size: bytes of an item; a batch of `BATCH_BYTES` takes no further part either.
        linger: seconds that a batch which could take more waits for it, from its first part on.
    """

    def __init__(
        self,
        channel: BatchSource[list[T]],
        most: int,
        size: Callable[[T], int] = lambda _item: 0,
        linger: float = 0.0,
    ) -> None:
        self._channel = channel
        self._most = most
        self._size = size
        self._linger = linger

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[T]:
        try:
            batch = list(await self._channel.receive())
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        room = BATCH_BYTES - self._bytes(batch)
        deadline = trio.current_time() + self._linger
        while len(batch) < self._most and room > 0:
            part = await self._next(deadline)
            if part is None:
                break
            batch += part
            room -= self._bytes(part)
        return batch

    async def _next(self, deadline: float) -> list[T] | None:
        """The next part; None if none comes in time, or ever: the next step will tell."""
        try:
            return self._channel.receive_nowait()
        except trio.EndOfChannel:
            return None
        except trio.WouldBlock:
            if not self._linger:
                return None
        with trio.move_on_at(deadline), suppress(trio.EndOfChannel):
            return await self._channel.receive()
        return None

    def _bytes(self, items: list[T]) -> int:
        return sum(map(self._size, items))
