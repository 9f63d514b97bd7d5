"""Membership (NIP-43) as it goes on: requests to join and to leave are answered, codes are made for who asks."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias

import structlog
import trio

from trio_relay.nostr.errors import Prefix
from trio_relay.nostr.event import encode
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import INVITE
from trio_relay.nostr.signer import Signer
from trio_relay.pipeline.announcing import Announcer
from trio_relay.pipeline.submission import Submission
from trio_relay.pipeline.subscription import Subscription
from trio_relay.policy.lists import Change
from trio_relay.policy.membership import REQUESTS, host_among, invite, judge
from trio_relay.policy.rules import Rules
from trio_relay.store.base import Store, StoreError

log = structlog.get_logger("trio_relay.pipeline")

SECRET_NAME: Final = "self"
"""What the relay's secret key is kept under, 32 bytes."""
_MOST_WAITING: Final = 64
"""Batches of requests; more are told to come again, so that they hold up no events."""

Amend: TypeAlias = Callable[[Sequence[Change]], Awaitable[None]]


class Membership:
    """The stage beside the writer that takes what is asked of the relay itself.

    Args:
        store: keeps the relay's key.
        rules: say whether there is any membership, and have the lists.
        amend: changes the lists.
        clock: seconds since 1970.
    """

    def __init__(self, store: Store, rules: Rules, amend: Amend, clock: Callable[[], float]) -> None:
        self.requests: frozenset[int] = REQUESTS if rules.has_membership else frozenset()
        """The kinds that are for this stage."""
        self.asked, self._to_answer = trio.open_memory_channel[list[Submission]](_MOST_WAITING)
        """Where the verifiers put them."""
        self._store = store
        self._rules = rules
        self._amend = amend
        self._clock = clock
        self._announcer = Announcer(store, rules, clock)
        self._signer: Signer | None = None

    async def recall(self, kept: Mapping[str, bytes]) -> None:
        """Sign with the key that is kept; the first time it is made.

        Raises:
            StoreError: it could not be kept, or read again.
        """
        if not self.requests:
            return
        secret = kept.get(SECRET_NAME) or await self._new_secret()
        self._signer = Signer(secret)
        self._rules.signer = self._signer.pubkey

    async def _new_secret(self) -> bytes:
        made = secrets.token_bytes(32)
        await self._store.put_metadata({SECRET_NAME: made})
        # Where another relay on the same store has made one in the same moment, the later one stands.
        return (await self._store.get_metadata()).get(SECRET_NAME, made)

    def start(self, nursery: trio.Nursery, verified: trio.MemorySendChannel[list[Submission]]) -> None:
        """Begin; it ends when nobody can put anything into `asked` any more, and then closes its handle."""
        if self._signer is None:
            verified.close()
        else:
            nursery.start_soon(self._run, self._signer, verified)

    async def _run(self, signer: Signer, verified: trio.MemorySendChannel[list[Submission]]) -> None:
        with verified, self._to_answer:
            async with trio.open_nursery() as announcing:
                announcing.start_soon(self._announcer.run, signer, verified)
                async for requests in self._to_answer:
                    for request in requests:
                        await self._answer(request)
                announcing.cancel_scope.cancel(reason="the relay stops")
            await self._announcer.finish(signer, verified)

    async def _answer(self, submission: Submission) -> None:
        verdict = judge(submission.event, self._rules, int(self._clock()))
        try:
            if verdict.changes:
                await self._amend(verdict.changes)
        except StoreError as error:
            submission.reply(submission.event, False, f"{Prefix.ERROR}: {error}")
            return
        if verdict.changes:
            log.info("membership", pubkey=submission.event.pubkey, told=verdict.reason)
        submission.reply(submission.event, verdict.accepted, verdict.reason)

    def is_asked_by(self, subscription: Subscription) -> bool:
        """True if it asks for a code that lets somebody in; then `deliver` comes before its answer."""
        return self._signer is not None and any(map(_wants_invite, subscription.filters))

    async def deliver(self, subscription: Subscription) -> None:
        """Send a new code if a member asks, as an event that is stored nowhere; others get nothing."""
        now = int(self._clock())
        host = host_among(subscription.reader.keys, self._rules, now)
        if host is None or self._signer is None:
            return
        claim = secrets.token_hex(16)
        event = self._signer.sign(INVITE, now, [["-"], ["claim", claim]])
        if not any(_wants_invite(filter_) and filter_.matches(event) for filter_ in subscription.filters):
            return
        try:
            await self._amend(invite(claim, host, self._rules, now))
        except StoreError as error:
            log.warning("no invite", error=str(error))
            return
        if not subscription.is_ended:
            subscription.deliver(event.id, encode(event), {})


def _wants_invite(filter_: Filter) -> bool:
    return filter_.kinds is not None and INVITE in filter_.kinds and filter_.wants_stored
