"""What the relay says of its members and roles, signed with its own key: events like any other, but nobody's word."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Final, TypeVar

import structlog
import trio

from trio_relay.nostr.event import Event, decode
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import DELETION, MEMBERS, ROLE
from trio_relay.nostr.signer import Signer
from trio_relay.pipeline.submission import Submission
from trio_relay.policy.lists import Change, ListName
from trio_relay.policy.membership import MOST_ROLES, unpublished
from trio_relay.policy.rules import Rules
from trio_relay.store.base import Store, StoreError

log = structlog.get_logger("trio_relay.pipeline")

_CONCERNED: Final = frozenset({ListName.MEMBERS, ListName.ROLES, ListName.ROLE_HOLDERS, ListName.BANNED_PUBKEYS})
_LEAST_SECONDS: Final = 1.0
"""Between two lists of members: of versions of one second a client could take either for the newer."""
_RETRY_SECONDS: Final = 10.0
_TURN_SECONDS: Final = 0.002
"""After so long others get their turn: there may be thousands of members, and each event to be signed takes 100 µs."""

T = TypeVar("T")


class Announcer:
    """Publishes what differs from what is published (NIP-43), at the start and whenever a list has changed.

    Args:
        store: has what was published.
        rules: have the lists.
        clock: seconds since 1970.
    """

    def __init__(self, store: Store, rules: Rules, clock: Callable[[], float]) -> None:
        self._store = store
        self._rules = rules
        self._clock = clock
        self._stale = trio.Event()
        self._stale.set()
        self._answered = trio.Event()
        self._answered.set()
        rules.followers.append(self._follow)

    def _follow(self, changes: Sequence[Change]) -> None:
        if not _CONCERNED.isdisjoint(change.name for change in changes):
            self._stale.set()

    async def run(self, signer: Signer, verified: trio.MemorySendChannel[list[Submission]]) -> None:
        """Publish until cancelled."""
        while True:
            await self._stale.wait()
            seconds = 0.0
            try:
                if await self._announce(signer, verified):
                    seconds = _LEAST_SECONDS
            except StoreError as error:
                log.warning("members and roles are not published", error=str(error))
                seconds = _RETRY_SECONDS
            await trio.sleep(seconds)

    async def finish(self, signer: Signer, verified: trio.MemorySendChannel[list[Submission]]) -> None:
        """Publish what is still to be said; if that fails, the next start does it."""
        await self._answered.wait()  # what is on its way is said: only then the store tells what is not
        if self._stale.is_set():
            try:
                await self._announce(signer, verified)
            except StoreError as error:
                log.warning("members and roles are not published", error=str(error))

    async def _announce(self, signer: Signer, verified: trio.MemorySendChannel[list[Submission]]) -> bool:
        """True if there was anything to publish."""
        self._stale = trio.Event()
        try:
            published = await self._published(signer.pubkey)
            now = int(self._clock())
            # Later than all before, deletions included: a role may be made anew in the same second.
            at = max([now, *(event.created_at + 1 for event in published)])
            drafts = unpublished(published, self._rules, now)
            events = [signer.sign(one.kind, at, one.tags) async for one in _in_turns(drafts) if one is not None]
            if events:
                await self._publish(events, verified)
        except BaseException:
            self._stale.set()
            raise
        return bool(events)

    async def _published(self, pubkey: str) -> list[Event]:
        """The members and roles as they were published, and the last deletion of a role."""
        own = frozenset({pubkey})
        wanted = [
            Filter(authors=own, kinds=frozenset({kind}), limit=most)
            for kind, most in ((MEMBERS, 1), (ROLE, MOST_ROLES), (DELETION, 1))
        ]
        async with aclosing(self._store.query(wanted)) as pages:
            return [decode(json) async for page in pages for json in page]

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
        await verified.send([Submission(event, reply, now) for event in events])
        self._answered = answered
        await answered.wait()
        if refused:
            raise StoreError(refused[0])


async def _in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """The same items; others get their turn between them."""
    turn = trio.current_time()
    for item in items:
        yield item
        if trio.current_time() - turn > _TURN_SECONDS:
            await trio.lowlevel.checkpoint()
            turn = trio.current_time()
