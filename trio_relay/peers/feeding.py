"""Events of this relay on their way to another one: published there as a client would, many at a time.

What the other relay says of each is counted. Where it asks for patience, nothing is sent for a while; where it says
nothing of many in a row, it is given up. A sync offers what was found lacking there; a mirror gives that, and what
comes here live.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, Protocol

import trio

from trio_relay.nostr.errors import Prefix
from trio_relay.nostr.event import Event, is_protected
from trio_relay.nostr.kinds import DELETION
from trio_relay.peers.echoes import Echoes
from trio_relay.peers.messages import Receipt, says
from trio_relay.peers.mirrored import MirroredEvents
from trio_relay.peers.outcomes import Fate, LinkTally, Outcomes, is_for_now, is_known
from trio_relay.peers.own_side import OwnSide
from trio_relay.peers.peer import Peer
from trio_relay.peers.retrying import Pause
from trio_relay.peers.waiting import PeerLost, Unanswered, Window, run_together

_CHUNK: Final = 200
"""Events that are read from the store at a time."""
_MOST_SILENCES: Final = 100
"""Events of a sync in a row of which the other side says nothing: some say nothing of what they have."""
_PROTECTED: Final = "protected: only their authors may publish them (NIP-70)"
_MOST_UNDER_WAY: Final = 64
"""Events of a mirror that are on their way to the other relay."""
_TRIES: Final = 5
"""Of an event that the other relay does not take for now; a mirror finds it again at the next comparison."""
_MOST_LIVE_SILENCES: Final = 10
"""Events of a mirror in a row of which the other relay says nothing within a minute."""


class Feed(Protocol):
    """What gives events to another relay: a `SyncFeed`, or what a mirror has in its stead."""

    async def feed(self, ids: Sequence[str]) -> None:
        """Offer the events of these ids, as far as they are still here and may be given away."""
        ...


class SyncFeed:
    """Publishes to another relay what this one has.

    Args:
        peer: that gets it.
        own: has it.
        outcomes: where it is counted what became of it.
        meet: called with the id of each event that the other relay has by then.
    """

    def __init__(self, peer: Peer, own: OwnSide, outcomes: Outcomes, meet: Callable[[str], None]) -> None:
        self._peer = peer
        self._own = own
        self._outcomes = outcomes
        self._meet = meet
        self._pause = Pause()
        self._silences = 0

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
            self._silences = 0
            if receipt.accepted or not says(receipt.reason, Prefix.RATE_LIMITED):
                break
            if not self._pause.begin():
                raise PeerLost(f"it takes no more events: {receipt.reason}")
        self._pause.end()
        if receipt.accepted:
            self._meet(event.id)
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
        self._silences += 1
        if self._silences > _MOST_SILENCES:
            raise PeerLost("it says nothing of the events that it is sent")


class MirrorFeed:
    """Gives the events of a mirror over one connection.

    A request to delete waits until everything before it is answered, and what comes behind waits for it: another relay
    may keep no memory of what it was asked to delete before it had it.

    Args:
        peer: gets them.
        events: say which may go.
        echoes: know what went over this link.
        tally: counts what becomes of them.
        now: seconds since 1970.
        put_off: called when one is left that is to be given again later.
        give_up: called when so many are not answered that the connection is to end, with the reason.
    """

    def __init__(
        self,
        peer: Peer,
        events: MirroredEvents,
        echoes: Echoes,
        tally: LinkTally,
        now: Callable[[], int],
        put_off: Callable[[], None],
        give_up: Callable[[str], None],
    ) -> None:
        self._peer = peer
        self._to_send, self._sent = trio.open_memory_channel[Event](0)
        self._events = events
        self._echoes = echoes
        self._tally = tally
        self._now = now
        self._put_off = put_off
        self._give_up = give_up
        self._silences = 0
        self._ids: set[str] = set()
        """Of what is on its way."""
        self._under_way = Window()
        self._pause = Pause()

    async def give(self, event: Event) -> None:
        """Send an event, unless it need not or must not go; waits for room, not for its answer."""
        if event.id in self._ids or not self._events.goes_up(event, self._now()):
            await trio.lowlevel.checkpoint()
            return
        if self._echoes.is_there(event.id):
            self._tally.outcomes["echo"] += 1
            await trio.lowlevel.checkpoint()
            return
        await self._under_way.until_below(1 if event.kind == DELETION else _MOST_UNDER_WAY)
        self._ids.add(event.id)
        self._under_way.add()
        await self._to_send.send(event)
        if event.kind == DELETION:
            await self.settled()

    async def run(self) -> None:
        """Have a task wait for the answer to each event; for ever, beside whoever gives."""
        async with trio.open_nursery() as nursery:
            async for event in self._sent:
                nursery.start_soon(self._give, event)

    async def settled(self) -> None:
        """Wait until all that was sent has been answered."""
        await self._under_way.until_below(1)

    async def _give(self, event: Event) -> None:
        try:
            receipt = await self._receipt(event)
        except Unanswered as error:
            self._note_silence(str(error))
        except PeerLost:
            pass  # whoever has the connection hears of it
        else:
            self._note(event, receipt.reason, accepted=receipt.accepted)
        finally:
            self._ids.discard(event.id)
            self._under_way.remove()

    async def _receipt(self, event: Event) -> Receipt:
        """What the other relay says of an event; the last time, if it asks for patience."""
        for _ in range(_TRIES):
            await self._pause.over()
            receipt = await self._peer.publish(event)
            self._silences = 0
            if receipt.accepted or not is_for_now(receipt.reason):
                self._pause.end()
                break
            self._pause.begin()
        return receipt

    def _note_silence(self, reason: str) -> None:
        """Note that nothing was said of an event; some relays say nothing of those that they have."""
        self._tally.refused("there", reason)
        self._silences += 1
        if self._silences > _MOST_LIVE_SILENCES:
            self._give_up("it says nothing of the events that it is given")

    def _note(self, event: Event, reason: str, *, accepted: bool) -> None:
        if is_known(reason):
            self._tally.outcomes["known_there"] += 1
        elif accepted:
            self._tally.move("given")
        else:
            self._tally.refused("there", reason)
        if accepted or is_known(reason):
            self._echoes.note_there(event.id)
        elif is_for_now(reason):
            self._put_off()


class FoundEvents:
    """Gives the events of a mirror that a comparison has found lacking there, by the way of live ones.

    Args:
        own: has them.
        live: gives them.
    """

    def __init__(self, own: OwnSide, live: MirrorFeed) -> None:
        self._own = own
        self._live = live

    async def feed(self, ids: Sequence[str]) -> None:
        """Give the events of these ids, as far as they are still here and may be given away."""
        for start in range(0, len(ids), _CHUNK):
            for event in await self._own.events(ids[start : start + _CHUNK]):
                await self._live.give(event)
