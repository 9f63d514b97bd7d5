"""What one client publishes, and which keys it claims: what is let in, how it is answered, what counts against it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
import trio

from trio_relay.net.close_reasons import BARRED, INSISTENT, CloseReason
from trio_relay.net.refusals import ClientRefusals
from trio_relay.nostr.errors import Prefix, Rejected, bad_signature
from trio_relay.nostr.event import Event
from trio_relay.nostr.message import ok
from trio_relay.pipeline.recipient import Recipient
from trio_relay.pipeline.relay import Relay
from trio_relay.pipeline.submission import Submission
from trio_relay.policy.identity import Identity

log = structlog.get_logger("trio_relay.net")

_TAG_BYTES: Final = 48
"""What each tag counts beside its own bytes: as an event, ten thousand tags of a few bytes take twenty times those."""
_AUTH_SECONDS: Final = 10.0
_UNVERIFIED: Final = Rejected(Prefix.ERROR, f"the signature was not verified within {_AUTH_SECONDS:g} seconds")
_BAD_SIGNATURE: Final = str(bad_signature())


class ClientEvents:
    """Lets the events of one client in, and answers them.

    Args:
        relay: takes them.
        outbox: of the client, for answers.
        identity: who publishes.
        refusals: what the client is refused.
        challenge: sends the challenge in front of a refusal that AUTH could mend.
        hang_up: ends the connection.
    """

    def __init__(
        self,
        relay: Relay,
        outbox: Recipient,
        identity: Identity,
        refusals: ClientRefusals,
        challenge: Callable[[Rejected], None],
        hang_up: Callable[[CloseReason], None],
    ) -> None:
        self.unanswered = 0
        """Events that are on their way through the pipeline."""
        self.sent = 0
        """Events that the client has sent, refused ones too."""
        self._relay = relay
        self._outbox = outbox
        self._identity = identity
        self._refusals = refusals
        self._challenge = challenge
        self._hang_up: Callable[[CloseReason], None] = hang_up
        self._answered: trio.Event | None = None
        self._clock = trio.lowlevel.current_clock()

    def admit(self, event: Event, size: int, now: float, batch: list[Submission]) -> None:
        """Add an event to the batch, or refuse it.

        Args:
            event: of the right shape.
            size: bytes of its message.
            now: Trio's time.
            batch: of those that were let in.
        """
        self.sent += 1
        refusal = self._relay.admission.admit(event, self._identity, size)
        if refusal is None:
            size += _TAG_BYTES * len(event.tags)
            batch.append(Submission(event, self.reply, now, size, False, self._identity))
            return
        self._challenge(refusal)
        self.refuse(event, str(refusal))

    def hold_to_rates(self, batch: list[Submission], first: int, now: float) -> None:
        """Take those out of a batch, from the first on, that are too many, and refuse them."""
        verdicts = self._identity.account.take_events([one.event.kind for one in batch[first:]], now)
        if verdicts is None:
            return
        fresh = batch[first:]
        del batch[first:]
        for submission, verdict in zip(fresh, verdicts, strict=True):
            if verdict is None:
                batch.append(submission)
            else:
                self.refuse(submission.event, str(verdict))

    def refuse(self, event: Event, reason: str) -> None:
        """Say why an event is not taken."""
        self._refusals.note("EVENT", reason, event)
        self._outbox.send_nowait(ok(event.id, False, reason))

    def reply(self, event: Event, accepted: bool, reason: str) -> None:
        """Say what became of an event that was let in; called once for each."""
        self.unanswered -= 1
        if not accepted:
            self._refusals.note("EVENT", reason, event)
            if reason == _BAD_SIGNATURE:
                self.note_fault()
        elif reason:
            reason = self._relay.admission.told(reason, event, self._identity)
        self._outbox.send_nowait(ok(event.id, accepted, reason))
        if self.unanswered == 0 and self._answered is not None:
            self._answered.set()

    def leave(self) -> None:
        """The connection has ended: nobody can be hung up on."""
        self._hang_up = _nothing  # else the two would hold each other

    async def all_answered(self) -> None:
        """Wait until all that were let in have been answered."""
        if self.unanswered:
            self._answered = trio.Event()
            await self._answered.wait()

    def note_fault(self) -> None:
        """The client broke a rule: too often, and its address is barred."""
        if self._identity.account.fault(self._clock.current_time()):
            self._hang_up(BARRED)

    def pause(self, now: float) -> float:
        """Seconds for which the client is not to be read, as it goes on whatever it is told; or else it has to go."""
        seconds = self._identity.account.pause(now)
        if seconds is None:
            self._hang_up(INSISTENT)
        return seconds or 0.0

    async def authenticate(self, event: Event) -> None:
        """Look at a claim of a key (NIP-42), and answer it."""
        account = self._identity.account
        refusal: Rejected | None = account.auth_refusal(self._clock.current_time())
        if refusal is None:
            refusal = _UNVERIFIED
            with trio.move_on_after(_AUTH_SECONDS):  # it may take a thread, which all others may be waiting for
                refusal = await self._relay.authenticate(event, self._identity)
            if refusal is not None and refusal is not _UNVERIFIED:
                account.take_failed_auth(self._clock.current_time())
                self.note_fault()
        if refusal is None:
            log.debug("authenticated", key=event.pubkey)
        else:
            self._refusals.note("AUTH", str(refusal), event)
        self._outbox.send_nowait(ok(event.id, refusal is None, "" if refusal is None else str(refusal)))


def _nothing(_close_reason: CloseReason) -> None:
    pass
