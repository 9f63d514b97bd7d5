"""What passes between two relays in one sync: events that are lacking here, and events that are lacking there.

A `Passage` carries over what a comparison finds, each once. What is lacking here is fetched by ids, in chunks as large
as the other relay answers whole; what is lacking there goes by a `Feed`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from trio_relay.nostr.errors import Prefix
from trio_relay.nostr.event import Event
from trio_relay.peers.endless import AnswerBounds
from trio_relay.peers.feeding import Feed, SyncFeed
from trio_relay.peers.intake import Intake
from trio_relay.peers.messages import Ending, FilterJson, says
from trio_relay.peers.outcomes import Fate, Outcomes, SyncReport
from trio_relay.peers.own_side import OwnSide
from trio_relay.peers.peer import Peer
from trio_relay.peers.retrying import Pause
from trio_relay.peers.waiting import PeerLost, run_together

_MOST_REMEMBERED: Final = 200_000
"""Ids that were carried: a comparison may tell some twice, and what is refused is lacking ever after."""
_CHUNK: Final = 5_000
"""Ids that the store is asked for at a time."""
_IDS_AT_ONCE: Final = 250
"""Ids of one question: many relays give no more than 500 events for one."""
_MOST_REFUSED: Final = 40
"""Questions in a row that were refused: then all will be."""
MOST_WITHHELD: int = 1_000_000
"""Events in a row that were not given. Some relays compare with everybody what they show to few, as strfry does with
the messages of others where its tree for all events is used. Not Final: tests set another."""
_AT_ONCE: Final = 3
"""Questions that are open at a time, so that the way there and back is not waited for."""


@dataclass(slots=True)
class PagedSoFar:
    """What is known of the other side beside its sets; it outlasts a connection that breaks off.

    Attributes:
        reached: how far back in time all was carried by paging, seconds since 1970, by the `place_of` what that was.
        met: ids of events that it has: they need not be offered. So many of them are remembered as have room.
    """

    reached: dict[bytes, int] = field(default_factory=dict)
    met: set[bytes] = field(default_factory=set)

    def meet(self, event_id: str) -> None:
        """It has shown this one, or taken it."""
        if len(self.met) < _MOST_REMEMBERED:
            self.met.add(bytes.fromhex(event_id))


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
        paged: what is known of the other side, if an earlier connection has broken off.
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
        paged: PagedSoFar | None = None,
    ) -> None:
        self.peer = peer
        self.own = own
        self.intake = intake
        self.report = report
        self.takes = takes
        self.gives = gives
        self.paged = paged or PagedSoFar()
        self._fetching = Fetching(peer, intake, report.down)
        self._feeding: Feed = feeding or SyncFeed(peer, own, report.up, self.paged.meet)
        self._carried: set[bytes] = set()

    async def carry(self, need: Sequence[bytes], have: Sequence[bytes]) -> int:
        """Fetch what is needed here, and offer what only this side has; ids of 32 bytes.

        Returns:
            How many of them are wanted at all, and were not carried before.

        Raises:
            PeerLost: see `Peer`.
            StoreError: the store could not tell.
        """
        needed = self._new_ones(need) if self.takes else []
        await self._fetch(needed)
        if not self.gives:
            return len(needed)
        new = self._new_ones(have)
        await self._feeding.feed([event_id.hex() for event_id in new if event_id not in self.paged.met])
        return len(needed) + len(new)

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


class Fetching:
    """Asks for events by id, and puts them into the pipeline.

    Args:
        peer: that has them.
        intake: where they go.
        outcomes: where what is missing is counted.
    """

    def __init__(self, peer: Peer, intake: Intake, outcomes: Outcomes) -> None:
        self._peer = peer
        self._intake = intake
        self._outcomes = outcomes
        self._chunk = _IDS_AT_ONCE
        self._pause = Pause()
        self._refused = 0
        self._withheld = 0

    async def fetch(self, ids: Sequence[str]) -> None:
        """Fetch these, as far as the other side gives them.

        Raises:
            PeerLost: see `Peer`.
        """
        left = deque(ids)

        async def ask_for_some() -> None:
            while left:
                wanted = dict.fromkeys(left.popleft() for _ in range(min(self._chunk, len(left))))
                left.extend(await self._ask(wanted))

        await run_together(ask_for_some, min(_AT_ONCE, -(-len(left) // self._chunk)))
        await self._intake.flush()

    async def _ask(self, wanted: dict[str, None]) -> list[str]:
        """Take what comes of some out of what is wanted; returns which are to be asked for again.

        What is missing of an answer may have been cut off, or is not given to us, as somebody else's messages are. That
        is told by asking for it alone: if nothing comes then, the other side may be asked for as many as before.
        """
        came, refusal = await self._question(wanted)
        if came and wanted:
            more, refusal = await self._question(wanted)
            if more:
                self._chunk = max(1, min(self._chunk, max(came, more)))
                return list(wanted)
        missing = list(wanted)
        if missing and refusal is not None:
            return self._after_refusal(missing, refusal)
        if missing:
            self._outcomes.note(Fate.MISSING, "it said that it has this, and did not give it", len(missing))
        return []

    async def _question(self, wanted: dict[str, None]) -> tuple[int, str | None]:
        """One question: how many events came, and why it was refused, if it was."""
        await self._pause.over()
        asked = len(wanted)
        refusal = await self._take_all({"ids": list(wanted)}, wanted)
        came = asked - len(wanted)
        if came:
            self._pause.end()
            self._refused = self._withheld = 0
        elif refusal is None:
            self._withheld += asked
        else:
            self._refused += 1
        if self._refused > _MOST_REFUSED or self._withheld > MOST_WITHHELD:
            raise PeerLost(f"it gives nothing of what it says that it has{f': {refusal}' if refusal else ''}")
        return came, refusal

    async def _take_all(self, filter_: FilterJson, wanted: dict[str, None]) -> str | None:
        """Take what comes for a question out of what is wanted; returns why it was refused, if it was."""
        bounds = AnswerBounds(len(wanted), self._peer.options.answer_seconds)
        async with self._peer.subscribe([filter_]) as subscription:
            async for item in subscription:
                if isinstance(item, Ending):
                    return item.reason
                if not isinstance(item, Event):
                    break
                if bounds.note(item.id, subscription.waited):
                    del wanted[item.id]
                    await self._intake.take(item)
        return None

    def _after_refusal(self, missing: list[str], reason: str) -> list[str]:
        if says(reason, Prefix.RATE_LIMITED) and self._pause.begin():
            return missing
        if len(missing) > 1 and not reason.startswith((Prefix.AUTH_REQUIRED, Prefix.RESTRICTED)):
            self._chunk = max(1, min(self._chunk, len(missing) // 2))
            return missing
        self._outcomes.note(Fate.MISSING, reason or "it gave no reason", len(missing))
        return []
