"""What the relay says of its members and roles (NIP-43): events like any other, signed with its own key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Final, TypeAlias, TypeVar

import structlog
import trio

from trio_relay.moderation.due import Due
from trio_relay.moderation.state import ModerationState
from trio_relay.nostr.event import Event, decode
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import DELETION, MEMBERS, ROLE
from trio_relay.policy.lists import Change, ListName
from trio_relay.policy.membership import MOST_ROLES, unpublished
from trio_relay.store.base import Queryable, StoreError
from trio_relay.turns import Turn

log = structlog.get_logger("trio_relay.moderation")

_CONCERNED: Final = frozenset({ListName.MEMBERS, ListName.ROLES, ListName.ROLE_HOLDERS, ListName.BANNED_PUBKEYS})
_LEAST_SECONDS: Final = 1.0
"""Between two lists of members: of versions of one second a client could take either for the newer."""
_FAILURE: Final = "members and roles are not published"

T = TypeVar("T")
Publish: TypeAlias = Callable[[list[Event]], Awaitable[None]]
"""Has signed events stored and delivered; returns when they are, and raises StoreError if not all of them could be."""


class Announcements:
    """Publishes what differs from what is published, at the start and whenever a list has changed.

    Args:
        state: has the lists, and signs.
        store: has what was published.
    """

    def __init__(self, state: ModerationState, store: Queryable) -> None:
        self._state = state
        self._store = store
        self._stale = Due(is_set=True)
        state.subscribe(self._follow)

    def _follow(self, changes: Sequence[Change]) -> None:
        if not _CONCERNED.isdisjoint(change.name for change in changes):
            self._stale.set()

    async def run(self, publish: Publish) -> None:
        """Publish until cancelled."""

        async def announce() -> None:
            if await self._announce(publish):
                await trio.sleep(_LEAST_SECONDS)

        await self._stale.run(announce, _FAILURE)

    async def finish(self, publish: Publish) -> None:
        """Publish what is still to be said, when nothing is on its way any more; else the next start does it."""
        if self._stale.is_set:
            try:
                await self._announce(publish)
            except StoreError as error:
                log.warning(_FAILURE, error=str(error))

    async def _announce(self, publish: Publish) -> bool:
        """True if there was anything to publish."""
        self._stale.clear()
        signer = self._state.signer
        assert signer is not None, "where there is membership, there is a key"
        try:
            published = await self._published(signer.pubkey)
            now = self._state.now()
            # Later than all before, deletions included: a role may be made anew in the same second.
            at = max([now, *(event.created_at + 1 for event in published)])
            drafts = unpublished(published, self._state.rules, now)
            events = [signer.sign(draft.kind, at, draft.tags) async for draft in _in_turns(drafts) if draft is not None]
            if events:
                await publish(events)
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


async def _in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """The same items; others get their turn between them."""
    turn = Turn()
    for item in items:
        yield item
        if turn.is_over:
            await turn.give()
