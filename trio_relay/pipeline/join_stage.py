"""The stage beside the writer: what is asked of the relay itself is answered, and what the relay says is published."""

from __future__ import annotations

from typing import Final

import trio

from trio_relay.moderation.announcements import Announcements
from trio_relay.moderation.join_requests import JoinRequests
from trio_relay.nostr.event import Event, encode
from trio_relay.pipeline.submission import Submission
from trio_relay.pipeline.subscription import Subscription
from trio_relay.store.base import StoreError

_MOST_WAITING: Final = 64
"""Batches of requests; more are told to come again, so that they hold up no events."""


class JoinStage:
    """Takes requests to join and to leave (NIP-43) from the verifiers, and gives the writer what the relay says of it.

    Args:
        requests: answers them.
        announcements: has what the relay says; None: another process says it.
    """

    def __init__(self, requests: JoinRequests, announcements: Announcements | None) -> None:
        self.kinds = requests.kinds
        """Of the events that are for this stage."""
        self.asked, self._to_answer = trio.open_memory_channel[list[Submission]](_MOST_WAITING)
        """Where the verifiers put them."""
        self._requests = requests
        self._announcements = announcements
        self._answered = trio.Event()
        self._answered.set()

    def start(self, nursery: trio.Nursery, verified: trio.MemorySendChannel[list[Submission]]) -> None:
        """Begin; it ends when nobody can put anything into `asked` any more, and then closes its handle."""
        if self.kinds:
            nursery.start_soon(self._run, verified)
        else:
            verified.close()

    async def _run(self, verified: trio.MemorySendChannel[list[Submission]]) -> None:
        async def publish(events: list[Event]) -> None:
            await self._publish(events, verified)

        with verified, self._to_answer:
            async with trio.open_nursery() as announcing:
                if self._announcements is not None:
                    announcing.start_soon(self._announcements.run, publish)
                announcing.start_soon(self._requests.tell_regularly)
                async for submissions in self._to_answer:
                    for submission in submissions:
                        answer = await self._requests.answer(submission.event, submission.origin)
                        submission.reply(submission.event, *answer)
                announcing.cancel_scope.cancel(reason="the relay stops")
            self._requests.tell()
            await self._answered.wait()  # what is on its way is said: only then the store tells what is not
            if self._announcements is not None:
                await self._announcements.finish(publish)

    async def _publish(self, events: list[Event], verified: trio.MemorySendChannel[list[Submission]]) -> None:
        """Have the writer store these and hand them on to subscribers.

        Raises:
            StoreError: not all of them were stored.
        """
        refused: list[str] = []
        waited_for = {event.id for event in events}
        answered = trio.Event()

        def reply(event: Event, accepted: bool, reason: str) -> None:
            waited_for.discard(event.id)
            if not accepted:
                refused.append(reason)
            if not waited_for:
                answered.set()

        now = trio.current_time()
        await verified.send([Submission(event, reply, now, is_own=True) for event in events])
        self._answered = answered
        await answered.wait()
        if refused:
            raise StoreError(refused[0])

    def is_asked_by(self, subscription: Subscription) -> bool:
        """True if it asks for a code that lets somebody in; then `deliver` comes before its answer."""
        return bool(self.kinds) and self._requests.wants_invite(subscription.filters)

    async def deliver(self, subscription: Subscription) -> None:
        """Deliver a new code if a member asks; others get nothing."""
        event = await self._requests.invite(subscription.filters, subscription.reader.keys)
        if event is not None and not subscription.is_ended:
            subscription.deliver(event.id, encode(event), {})
