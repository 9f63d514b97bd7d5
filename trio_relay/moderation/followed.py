"""Moderation in a process that follows what another one decides: the owner of the state, which all others ask.

Its lists are the owner's, by the changes that it is told of; what clients of this process ask for is decided there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from trio_relay.moderation.join_requests import JoinRequests
from trio_relay.moderation.state import ModerationState
from trio_relay.nostr.event import Event
from trio_relay.policy.lists import Change
from trio_relay.policy.rules import Rules
from trio_relay.store.base import Metadata


class Owner(Protocol):
    """The process that owns what operators decide, as others reach it."""

    async def amend(self, changes: Sequence[Change]) -> None:
        """As `ModerationState.amend`; this process has been told of the changes when it returns.

        Raises:
            StoreError: it could not be stored, or the owner is gone.
        """
        ...

    async def join(self, request: Event, origin: str | None) -> tuple[bool, str]:
        """As `JoinRequests.answer`, unless there were too many requests lately, in all processes together."""
        ...

    def note_reports(self, reports: Iterable[Event], origins: Mapping[str, str | None]) -> None:
        """As `Reports.note`; sync."""
        ...


class FollowedState(ModerationState):
    """The state as its owner tells it, by `apply_unstored`.

    Args:
        store: has the metadata.
        rules: read by everybody.
        clock: seconds since 1970.
        owner: decides.
    """

    def __init__(self, store: Metadata, rules: Rules, clock: Callable[[], float], owner: Owner) -> None:
        super().__init__(store, rules, clock)
        self._owner = owner

    async def amend(self, changes: Sequence[Change]) -> None:
        await self._owner.amend(changes)


class FollowedJoinRequests(JoinRequests):
    """Has the owner answer requests; codes are made here, and stored there.

    Args:
        state: has the members and the codes among its lists.
        owner: decides.
    """

    def __init__(self, state: ModerationState, owner: Owner) -> None:
        super().__init__(state)
        self._owner = owner

    async def answer(self, request: Event, origin: str | None = None) -> tuple[bool, str]:
        return await self._owner.join(request, origin)
