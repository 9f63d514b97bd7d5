"""What keys ask of the relay itself (NIP-43): to join, to leave, and a code that lets somebody in."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final

import structlog
import trio

from trio_relay.moderation.state import ModerationState
from trio_relay.nostr.errors import Prefix
from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import INVITE, JOIN
from trio_relay.policy.membership import REQUESTS, host_among, invite, judge
from trio_relay.store.base import StoreError

log = structlog.get_logger("trio_relay.moderation")

_TELL_SECONDS: Final = 60.0
_MOST_KEYS: Final = 10
"""Keys that one line names."""


class JoinRequests:
    """Answers requests; what comes of one is stored before its answer is given.

    Args:
        state: has the members and the codes among its lists.
    """

    def __init__(self, state: ModerationState) -> None:
        self.kinds: frozenset[int] = REQUESTS if state.rules.has_membership else frozenset()
        """Of the events that `answer` takes; none where there is no membership."""
        self._state = state
        self._untold: Counter[str] = Counter()
        self._keys: dict[str, None] = {}
        self._noted = trio.Event()

    async def answer(self, request: Event, origin: str | None = None) -> tuple[bool, str]:
        """Do what a request asks for if it may; gives the last two items of its OK.

        Args:
            request: of one of the `kinds`, admitted, and its signature right.
            origin: whom its sender counts as, for who counts requests where several processes take them.
        """
        verdict = judge(request, self._state.rules, self._state.now())
        if not verdict.changes:
            return verdict.accepted, verdict.reason
        try:
            await self._state.amend(verdict.changes)
        except StoreError as error:
            return False, f"{Prefix.ERROR}: {error}"
        self._note(request)
        return verdict.accepted, verdict.reason

    def _note(self, request: Event) -> None:
        self._untold["joined" if request.kind == JOIN else "left"] += 1
        if len(self._keys) < _MOST_KEYS:
            self._keys.setdefault(request.pubkey)
        self._noted.set()

    async def tell_regularly(self) -> None:
        """Tell who has joined and left: at once, and then of each minute in one line."""
        while True:
            await self._noted.wait()
            self.tell()
            await trio.sleep(_TELL_SECONDS)

    def tell(self) -> None:
        """Tell who has joined and left since the last line, if anybody has."""
        if self._untold:
            log.info("membership", **self._untold, keys=list(self._keys))
        self._untold.clear()
        self._keys.clear()
        self._noted = trio.Event()

    def wants_invite(self, filters: Sequence[Filter]) -> bool:
        """True if one of these asks for a code that lets somebody in."""
        return self._state.signer is not None and any(map(_wants_invite, filters))

    async def invite(self, filters: Sequence[Filter], keys: Collection[str]) -> Event | None:
        """A new code as an event that is stored nowhere, if a member asks for it; None to all others.

        Args:
            filters: that `wants_invite` is true of.
            keys: that the client has authenticated.
        """
        state, now = self._state, self._state.now()
        host = host_among(keys, state.rules, now)
        if host is None or state.signer is None:
            return None
        claim = secrets.token_hex(16)
        event = state.signer.sign(INVITE, now, [["-"], ["claim", claim]])
        if not any(_wants_invite(filter_) and filter_.matches(event) for filter_ in filters):
            return None
        try:
            await state.amend(invite(claim, host, state.rules, now))
        except StoreError as error:
            log.warning("no invite", error=str(error))
            return None
        return event


def _wants_invite(filter_: Filter) -> bool:
    return filter_.kinds is not None and INVITE in filter_.kinds and filter_.wants_stored
