"""What comes from another relay on its way into this one's pipeline, where it passes the same gates as everything."""

from __future__ import annotations

from typing import Final, Protocol

import trio

from trio_relay.nostr.errors import Prefix
from trio_relay.nostr.event import Event, encode, has_expired
from trio_relay.nostr.kinds import is_ephemeral
from trio_relay.peers.outcomes import Fate, Outcomes
from trio_relay.pipeline.relay import Relay
from trio_relay.pipeline.submission import ANSWERS, Submission
from trio_relay.policy.identity import Identity
from trio_relay.store.base import Saved

_PARCEL: Final = 100
_WITHDRAWN: Final = frozenset(ANSWERS[outcome][1] for outcome in (Saved.DELETED, Saved.VANISHED))
_PROTECTED: Final = "it is protected: only its author may publish it (NIP-70)"


class Taker(Protocol):
    """What takes events of another relay: an `Intake`, or a mirror's `EventsTaken`."""

    def now(self) -> int:
        """Seconds since 1970, by this relay's clock."""
        ...

    async def take(self, event: Event) -> None:
        """Take an event of the right shape; waits while there is no room."""
        ...

    async def flush(self) -> None:
        """Send on what was taken and is still held."""
        ...

    async def settle(self) -> None:
        """Wait until all that was taken has been stored, or refused."""
        ...


class Intake:
    """Publishes events here in batches, and counts what becomes of each.

    Args:
        relay: whose gates and pipeline they pass.
        identity: as whose they are judged.
        outcomes: where they are counted.
    """

    def __init__(self, relay: Relay, identity: Identity, outcomes: Outcomes) -> None:
        self._relay = relay
        self._identity = identity
        self._outcomes = outcomes
        self._batch: list[Submission] = []
        self._under_way = 0
        self._settled = trio.lowlevel.ParkingLot()

    def now(self) -> int:
        """Seconds since 1970, by this relay's clock."""
        return self._relay.now()

    async def take(self, event: Event) -> None:
        """Take an event, of any signature; waits while the pipeline is full.

        Args:
            event: of the right shape.
        """
        relay, size = self._relay, len(encode(event))
        if is_ephemeral(event.kind):  # nobody's past
            self._outcomes.note(Fate.EPHEMERAL)
        elif has_expired(event, relay.now()):
            self._outcomes.note(Fate.GONE, "it has expired (NIP-40)")
        elif (refusal := relay.admission.admit(event, self._identity, size)) is not None:
            is_protected = refusal.prefix is Prefix.AUTH_REQUIRED
            self._outcomes.note(Fate.REFUSED, _PROTECTED if is_protected else refusal.reason)
        else:
            self._batch.append(Submission(event, self._reply, trio.current_time(), size, sender=self._identity))
            if len(self._batch) >= _PARCEL:
                await self.flush()

    async def flush(self) -> None:
        """Send on what was taken; whoever is cancelled here has sent none of it."""
        batch, self._batch = self._batch, []
        if not batch:
            return
        self._under_way += len(batch)  # answers may come before this is carried out
        try:
            await self._relay.publish(batch, self._identity)
        except BaseException:
            self._under_way -= len(batch)
            raise

    async def settle(self) -> None:
        """Wait until all that was taken has been stored, or refused."""
        await self.flush()
        while self._under_way:
            await self._settled.park()

    def _reply(self, _event: Event, accepted: bool, reason: str) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._settled.unpark_all()
        if accepted:
            self._outcomes.note(Fate.KNOWN if reason else Fate.STORED)
        elif reason.startswith(f"{Prefix.DUPLICATE}:"):
            self._outcomes.note(Fate.SUPERSEDED)
        else:
            outcome = Fate.GONE if reason in _WITHDRAWN else Fate.REFUSED
            self._outcomes.note(outcome, reason.partition(": ")[2])
