"""Events of another relay on their way into this one's pipeline, where they pass the same gates as everything.

Who brings them waits while the pipeline is full, and reads nothing meanwhile: so another relay that floods is slowed by
its own network. A sync, which has whole sets before it, publishes in batches and counts by reasons; a mirror publishes
each event as it comes, lets few of them be unanswered, and gives up a relay that sends much that is not valid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

import trio

from trio_relay.nostr.errors import Prefix, bad_signature
from trio_relay.nostr.event import Event, encode, has_expired
from trio_relay.nostr.kinds import is_ephemeral
from trio_relay.peers.echoes import Echoes, RecentIds
from trio_relay.peers.mirrored import MirroredEvents
from trio_relay.peers.outcomes import Fate, LinkTally, Outcomes, is_for_now, is_known
from trio_relay.peers.waiting import Patience, PeerLost, Window
from trio_relay.pipeline.relay import Relay
from trio_relay.pipeline.submission import ANSWERS, Submission
from trio_relay.policy.identity import Identity
from trio_relay.store.base import Saved

_BATCH: Final = 100
"""Events of a sync that are published at once."""
_WITHDRAWN: Final = frozenset(ANSWERS[outcome][1] for outcome in (Saved.DELETED, Saved.VANISHED))
_PROTECTED: Final = "it is protected: only its author may publish it (NIP-70)"
_MOST_UNANSWERED: Final = 1_000
"""Events of a mirror that are in the pipeline at a time."""
_MOST_INVALID: Final = 100
"""Events with a wrong id or signature that are borne: of a mirror at once, and one more each second; of a sync in a
row."""
_TAG_BYTES: Final = 48
"""What each tag counts beside its own bytes, as of a client's event."""
_NO_EVENT: Final = (str(bad_signature()), f"{Prefix.INVALID}: id is not the hash of the event")
"""Of an event that nobody has signed: the other relay checks nothing, or lies."""
_INVALID: Final = "it sends events that are not valid"


class Intake(ABC):
    """Takes events of another relay.

    Args:
        relay: whose gates and pipeline they pass.
        identity: as whose they have their turns.
    """

    def __init__(self, relay: Relay, identity: Identity) -> None:
        self._relay = relay
        self._identity = identity
        self._under_way = Window()

    def now(self) -> int:
        """Seconds since 1970, by this relay's clock."""
        return self._relay.now()

    @abstractmethod
    async def take(self, event: Event) -> None:
        """Take an event of the right shape, of any signature; waits while there is no room."""

    async def flush(self) -> None:
        """Send on what was taken and is still held."""
        await trio.lowlevel.checkpoint()

    async def settle(self) -> None:
        """Wait until all that was taken has been stored, or refused."""
        await self.flush()
        await self._under_way.until_below(1)

    def _submission(self, event: Event, size: int, sender: Identity) -> Submission:
        return Submission(event, self._reply, trio.current_time(), size, sender=sender)

    async def _publish(self, batch: list[Submission]) -> None:
        """Send these on their way; whoever is cancelled here has sent none of them."""
        self._under_way.add(len(batch))  # answers may come before this is carried out
        try:
            await self._relay.publish(batch, self._identity)
        except BaseException:
            self._under_way.remove(len(batch))
            raise

    def _reply(self, event: Event, accepted: bool, reason: str) -> None:
        self._under_way.remove()
        self._note(event, reason, accepted=accepted)

    @abstractmethod
    def _note(self, event: Event, reason: str, *, accepted: bool) -> None:
        """Count what became of an event."""


class SyncIntake(Intake):
    """Takes the events of a sync.

    Args:
        relay: whose gates and pipeline they pass.
        identity: as whose they are judged.
        outcomes: where they are counted.
    """

    def __init__(self, relay: Relay, identity: Identity, outcomes: Outcomes) -> None:
        super().__init__(relay, identity)
        self._outcomes = outcomes
        self._batch: list[Submission] = []
        self._invalid = 0
        """Events of a wrong id or signature that came last."""

    async def take(self, event: Event) -> None:
        """Take an event, once it is clear that the past has it and the gates let it in.

        Raises:
            PeerLost: too many of those before it were not valid.
        """
        if self._invalid > _MOST_INVALID:
            raise PeerLost(_INVALID)
        size = len(encode(event))
        if is_ephemeral(event.kind):  # nobody's past
            self._outcomes.note(Fate.EPHEMERAL)
        elif has_expired(event, self.now()):
            self._outcomes.note(Fate.GONE, "it has expired (NIP-40)")
        elif (refusal := self._relay.admission.admit(event, self._identity, size)) is not None:
            is_protected = refusal.prefix is Prefix.AUTH_REQUIRED
            self._outcomes.note(Fate.REFUSED, _PROTECTED if is_protected else refusal.reason)
        else:
            self._batch.append(self._submission(event, size, self._identity))
            if len(self._batch) >= _BATCH:
                await self.flush()

    async def flush(self) -> None:
        """Send on what was taken and is still held."""
        batch, self._batch = self._batch, []
        if batch:
            await self._publish(batch)

    def _note(self, event: Event, reason: str, *, accepted: bool) -> None:
        self._invalid = self._invalid + 1 if reason in _NO_EVENT else 0
        if accepted:
            self._outcomes.note(Fate.KNOWN if reason else Fate.STORED)
        elif is_known(reason):
            self._outcomes.note(Fate.SUPERSEDED)
        else:
            outcome = Fate.GONE if reason in _WITHDRAWN else Fate.REFUSED
            self._outcomes.note(outcome, reason.partition(": ")[2])


class MirrorIntake(Intake):
    """Takes the events of a mirror, live and compared, as long as its connection stands.

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
        super().__init__(relay, events.identity)
        self._events = events
        self._echoes = echoes
        self._passing = passing
        self._tally = tally
        self._put_off = put_off
        self._give_up = give_up
        self._patience = Patience(_MOST_INVALID)

    async def take(self, event: Event) -> None:
        """Publish an event, unless it came or went by this link before, or is not welcome."""
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
        await self._under_way.until_below(_MOST_UNANSWERED)
        await self._publish([self._submission(event, size + _TAG_BYTES * len(event.tags), sender)])

    def _is_news(self, event: Event) -> bool:
        if not self._echoes.is_news_here(event.id):
            return False
        if is_ephemeral(event.kind):
            if event.id in self._passing:
                return False
            self._passing.add(event.id)
        return True

    def _note(self, event: Event, reason: str, *, accepted: bool) -> None:
        if is_known(reason):
            self._tally.outcomes["known_here"] += 1
        elif accepted:
            self._tally.move("taken")
        else:
            self._refuse(event, reason)

    def _refuse(self, event: Event, reason: str) -> None:
        self._tally.refused("here", reason)
        self._echoes.forget(event.id)
        self._passing.discard(event.id)
        if is_for_now(reason):
            self._put_off()
        elif reason in _NO_EVENT and not self._patience.bears(trio.current_time()):
            self._give_up(_INVALID)
