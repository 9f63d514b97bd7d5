"""Events of this relay offered to another one: many on their way, and what it says of each is counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, Protocol

from trio_relay.nostr.errors import Prefix
from trio_relay.nostr.event import Event, is_protected
from trio_relay.peers.messages import says
from trio_relay.peers.outcomes import Fate, Outcomes, is_known
from trio_relay.peers.own_side import OwnSide
from trio_relay.peers.peer import Peer
from trio_relay.peers.retrying import Pause
from trio_relay.peers.waiting import PeerLost, Unanswered, run_together

_CHUNK: Final = 200
"""Events that are read from the store at a time."""
_MOST_UNANSWERED: Final = 100
"""Events in a row of which the other side says nothing: some say nothing of what they have."""
_PROTECTED: Final = "protected: only their authors may publish them (NIP-70)"


class Feeds(Protocol):
    """What gives events to another relay: a `Feeding`, or what a mirror has in its stead."""

    async def feed(self, ids: Sequence[str]) -> None:
        """Offer the events of these ids, as far as they are still here and may be given away."""
        ...


class Feeding:
    """Publishes to another relay what this one has.

    Args:
        peer: that gets it.
        own: has it.
        outcomes: where it is counted what became of it.
    """

    def __init__(self, peer: Peer, own: OwnSide, outcomes: Outcomes) -> None:
        self._peer = peer
        self._own = own
        self._outcomes = outcomes
        self._pause = Pause()
        self._unanswered = 0

    async def feed(self, ids: Sequence[str]) -> None:
        """Offer the events of these ids, as far as they are still here and may be given away.

        Raises:
            PeerLost: see `Peer`; or it takes no more.
            StoreError: the store could not tell.
        """
        for start in range(0, len(ids), _CHUNK):
            events = iter(await self._own.events(ids[start : start + _CHUNK]))
            await run_together(partial(self._offer_each, events), min(_CHUNK, self._peer.options.unanswered))

    async def _offer_each(self, events: Iterator[Event]) -> None:
        """Offer those that nobody else beside this has taken from them."""
        for event in events:
            await self._offer(event)

    async def _offer(self, event: Event) -> None:
        if is_protected(event):
            self._outcomes.note(Fate.KEPT_BACK, _PROTECTED)
            return
        while True:
            await self._pause.over()
            try:
                receipt = await self._peer.publish(event)
            except Unanswered:
                self._note_unanswered()
                return
            self._unanswered = 0
            if receipt.accepted or not says(receipt.reason, Prefix.RATE_LIMITED):
                break
            if not self._pause.begin():
                raise PeerLost(f"it takes no more events: {receipt.reason}")
        self._pause.end()
        self._note(receipt.accepted, receipt.reason)

    def _note(self, accepted: bool, reason: str) -> None:
        if is_known(reason):
            self._outcomes.note(Fate.KNOWN if accepted else Fate.SUPERSEDED)
        elif accepted:
            self._outcomes.note(Fate.STORED)
        else:
            self._outcomes.note(Fate.REFUSED, reason or "it gave no reason")

    def _note_unanswered(self) -> None:
        self._outcomes.note(Fate.UNANSWERED)
        self._unanswered += 1
        if self._unanswered > _MOST_UNANSWERED:
            raise PeerLost("it says nothing of the events that it is sent")
