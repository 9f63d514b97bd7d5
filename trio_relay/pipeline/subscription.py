"""One open subscription: it sends each event once, whether it comes live, out of the store, or both ways at a time."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator

import trio

from trio_relay.nostr.access import NOBODY, Reader
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.message import closed, eose, event_head
from trio_relay.pipeline.index_work import Entering
from trio_relay.pipeline.recipient import Frame, Recipient
from trio_relay.store.base import Page, id_of

_CHUNK_BYTES = 65_536
_MOST_REMEMBERED = 10_000
"""Live events of one subscription while its stored ones are on their way."""


class Subscription:
    """A client's sub id, its filters, and where its events go.

    The subscription takes live events from the moment it is made; only then does the store search. An event saved in
    between can come both ways, so until EOSE each side remembers what the other must skip: the live side all that it
    sent, the stored side what was saved but not yet broadcast when it was found.
    """

    __slots__ = (
        "_catching_up",
        "_ended",
        "_head",
        "_sent_live",
        "_sent_stored",
        "entering",
        "filters",
        "has_lost_track",
        "origin",
        "reader",
        "recipient",
        "size",
        "sub_id",
    )

    def __init__(
        self,
        sub_id: str,
        filters: tuple[Filter, ...],
        recipient: Recipient,
        reader: Reader = NOBODY,
        *,
        origin: str | None = None,
        size: int | None = None,
    ) -> None:
        self.sub_id = sub_id
        self.filters = filters
        self.recipient = recipient
        self.reader = reader
        """Whom events go to: nothing is delivered that they may not read."""
        self.origin = origin
        """Whose share of the room for filters it takes, see `Identity`."""
        self.size = sum(filter_.weight for filter_ in filters) if size is None else size
        """What its filters count."""
        self.entering: Entering | None = None
        """Its way into the index of live events, where that takes a while."""
        self._head = event_head(sub_id)
        self._catching_up = True
        self._ended = False
        self.has_lost_track = False
        """More live events came than it remembers, so stored ones cannot be told apart: it has to be closed."""
        # Most subscriptions never need one of the two: an empty set is a fifth of a kilobyte.
        self._sent_live: set[str] | None = None
        self._sent_stored: set[str] | None = None

    def deliver(self, event_id: str, json: bytes, shared: dict[tuple[str, Frame], bytes]) -> None:
        """Send a live event, unless the store's answer had it already.

        Args:
            event_id: of the event.
            json: the event.
            shared: what this event looks like to others by (sub id, frame); many clients use the same sub id.
        """
        if self._sent_stored and event_id in self._sent_stored:
            self._sent_stored.discard(event_id)
            return
        if self._catching_up and not self._remember(event_id):
            return
        frame = self.recipient.live_frame
        key = (self.sub_id, frame)
        framed = shared.get(key)
        if framed is None:
            framed = shared[key] = frame(self._head + json + b"]")
        self.recipient.send_framed_nowait(framed)

    def _remember(self, event_id: str) -> bool:
        """Note that this has gone out live; False if there is no more room to note it."""
        if self._sent_live is None:
            self._sent_live = set()
        if len(self._sent_live) >= _MOST_REMEMBERED:
            self.has_lost_track = True
            return False
        self._sent_live.add(event_id)
        return True

    def deliver_at_once(self, page: Page, pending_ids: Collection[str], hint: str | None = None) -> bool:
        """Send all that is stored and EOSE in one piece, if there is room for it; only before any live event.

        Args:
            page: the whole answer.
            pending_ids: ids that are saved, or being saved, and have not come to `deliver` yet.
            hint: for EOSE (NIP-67).
        """
        size = sum(map(len, page)) + len(page) * len(self._head)
        if size > self.recipient.chunk_bytes or not self.recipient.has_room_for(size):
            return False
        if pending_ids:
            found = [id_of(json).decode() for json in page]
            self._sent_stored = {event_id for event_id in found if event_id in pending_ids}
        frame, head = self.recipient.frame, self._head
        framed = [frame(head + json + b"]") for json in page]
        framed.append(frame(eose(self.sub_id, hint)))
        self.recipient.send_framed_nowait(b"".join(framed))
        self._catching_up = False
        return True

    async def deliver_stored(self, page: Page, pending_ids: Container[str]) -> None:
        """Send stored events that did not go out live; waits for room.

        Args:
            page: what the store found.
            pending_ids: ids that are saved, or being saved, and have not come to `deliver` yet.
        """
        frame, head = self.recipient.frame, self._head
        for chunk in _chunks(page, min(self.recipient.chunk_bytes, _CHUNK_BYTES)):
            framed = [frame(head + json + b"]") for json in chunk]
            await trio.lowlevel.checkpoint()  # deflating a chunk takes a while
            await self.recipient.wait_for_room(framed, page)
            if self._ended or self.has_lost_track:
                return
            # No await from here on: between look and send nothing may be delivered live.
            for json, message in zip(chunk, framed, strict=True):
                event_id = id_of(json).decode()
                if self._sent_live and event_id in self._sent_live:
                    continue
                if event_id in pending_ids:
                    self._sent_stored = self._sent_stored or set()
                    self._sent_stored.add(event_id)
                self.recipient.send_framed_nowait(message)

    def end_of_stored(self, hint: str | None = None) -> None:
        """Say EOSE, with what there is to say of completeness (NIP-67); from now on events come live only."""
        if self._ended:
            return
        self.recipient.send_nowait(eose(self.sub_id, hint))
        self._catching_up = False
        self._sent_live = None

    def refuse(self, reason: str) -> None:
        """Say CLOSED: the relay ends this subscription by itself."""
        if not self._ended:
            self.recipient.send_nowait(closed(self.sub_id, reason))

    def end(self) -> None:
        """Send nothing more. A query that is just coming back must not speak for the next one of the same id."""
        self._ended = True

    @property
    def has_sent_live(self) -> bool:
        """True if live events have gone out ahead of the EOSE that is still to come."""
        return bool(self._sent_live)

    @property
    def is_ended(self) -> bool:
        """True once it has been ended, by CLOSE, replacement or the connection's end."""
        return self._ended


def _chunks(page: Page, most: int) -> Iterator[Page]:
    """A page in parts of at most so many bytes, or of one event, so that each part finds room."""
    chunk: Page = []
    size = 0
    for json in page:
        size += len(json)
        if size > most and chunk:
            yield chunk
            chunk, size = [], len(json)
        chunk.append(json)
    yield chunk
