"""The web of trust: the admins, and all keys within so many follows of them (NIP-02)."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from itertools import islice
from typing import Final

import structlog
import trio

from trio_relay.moderation.state import ModerationState
from trio_relay.nostr.event import Event, decode, recipients
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import FOLLOWS
from trio_relay.policy.rules import Rules
from trio_relay.store.base import Queryable, StoreError
from trio_relay.turns import Turn

log = structlog.get_logger("trio_relay.moderation")

MOST_TRUSTED: Final = 500_000
"""Keys; some 100 bytes each. A web that grows beyond is cut where it is."""
_AUTHORS_AT_A_TIME: Final = 200
_RETRY_SECONDS: Final = 10.0


class WebOfTrust:
    """Finds who is trusted, and tells the state.

    Args:
        state: is told, and has the admins.
        store: has the lists of follows.
    """

    def __init__(self, state: ModerationState, store: Queryable) -> None:
        self.known = trio.Event()
        """Set once it has been found who is trusted."""
        self._state = state
        self._store = store

    def start(self, nursery: trio.Nursery) -> None:
        """Begin; until it is known who else is trusted, the admins alone are. Cancelling the nursery ends it."""
        self._state.trust(self._state.rules.admins)
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        while True:
            seconds = self._state.rules.options.trust_seconds
            try:
                reached = await trusted_by(self._state.rules, self._store)
                self._state.trust(reached)
                self.known.set()
                log.info("web of trust", keys=len(reached))
            except StoreError as error:
                log.warning("the web of trust is as it was", error=str(error))
                seconds = min(seconds, _RETRY_SECONDS)
            await trio.sleep(seconds)


async def trusted_by(rules: Rules, store: Queryable) -> AbstractSet[str]:
    """Find the admins and all keys within so many follows of them as the rules say.

    Raises:
        StoreError: the store could not answer.
    """
    reached = set(rules.admins)
    edge: Iterable[str] = rules.admins
    for _ in range(rules.options.trust_depth):
        edge = await _follow(store, edge, reached)
        if len(reached) > MOST_TRUSTED:
            log.warning("the web of trust is cut", keys=len(reached), most=MOST_TRUSTED)
            break
    return reached


async def _follow(store: Queryable, edge: Iterable[str], reached: set[str]) -> list[str]:
    """Reach whom those at the edge follow; gives who had not been reached before."""
    new: list[str] = []
    turn = Turn()
    authors = iter(edge)
    while part := frozenset(islice(authors, _AUTHORS_AT_A_TIME)):
        wanted = Filter(authors=part, kinds=frozenset({FOLLOWS}), limit=len(part))
        async with aclosing(store.query([wanted])) as pages:
            async for page in pages:
                for json in page:  # one at a time: each may follow ten thousand
                    fresh = [key for key in followed(decode(json)) if key not in reached]
                    reached.update(fresh)
                    new += fresh
                    if turn.is_over:
                        await turn.give()
        if len(reached) > MOST_TRUSTED:
            break
    return new


def followed(event: Event) -> list[str]:
    """All keys that a list follows, in its order; none if this is no list."""
    return recipients(event) if event.kind == FOLLOWS else []
