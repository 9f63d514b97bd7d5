"""What others have written comes in here, whichever way it came first, and goes on to this relay's subscribers, once.

    a note of the bus ──┐
    a look at the index ┼─▶ `hear`, sync ─▶ overlay, tombstones; `Audience.note`, `decided`
    a query, a reading ─┘                └▶ a queue ─▶ `run` ─▶ `Audience.deliver`

`hear` waits for nothing, so that a query which has found an event of others has it noted before it shows it. Those who
bring much, the bus and the looks, wait until the queue is empty; what queries find adds little to it, since that much
is visible and not yet heard for as long as a look takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Literal, TypeAlias

import msgspec
import trio

from trio_relay.nostr.event import Event, check_shape
from trio_relay.store.base import Audience, Saved
from trio_relay.store.opensearch.documents import Record, kept_slot
from trio_relay.store.opensearch.pages import Hit
from trio_relay.store.opensearch.recent import Overlay
from trio_relay.store.opensearch.remembered import Remembered, Written

Way: TypeAlias = Literal["bus", "index"]
WAYS: Final[tuple[Way, ...]] = ("bus", "index")

_decode_event: Final = msgspec.json.Decoder(Event).decode


class Others:
    """Hears of records that others have written.

    Args:
        learn: told of keys that have vanished, and until when; sync.
        decided: told of values of the relay's own that were put or deleted, or None: some may have been; sync.
    """

    def __init__(
        self, learn: Callable[[str, int], None], decided: Callable[[Written | None], None] = lambda _one: None
    ) -> None:
        self.remembered = Remembered()
        self.audience: Audience | None = None
        """Whom events of others are for; None: nobody."""
        self.teller: Callable[[Written], None] | None = None
        """Has others hear of what this relay has written; None: they find it in the index. Sync."""
        self.heard: Counter[Way] = Counter()
        """Events of others by the way that brought them first."""
        self.overlay = Overlay()
        """What this relay's queries see before searches do; others' writes are put into it here."""
        self._learn = learn
        self._decided = decided
        self._kept: set[str] = set()
        self._waiting: list[Event] = []
        self._came = trio.Event()
        self._drained = trio.Event()
        self._drained.set()

    def keep(self, names: Iterable[str]) -> None:
        """Remember the names of what the relay keeps: one whose value is deleted can be told by its slot alone."""
        self._kept.update(map(kept_slot, names))

    @contextmanager
    def saving(
        self, arrived: Sequence[int], events: Sequence[Event], outcomes: Sequence[Saved | None]
    ) -> Iterator[None]:
        """Know this relay's own events while they are being written, and those that were stored from then on.

        Args:
            arrived: their times of arrival.
            events: the events.
            outcomes: what became of them, at the end of the context; who else has written one of those that were not
                stored, or whether this relay has, if an answer was lost, a look will tell.
        """
        own = [(time, event.id) for time, event in zip(arrived, events, strict=True)]
        for time, event_id in own:
            self.remembered.add(time, event_id)
        try:
            yield
        finally:
            for (time, event_id), outcome in zip(own, outcomes, strict=True):
                if outcome is not Saved.STORED:
                    self.remembered.withdraw(time, event_id)

    def tell(self, one: Written, event_id: str = "") -> None:
        """Know a record that this relay has written, with this event in it, and have others hear of it."""
        self._remember(one.slot, one.version, one.arrived, event_id)
        if self.teller is not None:
            self.teller(one)

    def meet(self, hits: Sequence[Hit]) -> None:
        """Hear what a query has found, before it is shown."""
        if self.audience is None:
            return
        floor, is_news = self.remembered.floor, self.remembered.is_news
        for hit in hits:
            # Most are older than what can be news; the last value that they are sorted by is the id.
            if hit.source.arrived >= floor and is_news(hit.slot, hit.version, hit.source.arrived, hit.sort[-1]):
                self.hear([Written(hit.slot, hit.version, hit.source.arrived, hit.source.event)], "index")

    def read(self, slot: str, record: Record) -> None:
        """Hear a record that was read to be judged."""
        if self.audience is None or record.event is None or record.arrived < self.remembered.floor:
            return
        if self.remembered.is_news(slot, record.version, record.arrived, record.event.id):
            self._remember(slot, record.version, record.arrived, record.event.id)
            self._hand_on([record.event], "index")

    def hear(self, news: Iterable[Written], way: Way) -> None:
        """Take in what is new of these records, in their order; the events among it are delivered soon.

        Raises:
            ValueError: the bus has told what is no event.
        """
        found = [event for one in news if (event := self._take(one, way)) is not None]
        if found:
            self._hand_on(found, way)

    def hear_passing(self, events: Iterable[tuple[int, str]]) -> None:
        """Hear events that are not stored: for each the time at which it was sent, in nanoseconds, and its JSON.

        Raises:
            ValueError: one of them is no event.
        """
        found = []
        for sent, json in events:
            event = _told(json)
            if sent >= self.remembered.floor and not self.remembered.has(sent, event.id):
                self.remembered.add(sent, event.id)
                found.append(event)
        if found:
            self._hand_on(found, "bus", is_stored=False)

    def decide(self, one: Written | None) -> None:
        """Take in that others have changed a value of the relay's own, or None: that they may have."""
        self._decided(one)
        if self.audience is not None:
            self.audience.decided()

    def _take(self, one: Written, way: Way) -> Event | None:
        """Take in one record; returns its event if that is news."""
        read = _told if way == "bus" else _decode_event
        event = read(one.event) if one.event else None
        event_id = event.id if event is not None else ""
        is_newer = self.remembered.is_newer(one.slot, one.version)
        is_news = event is not None and self.remembered.is_news(one.slot, one.version, one.arrived, event_id)
        if not is_newer:
            self.remembered.add(one.arrived, event_id)  # or each look would fetch it again
            return None
        self._remember(one.slot, one.version, one.arrived, event_id)
        self._show(one, event, way)
        if one.vanished:
            self._learn(one.vanished.partition(":")[0], one.until)
        if one.name or one.slot in self._kept:
            # What others have told is whole; of what a look finds the name may be missing.
            self.decide(one if way == "bus" else None)
        return event if is_news else None

    def _remember(self, slot: str, version: int, arrived: int, event_id: str) -> None:
        self.remembered.add(arrived, event_id)
        self.remembered.put(slot, version, arrived)

    def _show(self, one: Written, event: Event | None, way: Way) -> None:
        """Let this relay's queries see it before a search does, or not see what it has replaced."""
        before = self.overlay.recent().state(one.slot)
        if one.gone:
            self.overlay.forget(one.gone)
        if before is not None and before.event is not None and (event is None or before.event.id != event.id):
            self.overlay.forget(before.event.id)
        # What the index has brought searches find; only what hides it has to go.
        is_hidden = way == "bus" and (event is None or one.arrived >= self.remembered.floor)
        if before is None and not is_hidden:
            return
        if self.overlay.put(one.slot, one.version, event, json=one.event) and event is not None:
            self.overlay.know(event.id, trio.current_time())

    def _hand_on(self, events: list[Event], way: Way, *, is_stored: bool = True) -> None:
        self.heard[way] += len(events)
        if self.audience is None:
            return
        if is_stored:
            self.audience.note(events)
        self._waiting += events
        self._came.set()
        if self._drained.is_set():
            self._drained = trio.Event()

    async def drained(self) -> None:
        """Wait until what was heard is delivered."""
        await self._drained.wait()

    async def run(self) -> None:
        """Deliver what was heard, in its order, until cancelled."""
        while True:
            await self._came.wait()
            self._came = trio.Event()
            events, self._waiting = self._waiting, []
            if self.audience is not None and events:
                await self.audience.deliver(events)
            if not self._waiting:
                self._drained.set()


def _told(json: str) -> Event:
    """An event of a note, which whoever writes to the bus may have made up: it would go to clients as it is."""
    event = _decode_event(json)
    if (fault := check_shape(event)) is not None:
        raise ValueError(fault)
    return event
