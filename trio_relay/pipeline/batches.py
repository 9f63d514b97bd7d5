"""A channel of parcels, taken as batches: the first that comes, and what already waits behind it.

Nothing waits for company: load makes batches grow by itself, a lone event goes on at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, Self, TypeVar

import trio

T = TypeVar("T")

BATCH_BYTES: Final = 8 * 2**20
"""Events may have a megabyte each; a batch of them is not to have hundreds."""


class Batches(Generic[T]):
    """Iterates over a channel of lists, several at a time, until the channel has ended.

    Args:
        parcels: the channel; its items are lists, not empty.
        most: a batch that has this many items takes no further parcel; it may exceed it by one parcel's.
        size: bytes of an item; a batch of `BATCH_BYTES` takes no further parcel either.
    """

    def __init__(
        self,
        parcels: trio.MemoryReceiveChannel[list[T]],
        most: int,
        size: Callable[[T], int] = lambda _item: 0,
    ) -> None:
        self._parcels = parcels
        self._most = most
        self._size = size

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[T]:
        try:
            batch = list(await self._parcels.receive())
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        filled = sum(map(self._size, batch))
        while len(batch) < self._most and filled < BATCH_BYTES:
            try:
                parcel = self._parcels.receive_nowait()
                batch += parcel
                filled += sum(map(self._size, parcel))
            except (trio.WouldBlock, trio.EndOfChannel):
                break  # the end of the channel ends this batch; the next step ends the loop
        return batch
