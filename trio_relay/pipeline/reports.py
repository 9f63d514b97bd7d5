"""Reports on their way from the writer to the moderation queue: it changes soon, and is kept, in the background."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog
import trio

from trio_relay.nostr.event import Event
from trio_relay.nostr.kinds import REPORT
from trio_relay.pipeline.submission import Submission
from trio_relay.policy.lists import Change, ListEntry, ListName, as_metadata
from trio_relay.policy.reports import note_report
from trio_relay.policy.rules import Rules
from trio_relay.store.base import Store, StoreError

log = structlog.get_logger("trio_relay.pipeline")

_RETRY_SECONDS: Final = 10.0
_LAST_SECONDS: Final = 5.0
"""What the queue may take to be kept when the relay stops."""
_TURN_SECONDS: Final = 0.002
"""After so long others get their turn: a batch of a thousand reports may name ten thousand events."""
_MOST_WAITING: Final = 2_000
"""Reports; of more, the oldest are left out. What they name would have to make room in the queue soon."""


class Reports:
    """Keeps the moderation queue, so that no answer to a report waits for that.

    Args:
        store: keeps it.
        rules: have the queue among their lists.
        clock: seconds since 1970.
    """

    def __init__(self, store: Store, rules: Rules, clock: Callable[[], float]) -> None:
        self._store = store
        self._rules = rules
        self._clock = clock
        self._kept: dict[str, ListEntry] = {}
        self._waiting: deque[Event] = deque(maxlen=_MOST_WAITING)
        self._noted = trio.Event()
        self._stale = trio.Event()

    def start(self, nursery: trio.Nursery) -> None:
        """Begin, with the queue as it was kept; cancelling the nursery ends it."""
        self._kept = self._queue()
        nursery.start_soon(self._run)

    def note(self, stored: Sequence[Submission]) -> None:
        """Have what the reports among these events name put on the queue; sync, and never waits."""
        if reports := [submission.event for submission in stored if submission.event.kind == REPORT]:
            self._waiting += reports
            self._noted.set()

    async def _run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_up)
                while True:
                    await self._noted.wait()
                    self._noted = trio.Event()
                    await self._take()
                    self._stale.set()
        finally:
            with trio.CancelScope(shield=True, relative_deadline=_LAST_SECONDS):
                await self._take()
                await self._keep()

    async def _take(self) -> None:
        """Put what waits on the queue, in turns."""
        turn = trio.current_time()
        while self._waiting:
            note_report(self._waiting.popleft(), self._rules, int(self._clock()))
            if trio.current_time() - turn > _TURN_SECONDS:
                await trio.lowlevel.checkpoint()
                turn = trio.current_time()

    async def _keep_up(self) -> None:
        while True:
            await self._stale.wait()
            self._stale = trio.Event()
            if not await self._keep():
                await trio.sleep(_RETRY_SECONDS)
                self._stale.set()

    async def _keep(self) -> bool:
        """Keep what has changed, and what changes meanwhile; False if the store failed."""
        # Verdicts are kept by whoever gives them, maybe at the same time: looked at anew until nothing differs.
        while changes := self._changes():
            queue = self._queue()
            try:
                await self._store.put_metadata(as_metadata(changes))
            except StoreError as error:
                log.warning("the moderation queue is not kept", error=str(error))
                return False
            self._kept = queue
        return True

    def _queue(self) -> dict[str, ListEntry]:
        return self._rules.lists.entries(ListName.REPORTED_EVENTS, 0)

    def _changes(self) -> list[Change]:
        """What has to be kept, or to be forgotten, for the store to have the queue as it is."""
        queue = self._queue()
        gone = [Change(ListName.REPORTED_EVENTS, event_id) for event_id in self._kept if event_id not in queue]
        new = [(event_id, entry) for event_id, entry in queue.items() if self._kept.get(event_id) is not entry]
        return gone + [Change(ListName.REPORTED_EVENTS, event_id, entry) for event_id, entry in new]
