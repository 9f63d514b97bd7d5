"""What others have stored, on its way to subscribers here: other processes of a relay, or relays on one store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

import trio

from trio_relay.nostr.event import Event
from trio_relay.pipeline.pending_ids import PendingIds
from trio_relay.pipeline.submission import Bars, Submission, still_welcome


class LiveAudience:
    """An `Audience` that hands what it hears to the broadcaster, beside the writer.

    Args:
        pending_ids: has the ids of what is noted until it is delivered, so that answers know what comes once more.
        live: where the broadcaster takes events from; closed by `leave`.
        bars: gives what tells why an event is not to be delivered, its author having been banned: where it was stored
            that may not have been known yet.
        decided: called when others have changed the metadata; sync.
        missed: called when changes of the store were missed; sync.
        subscribed: tells how many subscriptions there are now.
    """

    def __init__(
        self,
        pending_ids: PendingIds,
        live: trio.MemorySendChannel[list[Submission]],
        bars: Bars,
        decided: Callable[[], None],
        missed: Callable[[], None],
        subscribed: Callable[[], int],
    ) -> None:
        self._pending_ids = pending_ids
        self._live = live
        self._bars = bars
        self._decided = decided
        self._missed = missed
        self._subscribed = subscribed

    @property
    def is_listening(self) -> bool:
        # Who subscribes later finds in the store what is there by now.
        return self._subscribed() > 0

    def note(self, events: Sequence[Event]) -> None:
        self._pending_ids.noted({event.id for event in events})

    async def deliver(self, events: Sequence[Event]) -> None:
        now = trio.current_time()
        batch = [Submission(event, _told_elsewhere, now) for event in events]
        welcome = still_welcome(batch, self._bars, Counter())
        if len(welcome) < len(batch):
            for event_id in {one.event.id for one in batch} - {one.event.id for one in welcome}:
                self._pending_ids.delivered(event_id)
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):  # the relay stops, and its clients have gone
            await self._live.send(welcome)

    def decided(self) -> None:
        self._decided()

    def missed(self) -> None:
        self._missed()

    def leave(self) -> None:
        """Let nothing more through: the relay stops."""
        self._live.close()


def _told_elsewhere(event: Event, accepted: bool, reason: str) -> None:
    """Its sender got its OK where it published."""
