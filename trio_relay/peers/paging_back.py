"""Events of another relay without NIP-77: asked for page by page, each older than the one before (NIP-01).

A page ends within a second, so the next one begins with that second again. A second in which the other side has more
events than it gives at once is asked for by kinds, then by authors: filters know no finer time than a second, and
nothing says "all other kinds", so these are the kinds and the authors that were met. Where the other side counts
(NIP-45), it is known whether that was all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from trio_relay.nostr.errors import Prefix
from trio_relay.nostr.event import MAX_TIME, Event
from trio_relay.peers.endless import AnswerBounds
from trio_relay.peers.messages import Ending, FilterJson, StoredEnd, says
from trio_relay.peers.own_side import TimeSpan, place_of, within
from trio_relay.peers.passage import Passage
from trio_relay.peers.retrying import Pause
from trio_relay.peers.waiting import PeerRefused, Unanswered

LIMIT: Final = 500
"""Events that are asked for at once: what most relays give."""
_MOST_KINDS: Final = 1_000
_MOST_AUTHORS: Final = 2_000
_AUTHORS_AT_ONCE: Final = 100
_USUAL_KINDS: Final = (0, 1, 3, 4, 5, 6, 7, 16, 1059, 1111, 1984, 9735, 10002, 30023)


@dataclass(slots=True)
class PeerPage:
    """What came for one question.

    Attributes:
        ids: of the events, in the order in which they came.
        oldest, newest: their `created_at`.
        is_whole: whether that is all there is, if it was said (NIP-67).
    """

    ids: dict[str, None] = field(default_factory=dict)
    oldest: int = MAX_TIME
    newest: int = 0
    is_whole: bool | None = None

    def add(self, event: Event) -> None:
        """One more has come."""
        self.ids[event.id] = None
        self.oldest = min(self.oldest, event.created_at)
        self.newest = max(self.newest, event.created_at)


class AskingPages:
    """Asks for pages of events, and puts what comes into the pipeline.

    Args:
        passage: between the two sides.
    """

    def __init__(self, passage: Passage) -> None:
        self.kinds: dict[int, None] = {}
        """That were seen, up to a thousand."""
        self.authors: deque[str] = deque(maxlen=_MOST_AUTHORS)
        """Of the events that were seen last."""
        self._passage = passage
        self._limit = LIMIT
        self._largest = 0
        self._pause = Pause()

    async def ask(self, filter_: FilterJson) -> PeerPage:
        """Ask for the newest events that match.

        Raises:
            PeerLost: see `Peer`; or it sends without an end.
            PeerRefused: it does not give them.
        """
        while True:
            await self._pause.over()
            page = PeerPage()
            refusal = await self._take_all({**filter_, "limit": self._limit}, page)
            if refusal is None:
                break
            if says(refusal, Prefix.RATE_LIMITED):
                if not self._pause.begin():
                    raise PeerRefused(refusal)
            elif not self._asks_for_less():
                raise PeerRefused(refusal)
        self._pause.end()
        self._passage.report.pages += 1
        self._largest = max(self._largest, len(page.ids))
        return page

    def _asks_for_less(self) -> bool:
        """Ask for fewer events from now on, unless some have come when as many were asked for."""
        if self._largest or self._limit == 1:
            return False
        self._limit //= 2
        return True

    async def _take_all(self, filter_: FilterJson, page: PeerPage) -> str | None:
        bounds = AnswerBounds(self._limit, self._passage.peer.options.answer_seconds)
        async with self._passage.peer.subscribe([filter_]) as subscription:
            async for item in subscription:
                if isinstance(item, Ending):
                    return item.reason or "it gave no reason"
                if isinstance(item, StoredEnd):
                    page.is_whole = item.is_whole
                    break
                if bounds.note(item.id, subscription.waited):
                    page.add(item)
                    await self._take(item)
        await self._passage.intake.flush()
        return None

    async def _take(self, event: Event) -> None:
        if len(self.kinds) < _MOST_KINDS:
            self.kinds[event.kind] = None
        if event.pubkey not in self.authors:
            self.authors.append(event.pubkey)
        self._passage.paged.meet(event.id)
        await self._passage.intake.take(event)

    def may_be_cut(self, page: PeerPage) -> bool:
        """True if there may be more than came: it was said, or the page is not far smaller than the largest was.

        Pages of one relay are not equally large: some fill up the last second, some count bytes.
        """
        return 2 * len(page.ids) >= self._largest if page.is_whole is None else not page.is_whole


class PagingBack:
    """Takes what the other side has.

    Args:
        passage: between the two sides.
    """

    def __init__(self, passage: Passage) -> None:
        self._passage = passage
        self._pages = AskingPages(passage)

    async def take(self, filter_: FilterJson, stretch: TimeSpan) -> None:
        """Take what a filter without a limit asks for in a stretch of time, newest first, from where that was left.

        Raises:
            PeerLost, PeerRefused: see `AskingPages.ask`.
        """
        place, reached = place_of("down", filter_, stretch), self._passage.paged.reached
        since, until = stretch.since or 0, reached.get(place, stretch.until)
        while until is None or until >= since:
            page = await self._pages.ask(within(filter_, TimeSpan(stretch.since, until)))
            if not page.ids or page.is_whole:
                until = since - 1
            elif until is None or page.oldest < until:
                until = page.oldest
            else:
                if self._pages.may_be_cut(page):
                    await CrowdedSecond(self._passage, self._pages, filter_, until).take()
                until -= 1
            reached[place] = until


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
