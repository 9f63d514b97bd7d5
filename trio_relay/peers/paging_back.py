"""Events of another relay without NIP-77: asked for page by page, each older than the one before (NIP-01).

A page ends within a second, so the next one begins with that second again. A second in which the other side has more
events than it gives at once is asked for by kinds, then by authors: filters know no finer time than a second, and
nothing says "all other kinds", so these are the kinds and the authors that were met. Where the other side counts
(NIP-45), it is known whether that was all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from trio_relay.peers.asking_pages import AskingPages
from trio_relay.peers.messages import FilterJson
from trio_relay.peers.passage import Passage
from trio_relay.peers.stretches import TimeSpan, within
from trio_relay.peers.waiting import PeerRefused, Unanswered

_AUTHORS_AT_ONCE: Final = 100
_USUAL_KINDS: Final = (0, 1, 3, 4, 5, 6, 7, 16, 1059, 1111, 1984, 9735, 10002, 30023)


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

    async def take(self, stretch: TimeSpan) -> None:
        """Take what the other side has of a stretch of time, newest first.

        Raises:
            PeerLost, PeerRefused: see `AskingPages.ask`.
        """
        since, until = stretch.since or 0, stretch.until
        while until is None or until >= since:
            page = await self._pages.ask(within(self._filter, TimeSpan(stretch.since, until)))
            if not page.ids or page.is_whole:
                return
            if until is None or page.oldest < until:
                until = page.oldest
                continue
            if self._pages.may_be_cut(page):
                await CrowdedSecond(self._passage, self._pages, self._filter, until).take()
            until -= 1


class CrowdedSecond:
    """Takes what can be had of one second.

    Args:
        passage: between the two sides.
        pages: asks, and has met kinds and authors.
        filter_: what is asked for at all.
        second: since 1970.
    """

    def __init__(self, passage: Passage, pages: AskingPages, filter_: FilterJson, second: int) -> None:
        self._passage = passage
        self._pages = pages
        self._filter = within(filter_, TimeSpan(second, second))
        self._second = second
        self._seen: set[str] = set()

    async def take(self) -> None:
        """Take it, and say so if not all of it could be had, or if that is not known.

        Raises:
            PeerLost, PeerRefused: see `AskingPages.ask`.
        """
        total = await self._count()
        if total is None or total > await self._met(self._filter):
            await self._split("kinds", self._values("kinds", [*self._pages.kinds, *_USUAL_KINDS]), self._filter)
        missing = None if total is None else total - len(self._seen)
        if missing is None:
            self._remark("some events may be missing: it gives no more at once, and does not count")
        elif missing > 0:
            self._remark(f"{missing} events are missing: it gives no more at once")

    async def _count(self) -> int | None:
        try:
            return await self._passage.peer.count(self._filter)
        except (PeerRefused, Unanswered):
            return None

    async def _met(self, filter_: FilterJson) -> int:
        page = await self._pages.ask(filter_)
        self._seen.update(page.ids)
        return len(self._seen)

    def _values(self, key: str, met: Sequence[object]) -> list[object]:
        """The values of a key to be asked for: those of the filter, if it has some."""
        asked = self._filter.get(key)
        return list(cast("list[object]", asked) if asked is not None else dict.fromkeys(met))

    async def _split(self, key: str, values: Sequence[object], filter_: FilterJson) -> None:
        """Ask for these values of a key, and for fewer at a time where that is too much."""
        if not values:
            return
        narrower = {**filter_, key: values}
        page = await self._pages.ask(narrower)
        self._seen.update(page.ids)
        if not self._pages.may_be_cut(page):
            return
        if len(values) > 1:
            middle = len(values) // 2
            await self._split(key, values[:middle], filter_)
            await self._split(key, values[middle:], filter_)
        elif key == "kinds":
            authors = self._values("authors", list(self._pages.authors))
            for start in range(0, len(authors), _AUTHORS_AT_ONCE):
                await self._split("authors", authors[start : start + _AUTHORS_AT_ONCE], narrower)

    def _remark(self, what: str) -> None:
        self._passage.report.remark(f"of second {self._second} {what}", misses_some=True)
