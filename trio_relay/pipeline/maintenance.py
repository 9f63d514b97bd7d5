"""What goes on in the background: expired events are swept away, the web of trust is spun anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from itertools import islice
from typing import Final

import structlog
import trio

from trio_relay.nostr.event import decode
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import FOLLOWS
from trio_relay.pipeline.sync_sets import SyncSets
from trio_relay.policy.lists import Change, as_metadata
from trio_relay.policy.rules import Rules
from trio_relay.policy.trust import MOST_TRUSTED, followed
from trio_relay.store.base import Store, StoreError

log = structlog.get_logger("trio_relay.pipeline")

_AUTHORS_AT_A_TIME: Final = 200
_RETRY_SECONDS: Final = 10.0
_TURN_SECONDS: Final = 0.002
"""After so long others get their turn."""


class Maintenance:
    """Tasks that nobody waits for; `start` them in a nursery that outlives the stages.

    Args:
        store: looked after.
        rules: has `trusted` set.
        syncing: has a set that goes when it is not needed.
        clock: seconds since 1970.
        learnt: told of what operators of other relays have decided, once the lists have it.
    """

    def __init__(
        self,
        store: Store,
        rules: Rules,
        syncing: SyncSets,
        clock: Callable[[], float],
        learnt: Callable[[Sequence[Change]], None],
    ) -> None:
        self._store = store
        self._syncing = syncing
        self._rules = rules
        self._clock = clock
        self._learnt = learnt

    def start(self, nursery: trio.Nursery) -> None:
        """Begin; cancelling the nursery ends it."""
        nursery.start_soon(self._sweep)
        if self._rules.options.trust_depth:
            self._rules.trusted = self._rules.admins  # until it is known who else
            nursery.start_soon(self._spin)

    async def _sweep(self) -> None:
        while True:
            self._syncing.forget_idle()
            try:
                if removed := await self._store.sweep():
                    log.info("removed what has expired", events=removed)
                await self._forget_lapsed()
                if self._store.is_shared:
                    await self._learn()
            except StoreError as error:
                log.warning("not swept", error=str(error))
            await trio.sleep(self._rules.options.sweep_seconds)

    async def _forget_lapsed(self) -> None:
        """Bans that have ended count no more at once; here they leave the store too."""
        if lapsed := self._rules.lists.lapsed(self._clock()):
            self._rules.amend(lapsed)
            self._rules.unsettled += 1
            try:
                await self._store.put_metadata(as_metadata(lapsed))
            finally:
                self._rules.unsettled -= 1

    async def _learn(self) -> None:
        """Where other relays write to the same store, their operators' decisions hold here too."""
        rules, before = self._rules, self._rules.revision
        kept = await self._store.get_metadata()
        # What has changed here meanwhile may be kept, or not: the next look will tell.
        if rules.revision == before and not rules.unsettled and (news := rules.lists.differences(kept)):
            rules.amend(news)
            self._learnt(news)

    async def _spin(self) -> None:
        while True:
            seconds = self._rules.options.trust_seconds
            try:
                self._rules.trusted = await self._reach()
                log.info("web of trust", keys=len(self._rules.trusted))
            except StoreError as error:
                log.warning("the web of trust is as it was", error=str(error))
                seconds = min(seconds, _RETRY_SECONDS)
            await trio.sleep(seconds)

    async def _reach(self) -> AbstractSet[str]:
        """The admins and all keys within so many follows of them."""
        reached = set(self._rules.admins)
        edge: Iterable[str] = self._rules.admins
        for _ in range(self._rules.options.trust_depth):
            edge = await self._follow(edge, reached)
            if len(reached) > MOST_TRUSTED:
                log.warning("the web of trust is cut", keys=len(reached), most=MOST_TRUSTED)
                break
        return reached

    async def _follow(self, edge: Iterable[str], reached: set[str]) -> list[str]:
        """Reach whom those at the edge follow; gives who had not been reached before."""
        new: list[str] = []
        turn = trio.current_time()
        authors = iter(edge)
        while part := frozenset(islice(authors, _AUTHORS_AT_A_TIME)):
            wanted = Filter(authors=part, kinds=frozenset({FOLLOWS}), limit=len(part))
            async with aclosing(self._store.query([wanted])) as pages:
                async for page in pages:
                    for json in page:  # one at a time: each may follow ten thousand
                        fresh = [key for key in followed(decode(json)) if key not in reached]
                        reached.update(fresh)
                        new += fresh
                        if trio.current_time() - turn > _TURN_SECONDS:
                            await trio.lowlevel.checkpoint()
                            turn = trio.current_time()
            if len(reached) > MOST_TRUSTED:
                break
        return new
