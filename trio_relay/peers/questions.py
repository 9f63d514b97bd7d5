"""What is open with another relay for longer than one answer: a subscription, and a comparison of sets (NIP-77)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias

import msgspec
import trio

from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import parse_filter
from trio_relay.peers import messages
from trio_relay.peers.authentication import wants_key
from trio_relay.peers.messages import Ending, FilterJson, StoredEnd
from trio_relay.peers.options import PeerOptions
from trio_relay.peers.waiting import Expected, Inbox, PeerLost, PeerRefused

Heard: TypeAlias = Event | StoredEnd | Ending
"""What a subscription brings: events, once that all stored ones have come, and at last that the other side has closed
it."""

_NOT_UNDERSTOOD: Final = re.compile(
    r"neg[-_ ]|negentropy|unknown|unrecogni[sz]ed|unsupported|not supported|invalid|bad (msg|message)|pars|malformed",
    re.IGNORECASE,
)
"""What relays that know no NIP-77 say for people to read, about a message that they don't know."""


class Speaker(Protocol):
    """The part of a peer that questions need."""

    @property
    def options(self) -> PeerOptions:
        """The bounds of the connection."""
        ...

    async def send(self, text: str) -> None:
        """Send a message."""
        ...

    async def authenticate(self) -> bool:
        """Prove who we are; True if that may help."""
        ...


class PeerSubscription:
    """Events that were asked for; from `Peer.subscribe`. Iterate over it: see `Heard`. It ends after an `Ending`.

    An event has the right shape and is what was asked for (but for searches, which every relay makes its own way); its
    id and signature are still to be checked.

    Raises:
        Rejected: a filter is none that this relay can read.
    """

    def __init__(self, peer: Speaker, sub_id: str, filters: Sequence[FilterJson]) -> None:
        self.sub_id = sub_id
        self.inbox = Inbox[Heard](peer.options.queue_bytes)
        """For the peer, which puts into it."""
        self.has_all_stored = False
        """True once the other side has said so."""
        self.is_closed_by_peer = False
        self.waited = 0.0
        """Seconds for which whoever reads has waited for what came so far."""
        self._peer = peer
        self._filters = filters
        parsed = [parse_filter(dict(filter_), all_of=True) for filter_ in filters]
        self._wanted = [msgspec.structs.replace(filter_, search=None) for filter_ in parsed]
        self._has_proved = False
        self._is_over = False

    async def ask(self) -> None:
        """Send the REQ."""
        self.has_all_stored = self.is_closed_by_peer = False
        await self._peer.send(messages.subscribe(self.sub_id, self._filters))

    def asked_for(self, event: Event) -> bool:
        """True if any of the filters matches."""
        return any(filter_.matches(event) for filter_ in self._wanted)

    def __aiter__(self) -> PeerSubscription:
        return self

    async def __anext__(self) -> Heard:
        """What comes next; up to EOSE the other side has `answer_seconds` for each."""
        if self._is_over:
            raise StopAsyncIteration
        while True:
            seconds = math.inf if self.has_all_stored else self._peer.options.answer_seconds
            began = trio.current_time()
            item = await self.inbox.get(seconds, "a REQ")
            self.waited += trio.current_time() - began
            if not isinstance(item, Ending):
                return item
            if not await self._may_ask_again(item.reason):
                self._is_over = True
                return item
            await self.ask()

    async def _may_ask_again(self, reason: str) -> bool:
        if self._has_proved or not wants_key(reason):
            return False
        self._has_proved = True
        return await self._peer.authenticate()


class Negotiation:
    """A comparison of sets with another relay, in which we speak first; from `Peer.negotiate`."""

    def __init__(self, peer: Speaker, sync_id: str, filter_: FilterJson) -> None:
        self.sync_id = sync_id
        self.first = b""
        """What the other side answered to the first message."""
        self.answer = Expected[bytes]()
        """To what was said last; for the peer, which gives it."""
        self.is_refused = False
        """True once the other side has ended it."""
        self._peer = peer
        self._filter = filter_
        self._is_opening = True

    async def begin(self, message: bytes) -> None:
        """Send the first message, and wait for the answer.

        Raises:
            PeerRefused: the other side does not do that, or not with this filter.
        """
        opening = messages.open_sync(self.sync_id, self._filter, message)
        try:
            self.first = await self._ask(opening)
        except PeerRefused as refusal:
            if not (wants_key(refusal.reason) and await self._peer.authenticate()):
                raise
            self.first = await self._ask(opening)
        self._is_opening = False

    async def say(self, message: bytes) -> bytes:
        """Send a further message; returns the answer.

        Raises:
            PeerRefused: the other side has ended it.
        """
        return await self._ask(messages.continue_sync(self.sync_id, message))

    async def _ask(self, text: str) -> bytes:
        self.answer, self.is_refused = Expected[bytes](), False
        await self._peer.send(text)
        return await self.answer.wait(self._peer.options.answer_seconds, "a comparison of sets (NIP-77)")

    def refuse(self, refusal: PeerRefused | PeerLost) -> None:
        """The other side has ended it, or is gone."""
        self.is_refused = True
        self.answer.give(refusal)

    def hear_remark(self, text: str) -> None:
        """A notice came: as long as nothing was answered it may be all that a relay says which knows no NIP-77."""
        if self._is_opening and _NOT_UNDERSTOOD.search(text):
            self.refuse(PeerRefused(text))
