"""What passes between two relays in one sync: events that are lacking here, and events that are lacking there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from trio_relay.peers.feeding import Feed, SyncFeed
from trio_relay.peers.fetching import Fetching
from trio_relay.peers.intake import Intake
from trio_relay.peers.outcomes import SyncReport
from trio_relay.peers.own_side import OwnSide
from trio_relay.peers.peer import Peer

_MOST_REMEMBERED: Final = 200_000
"""Ids that were carried: a comparison may tell some twice, and what is refused is lacking ever after."""
_CHUNK: Final = 5_000


class Passage:
    """Carries over what a comparison finds.

    Args:
        peer: the other side.
        own: this side's store.
        intake: this side's pipeline.
        report: where everything is counted.
        takes: False: nothing is fetched.
        gives: False: nothing is offered.
        feeding: offers in the stead of a `SyncFeed`.
    """

    def __init__(
        self,
        peer: Peer,
        own: OwnSide,
        intake: Intake,
        report: SyncReport,
        *,
        takes: bool = True,
        gives: bool = True,
        feeding: Feed | None = None,
    ) -> None:
        self.peer = peer
        self.own = own
        self.intake = intake
        self.report = report
        self.takes = takes
        self.gives = gives
        self._fetching = Fetching(peer, intake, report.down)
        self._feeding: Feed = feeding or SyncFeed(peer, own, report.up)
        self._carried: set[bytes] = set()
        self._met: set[bytes] = set()

    def meet(self, event_id: str) -> None:
        """The other side has this one: it need not be offered; so many of them are remembered as have room."""
        if len(self._met) < _MOST_REMEMBERED:
            self._met.add(bytes.fromhex(event_id))

    async def carry(self, need: Sequence[bytes], have: Sequence[bytes]) -> None:
        """Fetch what is needed here, and offer what only this side has; ids of 32 bytes.

        Raises:
            PeerLost: see `Peer`.
            StoreError: the store could not tell.
        """
        if self.takes:
            await self._fetch(self._new_ones(need))
        if self.gives:
            offered = [event_id.hex() for event_id in self._new_ones(have) if event_id not in self._met]
            await self._feeding.feed(offered)

    def _new_ones(self, ids: Sequence[bytes]) -> list[bytes]:
        """Those that were not carried of late, each once."""
        new = [event_id for event_id in dict.fromkeys(ids) if event_id not in self._carried]
        if len(self._carried) + len(new) > _MOST_REMEMBERED:
            self._carried.clear()
        self._carried.update(new)
        return new

    async def _fetch(self, ids: Sequence[bytes]) -> None:
        for start in range(0, len(ids), _CHUNK):
            texts = [event_id.hex() for event_id in ids[start : start + _CHUNK]]
            lacking = await self.own.lacking(texts)
            await trio.lowlevel.checkpoint()
            if lacking:
                await self._fetching.fetch(lacking)
