"""All of moderation, wired up: the state, and all that follows from what operators decide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import trio

from trio_relay.moderation.announcements import Announcements
from trio_relay.moderation.followed import FollowedJoinRequests, FollowedState, Owner
from trio_relay.moderation.join_requests import JoinRequests
from trio_relay.moderation.removals import Removals, Remove
from trio_relay.moderation.reports import Reports
from trio_relay.moderation.state import ModerationState
from trio_relay.moderation.web_of_trust import WebOfTrust
from trio_relay.nostr.event import Event
from trio_relay.policy.rules import Rules
from trio_relay.store.base import Store


class Moderation:
    """What operators decide at run time, and what it leads to.

    Args:
        store: keeps decisions in its metadata, and has the events that they are about.
        rules: read by everybody; the state alone changes their lists.
        remove: see `Removals`.
        clock: seconds since 1970.
        owner: another process, which decides all this; None: this one does.
    """

    def __init__(
        self, store: Store, rules: Rules, remove: Remove, clock: Callable[[], float], owner: Owner | None = None
    ) -> None:
        self.is_owner = owner is None
        """False if this process only follows."""
        self.state = (
            ModerationState(store, rules, clock) if owner is None else FollowedState(store, rules, clock, owner)
        )
        self.removals = Removals(self.state, remove)
        self.reports = Reports(self.state)
        self.note_reports: Callable[[Iterable[Event], Mapping[str, str | None]], None] = (
            self.reports.note if owner is None else owner.note_reports
        )
        """Told of reports that were stored, and by their ids whose they are; sync."""
        self.join_requests = JoinRequests(self.state) if owner is None else FollowedJoinRequests(self.state, owner)
        self.announcements = Announcements(self.state, store) if owner is None else None
        self._web_of_trust = WebOfTrust(self.state, store)

    async def trust_known(self) -> None:
        """Wait until it is known who is trusted, where there is a web of trust."""
        await self._web_of_trust.known()

    def look_again(self) -> None:
        """Go by the rules as they have become; sync."""
        self._web_of_trust.look_again()

    def start(self, nursery: trio.Nursery) -> None:
        """Start what goes on in the background, once the state has been recalled; cancelling the nursery ends it."""
        if self.is_owner:
            self.removals.start(nursery)
            self.reports.start(nursery)
        self._web_of_trust.start(nursery)
