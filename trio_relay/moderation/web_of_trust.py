"""The web of trust: the admins, and all keys within so many follows of them (NIP-02)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from itertools import islice
from typing import Final

import structlog
import trio

from trio_relay.intervals import Interval
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
        self._state = state
        self._store = store
        self._known = trio.Event()
        self._depth = 0
        self._admins: AbstractSet[str] = frozenset()
        self._failed = False
        self._rest = Interval(self._seconds)
        self._looking: trio.CancelScope | None = None

    async def known(self) -> None:
        """Wait until it has been found who is trusted, where anybody is looked for."""
        while self._depth and not self._known.is_set():
            await self._known.wait()

    def start(self, nursery: trio.Nursery) -> None:
        """Begin; until it is known who else is trusted, the admins alone are. Cancelling the nursery ends it."""
        self.look_again()
        nursery.start_soon(self._run)

    def look_again(self) -> None:
        """Go by the rules as they are now: another depth, other admins, another time between two looks; sync."""
        rules = self._state.rules
        depth, admins = rules.options.trust_depth, rules.admins
        if depth == self._depth and (not depth or admins == self._admins):
            self._rest.changed()
            return
        if not depth:
            self._state.trust(None)
        elif not self._depth:
            self._state.trust(admins)
        before, self._known = self._known, trio.Event()
        self._depth, self._admins = depth, admins
        before.set()
        if self._looking is not None:
            self._looking.cancel(reason="other keys are trusted")

    def _seconds(self) -> float:
        if not self._depth:
            return math.inf
        seconds = self._state.rules.options.trust_seconds
        return min(seconds, _RETRY_SECONDS) if self._failed else seconds

    async def _run(self) -> None:
        while True:
            with trio.CancelScope() as self._looking:
                while True:
                    if self._depth:
                        await self._look()
                    await self._rest.wait()

    async def _look(self) -> None:
        try:
            reached = await trusted_by(self._state.rules, self._store)
        except StoreError as error:
            self._failed = True
            log.warning("the web of trust is as it was", error=str(error))
        else:
            self._failed = False
            self._state.trust(reached)
            self._known.set()
            log.info("web of trust", keys=len(reached))


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
