"""Events of another relay without NIP-77: asked for page by page, each older than the one before (NIP-01).

A page ends within a second, so the next one begins with that second again. A second of which a whole page is full is
taken apart: see `crowded_second`.
"""

from __future__ import annotations

from trio_relay.peers.asking_pages import AskingPages
from trio_relay.peers.crowded_second import CrowdedSecond
from trio_relay.peers.messages import FilterJson
from trio_relay.peers.passage import Passage
from trio_relay.peers.stretches import Stretch, within


class PagingBack:
    """Takes everything that a filter asks for.

    Args:
        passage: between the two sides.
        filter_: without a limit.
    """

    def __init__(self, passage: Passage, filter_: FilterJson) -> None:
        self._passage = passage
        self._filter = filter_
        self._pages = AskingPages(passage)

    async def take(self, stretch: Stretch) -> None:
        """Take what the other side has of a stretch of time, newest first.

        Raises:
            PeerLost, PeerRefused: see `AskingPages.ask`.
        """
        since, until = stretch.since or 0, stretch.until
        while until is None or until >= since:
            page = await self._pages.ask(within(self._filter, Stretch(stretch.since, until)))
            if not page.ids or page.is_whole:
                return
            if until is None or page.oldest < until:
                until = page.oldest
                continue
            if self._pages.may_be_cut(page):
                await CrowdedSecond(self._passage, self._pages, self._filter, until).take()
            until -= 1
