"""Two relays' sets compared by NIP-77 in rounds, of which each holds a bounded part in memory.

This relay's own set is read newest first, in stretches of at most `most_items` events, each once. What the other side
finds too large is halved. What a message tells is carried out before the next one is sent, so that nothing piles up
either: what is lacking here is fetched, what is lacking there is offered.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Final

import trio

from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.negentropy.items import Items, ItemSet
from trio_relay.nostr.negentropy.protocol import Step, initiate, reconcile
from trio_relay.peers.endless import ComparisonBounds
from trio_relay.peers.messages import FilterJson, says
from trio_relay.peers.own_side import TimeSpan, stretch_of, within
from trio_relay.peers.passage import Passage
from trio_relay.peers.retrying import Pause
from trio_relay.peers.waiting import PeerLost, PeerRefused

FRAME: Final = 60_000
"""Bytes of a message of ours before it becomes hex: relays take messages of 128 KiB."""
_MOST_IN_VAIN: Final = 40
"""Stretches in a row that are said to be too large: all time is halved into seconds in 33 steps."""
_TOO_LARGE: Final = re.compile(r"too (many|big|large)|(more|larger) than|max_|limit|exceed", re.IGNORECASE)


class Reconciling:
    """Compares everything that one filter asks for.

    Args:
        passage: between the two sides.
        filter_: without a limit.
        frame: bytes of a message at most, before it becomes hex.
    """

    def __init__(self, passage: Passage, filter_: FilterJson, frame: int = FRAME) -> None:
        self.has_begun = False
        """True once the other side has answered in the words of NIP-77."""
        self._passage = passage
        self._filter = filter_
        self._frame = frame
        self._pause = Pause()
        self._bounds = ComparisonBounds()
        self._in_vain = 0

    async def run(self) -> AsyncGenerator[tuple[TimeSpan, str], None]:
        """Compare stretch by stretch; yields those that the other side does not compare, each with its reason.

        Raises:
            PeerLost: see `Peer`; or it speaks NIP-77, but not to an end.
            PeerRefused: it has never answered in the words of NIP-77.
            StoreError: the store could not tell.
        """
        async with aclosing(self._passage.own.parts(self._filter, stretch_of(self._filter))) as parts:
            async for part, items in parts:
                self._bounds.expect(len(items))
                async with aclosing(self._halved(part, items)) as refused:
                    async for one in refused:
                        yield one

    async def _halved(self, whole: TimeSpan, items: ItemSet) -> AsyncGenerator[tuple[TimeSpan, str], None]:
        """Compare a stretch, or its halves where it is too large."""
        left = [whole]
        while left:
            part = left.pop()
            own = items.snapshot(part.since, part.until)
            try:
                await self._compare_in_time(part, own)
                self._passage.report.windows += 1
                self._in_vain = 0
            except PeerRefused as refusal:
                if not self.has_begun and not is_too_large(refusal):
                    raise
                self.has_begun = True
                self._bounds.note(0)
                self._in_vain += 1
                if part.is_one_second or self._in_vain > _MOST_IN_VAIN or not is_too_large(refusal):
                    yield part, refusal.reason
                else:
                    left += part.halves(own, self._passage.intake.now())

    async def _compare_in_time(self, part: TimeSpan, own: Items) -> None:
        """Compare a stretch, and wait where that has been too much of late."""
        while True:
            await self._pause.over()
            try:
                await self._compare(part, own)
                self._pause.end()
                return
            except PeerRefused as refusal:
                if not (says(refusal.reason, Prefix.RATE_LIMITED) or _has_ended(refusal)) or not self._pause.begin():
                    raise

    async def _compare(self, part: TimeSpan, own: Items) -> None:
        passage = self._passage
        async with passage.peer.negotiate(within(self._filter, part), initiate(own)) as negotiation:
            answer = negotiation.first
            while True:
                self.has_begun = True
                passage.report.rounds += 1
                step = await self._read(own, answer)
                news = await passage.carry(step.need, step.have)
                if step.message is None:
                    return
                self._bounds.note(news, 0 if passage.takes else len(step.need))
                answer = await negotiation.say(step.message)

    async def _read(self, own: Items, answer: bytes) -> Step:
        try:
            return await trio.to_thread.run_sync(partial(reconcile, own, answer, self._frame))
        except Rejected as rejected:
            raise PeerLost(f"its comparison of sets cannot be read: {rejected.reason}") from None


def is_too_large(refusal: PeerRefused) -> bool:
    """True if less could be compared."""
    return refusal.most is not None or (
        says(refusal.reason, Prefix.BLOCKED) or _TOO_LARGE.search(refusal.reason) is not None
    )


def _has_ended(refusal: PeerRefused) -> bool:
    """True if a comparison was ended that may be begun again: it was idle while events were carried."""
    return says(refusal.reason, Prefix.CLOSED)
