"""One answer of another relay to a question for stored events, as many as it gives at once."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from trio_relay.nostr.errors import Prefix
from trio_relay.nostr.event import MAX_TIME, Event
from trio_relay.peers.messages import Ending, FilterJson, StoredEnd, says
from trio_relay.peers.passage import Passage
from trio_relay.peers.retrying import Pause
from trio_relay.peers.waiting import PeerLost, PeerRefused

LIMIT: Final = 500
"""Events that are asked for at once: what most relays give."""
_MOST_TIMES: Final = 20
"""A relay that sends so many times what was asked for sends without an end."""
_MOST_KINDS: Final = 1_000
_MOST_AUTHORS: Final = 2_000


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
        async with self._passage.peer.subscribe([filter_]) as subscription:
            async for item in subscription:
                if isinstance(item, Ending):
                    return item.reason or "it gave no reason"
                if isinstance(item, StoredEnd):
                    page.is_whole = item.is_whole
                    break
                page.add(item)
                if len(page.ids) > _MOST_TIMES * self._limit:
                    raise PeerLost("it sends many times as many events as it was asked for")
                await self._take(item)
        await self._passage.intake.flush()
        return None

    async def _take(self, event: Event) -> None:
        if len(self.kinds) < _MOST_KINDS:
            self.kinds[event.kind] = None
        if event.pubkey not in self.authors:
            self.authors.append(event.pubkey)
        self._passage.meet(event.id)
        await self._passage.intake.take(event)

    def may_be_cut(self, page: PeerPage) -> bool:
        """True if there may be more than came: it was said, or the page is not far smaller than the largest was.

        Pages of one relay are not equally large: some fill up the last second, some count bytes.
        """
        return 2 * len(page.ids) >= self._largest if page.is_whole is None else not page.is_whole
