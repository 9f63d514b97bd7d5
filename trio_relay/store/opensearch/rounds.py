"""What is known of a batch while it is saved (`save`): its outcomes so far, and one round's attempt at what is open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from trio_relay.nostr.event import Event
from trio_relay.nostr.kinds import VANISH
from trio_relay.store.archive import DepartureCause
from trio_relay.store.base import Saved
from trio_relay.store.judge import Ruling
from trio_relay.store.opensearch.bulk import Write
from trio_relay.store.opensearch.decide import touched
from trio_relay.store.opensearch.documents import Record

_MOST_TOUCHED: Final = 2_000


@dataclass(slots=True, eq=False)
class JudgedRound:
    """One round's attempt at the events that are open.

    Attributes:
        places: their places in the batch.
        events: the events.
        known: the records as they were read, by slot.
        ruling: what `judge` decided.
        writes: what has to be written, by slot.
        depends: for each event, the slots whose writes it depends on.
    """

    places: list[int]
    events: list[Event]
    known: dict[str, Record]
    ruling: Ruling
    writes: dict[str, Write]
    depends: list[set[str]]

    @property
    def departed(self) -> list[tuple[Event, DepartureCause]]:
        """What goes, in the order in which it does, and why."""
        known = (record.event for record in self.known.values() if record.event is not None)
        events = {event.id: event for event in known} | self.ruling.passed
        return [(events[event_id], cause) for event_id, cause in self.ruling.departed.items()]


def portions_of(batch: OpenBatch, places: list[int]) -> Iterator[list[int]]:
    """Split the places into parts that touch a bounded number of records; a request may touch ten thousand alone."""
    part: list[int] = []
    size = 0
    for place in places:
        size += len(batch.touched[place])
        if size > _MOST_TOUCHED and part:
            yield part
            part, size = [], len(batch.touched[place])
        part.append(place)
    yield part


class OpenBatch:
    """The events of a batch and their outcomes so far.

    Attributes:
        events: in their order.
        arrived: for each, its time of arrival.
        touched: for each, the slots of the records that it depends on and may change.
        vanishing: keys that ask to vanish in this batch.
        outcomes: None while it is open.
        mine: ids that this batch has written, or may have written (the answer was lost).
        doubtful: slots of the writes whose answer was lost.
        stored: ids that count as stored by this batch, so that a second copy is a DUPLICATE.
        reason: why one of them failed.
    """

    def __init__(self, events: Sequence[Event], arrived: Sequence[int]) -> None:
        self.events = events
        self.arrived = arrived
        self.touched = [touched(event) for event in events]
        self.vanishing = {event.pubkey for event in events if event.kind == VANISH}
        self.outcomes: list[Saved | None] = [None] * len(events)
        self.mine: set[str] = set()
        self.doubtful: set[str] = set()
        self.stored: set[str] = set()
        self.reason = ""

    def fail(self, place: int, reason: str) -> None:
        """Note that this event could not be stored."""
        self.outcomes[place] = Saved.FAILED
        self.reason = reason

    def finished(self) -> list[Saved]:
        """Return all outcomes, once none is open."""
        return [outcome or Saved.FAILED for outcome in self.outcomes]
