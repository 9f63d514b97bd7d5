"""What this relay has, offered to one without NIP-77: only what it lacks where it counts (NIP-45), else everything.

A count of ids says how many of them are there, in a few bytes; where that is neither none nor all of them, halves are
counted. A relay that does not count is sent all, and says of most that it has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trio_relay.nostr.negentropy.items import ID_SIZE, Items
from trio_relay.peers.messages import FilterJson
from trio_relay.peers.passage import Passage
from trio_relay.peers.stretches import TimeSpan
from trio_relay.peers.waiting import PeerRefused, Unanswered

_CHUNK: Final = 200
_FEW: Final = 10
"""So many events are sent rather than counted in halves."""


class Offering:
    """Offers everything that a filter asks for.

    Args:
        passage: between the two sides.
        filter_: without a limit.
    """

    def __init__(self, passage: Passage, filter_: FilterJson) -> None:
        self._passage = passage
        self._filter = filter_
        self._counts = True

    async def give(self, stretch: TimeSpan) -> None:
        """Offer what this relay has of a stretch of time, newest first.

        Raises:
            PeerLost: see `Peer`.
            StoreError: the store could not tell.
        """
        left = stretch
        while True:
            part, items = await self._passage.own.newest(self._filter, left)
            await self._give_all(items.snapshot(part.since, part.until))
            if part.since is None or part.since <= (left.since or 0):
                return
            left = TimeSpan(left.since, part.since - 1)

    async def _give_all(self, items: Items) -> None:
        for end in range(len(items), 0, -_CHUNK):
            joined = items.ids(max(0, end - _CHUNK), end)
            ids = [joined[place : place + ID_SIZE] for place in range(0, len(joined), ID_SIZE)]
            await self._passage.carry([], await self._lacking_there(ids))

    async def _lacking_there(self, ids: Sequence[bytes]) -> Sequence[bytes]:
        """Those of the ids that the other side may not have."""
        if not self._counts or len(ids) <= _FEW:
            return ids
        try:
            there = await self._passage.peer.count({"ids": [event_id.hex() for event_id in ids]})
        except (PeerRefused, Unanswered):
            self._counts = False
            return ids
        if there >= len(ids):
            return []
        if there == 0:
            return ids
        middle = len(ids) // 2
        return [*await self._lacking_there(ids[:middle]), *await self._lacking_there(ids[middle:])]
