"""Live events on their way up a link: a bounded queue that the broadcaster fills as it fills a client's outbox.

The broadcaster never waits. Where the other relay takes less than comes here, the queue is emptied, and what was in it
is found again by comparing both relays: nothing grows, and nobody else is held up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import trio

from trio_relay.nostr.message import event_head
from trio_relay.peers.echoes import Echoes
from trio_relay.peers.mirrored import MirroredEvents
from trio_relay.peers.outcomes import LinkTally
from trio_relay.pipeline.recipient import unframed
from trio_relay.pipeline.subscription import Subscription
from trio_relay.store.base import id_of

MOST_WAITING: int = 5_000
"""Events that wait to be given; not Final: tests set another."""
_MOST_BYTES: Final = 8 * 2**20
_LINGER_SECONDS: Final = 0.25
"""An event waits so long before it goes up a link that also comes down: if the other relay follows this one, it has
fetched the event by then, and shows it to us as to any subscriber."""
_SUB_ID: Final = "mirror"


class RisingEvents:
    """What a link is to give to the other relay, in the order in which it came; a `Recipient` of the broadcaster.

    Args:
        events: of the mirror.
        echoes: know what went over this link.
        tally: counts what is not given.
        lingers: True if the link brings events, too.
    """

    frame = live_frame = staticmethod(unframed)
    chunk_bytes = _MOST_BYTES

    def __init__(self, events: MirroredEvents, echoes: Echoes, tally: LinkTally, *, lingers: bool) -> None:
        self.subscription = Subscription(_SUB_ID, events.filters, self, events.reader)
        """To be subscribed while the link stands."""
        self.subscription.end_of_stored()  # what is stored is compared, not sent
        self._has_dropped = False
        """True once events were dropped, until `next` has said so."""
        self._echoes = echoes
        self._tally = tally
        self._linger = _LINGER_SECONDS if lingers else 0.0
        self._skipped = len(event_head(_SUB_ID))
        self._waiting: deque[tuple[bytes, float]] = deque()
        self._bytes = 0
        self._more = trio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def send_framed_nowait(self, framed: bytes) -> None:
        """Take a live event, unless it came by this link."""
        event = framed[self._skipped : -1]
        if not self._echoes.is_news_there(id_of(event).decode()):
            self._tally.outcomes["echo"] += 1
            return
        self._waiting.append((event, trio.current_time() + self._linger))
        self._bytes += len(event)
        if len(self._waiting) > MOST_WAITING or self._bytes > _MOST_BYTES:
            self._has_dropped = True
            self._waiting.clear()
            self._bytes = 0
        self._more.set()

    async def next(self) -> bytes | None:
        """The next event, as JSON, once it has waited; None, once, where some were dropped."""
        while True:
            if self._has_dropped:
                self._has_dropped = False
                return None
            if not self._waiting:
                self._more = trio.Event()
                await self._more.wait()
            elif (due := self._waiting[0][1]) > trio.current_time():
                await trio.sleep_until(due)
            else:
                break
        event, _ = self._waiting.popleft()
        self._bytes -= len(event)
        return event

    def send_nowait(self, message: bytes) -> None:
        """Pass over all that is no event."""

    def has_room_for(self, size: int) -> bool:
        """Return True: nothing stored comes this way."""
        return True

    async def wait_for_room(self, framed: Sequence[bytes] = (), page: Sequence[bytes] = ()) -> None:
        """Return at once, for the same reason."""
        await trio.lowlevel.checkpoint()
