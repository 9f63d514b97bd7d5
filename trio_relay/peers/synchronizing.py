"""A whole sync with another relay: by NIP-77 where it speaks that, else, or where it refuses that, by time.

Without NIP-77, events of the other relay are asked for page by page, and it is offered what it lacks where it counts
(NIP-45), else everything. A count of ids says how many of them are there, in a few bytes; where that is neither none
nor all of them, halves are counted. A relay that does not count is sent all, and says of most that it has them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final

from trio_relay.nostr.errors import invalid
from trio_relay.nostr.filter import parse_filter
from trio_relay.nostr.negentropy.items import ID_SIZE, Items
from trio_relay.peers.messages import FilterJson
from trio_relay.peers.own_side import TimeSpan, place_of, stretch_of, time_of
from trio_relay.peers.paging_back import PagingBack
from trio_relay.peers.passage import Passage
from trio_relay.peers.reconciling import Reconciling
from trio_relay.peers.waiting import PeerLost, PeerRefused, Unanswered

_CHUNK: Final = 200
_FEW: Final = 10
"""So many events are sent rather than counted in halves."""


def check_sync_filter(filter_: FilterJson) -> None:
    """Refuse a filter by which no sets can be compared.

    Raises:
        Rejected: it is none, or has a limit or a search.
    """
    parsed = parse_filter(dict(filter_), all_of=True)
    if parsed.limit is not None:
        raise invalid("a filter of a sync has no limit: the newest events there are other ones than here")
    if parsed.search is not None:
        raise invalid("a filter of a sync has no search: each relay finds something else by it")


async def synchronize(passage: Passage, filter_: FilterJson) -> None:
    """Bring over what a filter asks for, in the directions of the passage; all that came is stored, or refused, then.

    Raises:
        PeerLost: see `Peer`; what came before is stored.
        StoreError: the store could not tell.
    """
    try:
        await _bring_over(passage, filter_)
    except PeerLost:
        await passage.intake.settle()
        raise
    await passage.intake.settle()


async def _bring_over(passage: Passage, filter_: FilterJson) -> None:
    reconciling = Reconciling(passage, filter_)
    try:
        async with aclosing(reconciling.run()) as refused:
            async for stretch, reason in refused:
                passage.report.remark(f"a part is not compared there ({reason}): paging by time instead")
                await _page(passage, filter_, stretch)
    except (PeerRefused, Unanswered) as why:
        if reconciling.has_begun:
            raise
        passage.report.remark(f"it compares no sets by NIP-77 ({why}): paging by time instead")
        await _page(passage, filter_, stretch_of(filter_))


async def _page(passage: Passage, filter_: FilterJson, stretch: TimeSpan) -> None:
    try:
        if passage.takes:
            await PagingBack(passage).take(filter_, stretch)
    except PeerRefused as refusal:
        passage.report.remark(f"it does not give its events: {refusal}", misses_some=True)
    if passage.gives:
        await Offering(passage).give(filter_, stretch)


class Offering:
    """Offers what this relay has.

    Args:
        passage: between the two sides.
    """

    def __init__(self, passage: Passage) -> None:
        self._passage = passage
        self._counts = True

    async def give(self, filter_: FilterJson, stretch: TimeSpan) -> None:
        """Offer what a filter without a limit asks for in a stretch of time, newest first, from where that was left.

        Raises:
            PeerLost: see `Peer`.
            StoreError: the store could not tell.
        """
        place, reached = place_of("up", filter_, stretch), self._passage.paged.reached
        left = TimeSpan(stretch.since, reached.get(place, stretch.until))
        async with aclosing(self._passage.own.parts(filter_, left)) as parts:
            async for part, items in parts:
                async for time in self._give_all(items.snapshot(part.since, part.until)):
                    reached[place] = time

    async def _give_all(self, items: Items) -> AsyncIterator[int]:
        """Offer these, newest first; gives the time up to which all were answered."""
        for end in range(len(items), 0, -_CHUNK):
            start = max(0, end - _CHUNK)
            joined = items.ids(start, end)
            ids = [joined[place : place + ID_SIZE] for place in range(0, len(joined), ID_SIZE)]
            await self._passage.carry([], await self._lacking_there(ids))
            yield time_of(items.record(start))

    async def _lacking_there(self, ids: Sequence[bytes]) -> Sequence[bytes]:
        """Those of the ids that the other side may not have."""
        if not self._counts or len(ids) <= _FEW:
            return ids
        try:
            there = await self._passage.peer.count({"ids": [event_id.hex() for event_id in ids]})
        except (PeerRefused, Unanswered):
            there = None
        if there is None or there > len(ids):  # such a number is not of these ids
            self._counts = False
            return ids
        if there == len(ids):
            return []
        if there == 0:
            return ids
        middle = len(ids) // 2
        return [*await self._lacking_there(ids[:middle]), *await self._lacking_there(ids[middle:])]
