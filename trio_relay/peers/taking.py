"""Events of another relay, on their way into the pipeline: judged and paced as a client's are.

Who brings them waits while the pipeline is full, or while many of its own are unanswered, and reads nothing meanwhile:
so another relay that floods is slowed by its own network. Its events have their turn at the intake as any address's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from trio_relay.nostr.errors import Prefix, bad_signature
from trio_relay.nostr.event import Event, encode
from trio_relay.nostr.kinds import is_ephemeral
from trio_relay.peers.echoes import Echoes, RecentIds
from trio_relay.peers.link_tally import LinkTally, is_for_now, is_known
from trio_relay.peers.mirrored import MirroredEvents
from trio_relay.peers.waiting import Patience
from trio_relay.pipeline.relay import Relay
from trio_relay.pipeline.submission import Submission

_MOST_UNANSWERED: Final = 1_000
"""Events of a link that are in the pipeline at a time."""
_MOST_INVALID: Final = 100
"""Events with a wrong id or signature that are borne at once; one more each second."""
_TAG_BYTES: Final = 48
"""What each tag counts beside its own bytes, as of a client's event."""
_BAD_SIGNATURE: Final = str(bad_signature())


class EventsTaken:
    """Takes the events of one link, as long as its connection stands.

    Args:
        relay: takes them.
        events: say which are welcome, and whose they count as.
        echoes: know what went over this link.
        passing: ephemeral events that any link has brought lately: nothing stored tells that they came twice.
        tally: counts what becomes of them.
        put_off: called when one was refused that is to be fetched again later.
        give_up: called when so much is not valid that the connection is to end, with the reason.
    """

    def __init__(
        self,
        relay: Relay,
        events: MirroredEvents,
        echoes: Echoes,
        passing: RecentIds,
        tally: LinkTally,
        put_off: Callable[[], None],
        give_up: Callable[[str], None],
    ) -> None:
        self._relay = relay
        self._events = events
        self._echoes = echoes
        self._passing = passing
        self._tally = tally
        self._put_off = put_off
        self._give_up = give_up
        self._patience = Patience(_MOST_INVALID)
        self._unanswered = 0
        self._answered = trio.Event()

    async def take(self, event: Event) -> None:
        """Publish an event of the right shape that the other relay has sent; waits for room."""
        if not self._is_news(event):
            self._tally.outcomes["skipped"] += 1
            await trio.lowlevel.checkpoint()
            return
        sender, size = self._events.sender_of(event), len(encode(event))
        refusal = self._events.refusal_of(event) or self._relay.admission.admit(event, sender, size)
        if refusal is not None:
            self._refuse(event, str(refusal))
            await trio.lowlevel.checkpoint()
            return
        await self._until_below(_MOST_UNANSWERED)
        size += _TAG_BYTES * len(event.tags)
        submission = Submission(event, self._reply, trio.current_time(), size, False, sender)
        self._unanswered += 1
        try:
            await self._relay.publish([submission], self._events.identity)
        except BaseException:
            self._unanswered -= 1  # then it was not sent, and nobody will answer
            raise

    def _is_news(self, event: Event) -> bool:
        if not self._echoes.is_news_here(event.id):
            return False
        if is_ephemeral(event.kind):
            if event.id in self._passing:
                return False
            self._passing.add(event.id)
        return True

    def now(self) -> int:
        """Seconds since 1970, by this relay's clock."""
        return self._relay.now()

    async def flush(self) -> None:
        """Do nothing: what was taken is on its way."""
        await trio.lowlevel.checkpoint()

    async def settle(self) -> None:
        """Wait until all that was taken has been answered."""
        await self._until_below(1)

    async def _until_below(self, most: int) -> None:
        while self._unanswered >= most:
            self._answered = trio.Event()
            await self._answered.wait()

    def _reply(self, event: Event, accepted: bool, reason: str) -> None:
        self._unanswered -= 1
        self._answered.set()
        if is_known(reason):
            self._tally.outcomes["known_here"] += 1
        elif accepted:
            self._tally.outcomes["taken"] += 1
        else:
            self._refuse(event, reason)

    def _refuse(self, event: Event, reason: str) -> None:
        self._tally.refused("here", reason)
        self._echoes.forget(event.id)
        self._passing.discard(event.id)
        if is_for_now(reason):
            self._put_off()
        elif _is_invalid(reason) and not self._patience.bears(trio.current_time()):
            self._give_up("it sends events that are not valid")


def _is_invalid(reason: str) -> bool:
    """True if an event is none that anybody has signed, so that the other relay checks nothing, or lies."""
    return reason == _BAD_SIGNATURE or reason == f"{Prefix.INVALID}: id is not the hash of the event"
