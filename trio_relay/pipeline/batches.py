"""A channel of parcels, taken as batches: the first that comes, and what already waits behind it.

Nothing waits for company: load makes batches grow by itself, a lone event goes on at once.
"""

from __future__ import annotations

from typing import Generic, Self, TypeVar

import trio

T = TypeVar("T")


class Batches(Generic[T]):
    """Iterates over a channel of lists, several at a time, until the channel has ended.

    Args:
        parcels: the channel; its items are lists, not empty.
        most: a batch that has this many items takes no further parcel; it may exceed it by one parcel's.
    """

    def __init__(self, parcels: trio.MemoryReceiveChannel[list[T]], most: int) -> None:
        self._parcels = parcels
        self._most = most

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[T]:
        try:
            batch = list(await self._parcels.receive())
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        while len(batch) < self._most:
            try:
                batch += self._parcels.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                break  # the end of the channel ends this batch; the next step ends the loop
        return batch
