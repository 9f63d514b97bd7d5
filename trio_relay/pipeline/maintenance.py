"""What is done every minute or so: expired events and bans go, other relays' decisions are learned."""

from __future__ import annotations

from typing import Final

import structlog
import trio

from trio_relay.intervals import Interval
from trio_relay.moderation.removals import Removals
from trio_relay.moderation.state import ModerationState
from trio_relay.pipeline.sync_sets import SyncSets
from trio_relay.store.base import Store, StoreError

log = structlog.get_logger("trio_relay.pipeline")

_AGAIN_SECONDS: Final = 0.05
"""Until what could not be taken over for decisions made here is looked at again; those are stored in a moment."""


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
        self._learning = trio.Lock()
        self._rest = Interval(lambda: state.rules.options.sweep_seconds)
        self._is_making_rounds = False

    @property
    def seconds_left(self) -> float | None:
        """Until the next round; 0 while one is made, None if none ever is."""
        ends = self._rest.ends
        return None if not self._is_making_rounds else max(0.0, 0.0 if ends is None else ends - trio.current_time())

    def look_again(self) -> None:
        """The time between two rounds may have changed; sync."""
        self._rest.changed()

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
            await self._rest.wait()

    async def _learn(self) -> None:
        while True:
            await self._decided.wait()
            self._decided = trio.Event()
            try:
                if not await self._have_learned():
                    self._decided.set()
                    await trio.sleep(_AGAIN_SECONDS)
            except StoreError as error:
                log.warning("what others have decided is learned later", error=str(error))

    async def _have_learned(self) -> bool:
        """Learn what others have decided; False if that has to wait for what is being decided here."""
        async with self._learning:  # what was read first is not to be taken over last
            changes = await self._state.learn()
        self._removals.learned(changes or [])
        return changes is not None

    async def _make_rounds(self) -> None:
        self._is_making_rounds = True
        while True:
            self._sync_sets.forget_idle()
            try:
                if removed := await self._store.sweep():
                    log.info("removed what has expired", events=removed)
                await self._state.expire()
                if self._store.is_shared:
                    await self._have_learned()
            except StoreError as error:
                log.warning("not swept", error=str(error))
            await self._rest.wait()
