"""Events of this relay, on their way to another one: published there as a client would, several at a time.

A request to delete waits until everything before it is answered, and what comes behind waits for it: another relay may
keep no memory of what it was asked to delete before it had it. Where the other relay asks for patience, nothing is sent
for a while.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from trio_relay.nostr.event import Event
from trio_relay.nostr.kinds import DELETION
from trio_relay.peers.echoes import Echoes
from trio_relay.peers.messages import Receipt
from trio_relay.peers.mirrored import MirroredEvents
from trio_relay.peers.outcomes import LinkTally, is_for_now, is_known
from trio_relay.peers.peer import Peer
from trio_relay.peers.retrying import Pause
from trio_relay.peers.waiting import PeerLost, Unanswered

_MOST_UNANSWERED: Final = 64
"""Events that are on their way to the other relay."""
_TRIES: Final = 5
"""Of an event that the other relay does not take for now; it is found again at the next comparison."""
_MOST_SILENCES: Final = 10
"""Events in a row of which the other relay says nothing within a minute."""


class EventsGiven:
    """Gives events over one connection.

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
        self._unanswered = 0
        self._under_way: set[str] = set()
        self._answered = trio.Event()
        self._pause = Pause()

    async def give(self, event: Event) -> None:
        """Send an event, unless it need not or must not go; waits for room, not for its answer."""
        if event.id in self._under_way or not self._events.goes_up(event, self._now()):
            await trio.lowlevel.checkpoint()
            return
        if self._echoes.is_there(event.id):
            self._tally.outcomes["echo"] += 1
            await trio.lowlevel.checkpoint()
            return
        await self._until_below(1 if event.kind == DELETION else _MOST_UNANSWERED)
        self._under_way.add(event.id)
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
        await self._until_below(1)

    async def _until_below(self, most: int) -> None:
        while len(self._under_way) >= most:
            self._answered = trio.Event()
            await self._answered.wait()

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
            self._under_way.discard(event.id)
            self._answered.set()

    async def _receipt(self, event: Event) -> Receipt:
        """What the other relay says of an event; the last time, if it asks for patience."""
        for _ in range(_TRIES):
            await self._pause.over()
            receipt = await self._peer.publish(event)
            self._unanswered = 0
            if receipt.accepted or not is_for_now(receipt.reason):
                self._pause.end()
                break
            self._pause.begin()
        return receipt

    def _note_silence(self, reason: str) -> None:
        """Note that nothing was said of an event; some relays say nothing of those that they have."""
        self._tally.refused("there", reason)
        self._unanswered += 1
        if self._unanswered > _MOST_SILENCES:
            self._give_up("it says nothing of the events that it is given")

    def _note(self, event: Event, reason: str, *, accepted: bool) -> None:
        if is_known(reason):
            self._tally.outcomes["known_there"] += 1
        elif accepted:
            self._tally.outcomes["given"] += 1
        else:
            self._tally.refused("there", reason)
        if accepted or is_known(reason):
            self._echoes.note_there(event.id)
        elif is_for_now(reason):
            self._put_off()
