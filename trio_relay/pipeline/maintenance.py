"""What is done every minute or so: expired events and bans go, other relays' decisions are learned."""

from __future__ import annotations

import structlog
import trio

from trio_relay.moderation.removals import Removals
from trio_relay.moderation.state import ModerationState
from trio_relay.pipeline.sync_sets import SyncSets
from trio_relay.store.base import Store, StoreError

log = structlog.get_logger("trio_relay.pipeline")


class Maintenance:
    """The round that is made every `policy.sweep_seconds`.

    Args:
        store: swept.
        state: lets bans expire, and learns.
        removals: told of bans that were learned.
        sync_sets: have a set that goes when it is not needed.
    """

    def __init__(self, store: Store, state: ModerationState, removals: Removals, sync_sets: SyncSets) -> None:
        self._store = store
        self._state = state
        self._removals = removals
        self._sync_sets = sync_sets
        self._decided = trio.Event()

    def learn_soon(self) -> None:
        """Have what others have decided learned before the next round; sync."""
        self._decided.set()

    async def run(self) -> None:
        """Make one round after the other, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._make_rounds)
            nursery.start_soon(self._learn)

    async def forget(self) -> None:
        """Do only what each process has to do for itself, until cancelled."""
        while True:
            self._sync_sets.forget_idle()
            await trio.sleep(self._state.rules.options.sweep_seconds)

    async def _learn(self) -> None:
        while True:
            await self._decided.wait()
            self._decided = trio.Event()
            try:
                self._removals.learned(await self._state.learn())
            except StoreError as error:
                log.warning("what others have decided is learned later", error=str(error))

    async def _make_rounds(self) -> None:
        while True:
            self._sync_sets.forget_idle()
            try:
                if removed := await self._store.sweep():
                    log.info("removed what has expired", events=removed)
                await self._state.expire()
                if self._store.is_shared:
                    self._removals.learned(await self._state.learn())
            except StoreError as error:
                log.warning("not swept", error=str(error))
            await trio.sleep(self._state.rules.options.sweep_seconds)
