"""A bounded channel in which each holder gets as much as any other, however many senders and however much it has."""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

import outcome
import trio

from trio_relay.pipeline.batches import BATCH_BYTES
from trio_relay.pipeline.statistics import ChannelStatistics

T = TypeVar("T")

_FEW: Final = 1_000


class _Sent(Generic[T]):
    """What was sent, how large it is, and the task of its sender, if that waits for room.

    Attributes:
        place: where it stands in the line: what its holder had been given before it, and the order of coming.
        is_gone: True if its sender was cancelled, or refused.
    """

    __slots__ = ("is_gone", "place", "size", "task", "value")

    def __init__(self, value: T, size: int, place: tuple[int, int]) -> None:
        self.value = value
        self.size = size
        self.place = place
        self.is_gone = False
        self.task: trio.lowlevel.Task | None = None


class FairChannel(Generic[T]):
    """Gives what it was sent in turn: first to whom least was given, in the order of each holder's own.

    What a holder has been given is counted in bytes, one at least for each item, while it has more to say; who comes
    anew stands where those stand that are next (start-time fair queueing). So a lone event does not wait for all the
    hundreds that each of the others brings at a time.

    Beyond its capacity senders wait, and what they have brought has its turn all the same: who receives sees all of it.

    Args:
        capacity: items that wait without their senders; 0: every sender waits until its item is received.
        most_bytes: once so many wait without their senders, those of further items wait.
    """

    def __init__(self, capacity: int, most_bytes: int = BATCH_BYTES) -> None:
        self._capacity = capacity
        self._most_bytes = most_bytes
        self._line: list[tuple[tuple[int, int], _Sent[T]]] = []
        """A heap of all that was sent; also of what is gone, until its place comes."""
        self._here = 0
        """Items in the line that are not gone."""
        self._given: dict[Hashable, int] = {}
        """Where the next item of a holder stands, if that is beyond those that are next."""
        self._next = 0
        self._sent = 0
        self._waiting: dict[_Sent[T], Hashable] = {}
        """Items whose senders wait, in order, and whom they count as."""
        self._depth = self._peak = self._bytes = 0
        self._receivers = trio.lowlevel.ParkingLot()
        self._is_closed = False

    async def send(self, value: T, holder: Hashable, size: int = 0) -> None:
        """Send one item; waits while the channel is full. Cancelled, it has not been sent.

        Args:
            value: the item.
            holder: whose turn it takes.
            size: its bytes.

        Raises:
            trio.ClosedResourceError: the channel is closed, or was while this waited.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._is_closed:
            raise trio.ClosedResourceError
        item = self._put(value, holder, size)
        if is_awaited := bool(self._receivers):
            self._receivers.unpark()
        if self._has_room():
            self._take_in(item)
            if self._depth > self._peak and not is_awaited:
                self._peak = self._depth
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            await self._wait_for_room(item, holder)

    def _put(self, value: T, holder: Hashable, size: int) -> _Sent[T]:
        if not self._here:
            self._given.clear()  # who had much owes nothing to those who were not here
        begins = max(self._next, self._given.get(holder, 0))
        self._given[holder] = begins + max(size, 1)
        self._sent += 1
        item = _Sent(value, size, (begins, self._sent))
        heappush(self._line, (item.place, item))
        self._here += 1
        return item

    def _has_room(self) -> bool:
        return self._depth < self._capacity and self._bytes < self._most_bytes

    def _take_in(self, item: _Sent[T]) -> None:
        self._depth += 1
        self._bytes += item.size

    async def _wait_for_room(self, item: _Sent[T], holder: Hashable) -> None:
        def give_up(_: object) -> trio.lowlevel.Abort:  # at once: who receives in the same moment must not find it
            self._take_back(item)
            return trio.lowlevel.Abort.SUCCEEDED

        item.task = trio.lowlevel.current_task()
        self._waiting[item] = holder
        await trio.lowlevel.wait_task_rescheduled(give_up)

    def _take_back(self, item: _Sent[T]) -> None:
        del self._waiting[item]
        item.is_gone = True
        self._here -= 1
        if len(self._line) > 2 * self._here + _FEW:
            self._line = [entry for entry in self._line if not entry[1].is_gone]
            heapify(self._line)

    async def receive(self) -> T:
        """The next item.

        Raises:
            trio.EndOfChannel: the channel is closed, and there is none.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                value = self.receive_nowait()
            except trio.WouldBlock:
                await self._receivers.park()
            else:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return value

    def receive_nowait(self) -> T:
        """The next item, if there is one.

        Raises:
            trio.WouldBlock: there is none.
            trio.EndOfChannel: the channel is closed, and there is none.
        """
        if not self._here:
            raise trio.EndOfChannel if self._is_closed else trio.WouldBlock
        (self._next, _), item = heappop(self._line)
        while item.is_gone:
            (self._next, _), item = heappop(self._line)
        self._here -= 1
        if item.task is not None and item in self._waiting:
            self._let_in(item)
        else:
            self._depth -= 1
            self._bytes -= item.size
            while self._waiting and self._has_room():
                self._take_in(first := next(iter(self._waiting)))
                self._let_in(first)
        return item.value

    def _let_in(self, item: _Sent[T]) -> None:
        self._waiting.pop(item)
        assert item.task is not None, "who waits has a task"
        trio.lowlevel.reschedule(item.task)

    def close(self) -> None:
        """Take nothing more; what is in the channel can still be received, and those who wait to send are refused."""
        self._is_closed = True
        for item in list(self._waiting):
            self._take_back(item)
            assert item.task is not None, "who waits has a task"
            trio.lowlevel.reschedule(item.task, outcome.Error(trio.ClosedResourceError()))
        self._receivers.unpark_all()

    def statistics(self) -> ChannelStatistics:
        """How full it is."""
        return ChannelStatistics(self._depth, self._peak, self._capacity)
