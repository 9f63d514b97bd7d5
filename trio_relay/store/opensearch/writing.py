"""A batch into the index. What is plainly new is written blindly; the rest is read, judged, compared and set.

Most events depend on their own register alone: one request creates them all, and whose register is there already joins
the rest. For those, registers are read as they are at this moment (`_mget` doesn't wait for a refresh), `judge` decides
as for any store, and each register is written only if nobody else has written it meanwhile; if somebody has, the events
that depend on it are judged anew. So the newest version stands whoever else writes, and nothing is locked.

A deletion request is written last, once all that it names is deleted: a request that is stored has been carried out.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
import structlog
import trio

from trio_relay.nostr.event import DELETION, Event, address_of, decode
from trio_relay.nostr.filter import Filter
from trio_relay.store.base import Saved, StoreError
from trio_relay.store.judge import judge
from trio_relay.store.opensearch.bulk import Bulk, Write, Wrote
from trio_relay.store.opensearch.client import Busy, Client, Unreachable, read
from trio_relay.store.opensearch.documents import (
    Document,
    Register,
    Source,
    address_slot,
    document,
    registers,
    slot_of,
)
from trio_relay.store.opensearch.overlay import Overlay
from trio_relay.store.opensearch.rulings import NEVER_WRITTEN, changes, facts_of, is_plain, searched_targets, touched

log = structlog.get_logger("trio_relay.store")
T = TypeVar("T")

_MOST_ROUNDS: Final = 50
"""Each round that conflicts has lost to another writer, who got on; so many in a row have not been seen."""
_TURN_SECONDS: Final = 0.002
"""After so long others get their turn: an event may have a quarter of a million characters."""
_MOST_TOUCHED: Final = 2_000
_REGISTERS_AT_A_TIME: Final = 200
"""Each may hold an event of a megabyte."""
_IDS_AT_A_TIME: Final = 200
_PAUSE: Final = 0.2


class Writing:
    """Saves batches, any number at a time.

    Args:
        client: of the cluster.
        bulk: carries writes out.
        alias: what is read.
        overlay: is told what was written.
        seconds: how long reading is tried again.
    """

    def __init__(self, client: Client, bulk: Bulk, alias: str, overlay: Overlay, seconds: float) -> None:
        self._client = client
        self._bulk = bulk
        self._mget = f"/{alias}/_mget"
        self._search = f"/{alias}/_search?filter_path=hits.hits._source&allow_partial_search_results=false"
        self._overlay = overlay
        self._seconds = seconds
        # Of this relay's own writers one at a time: they need not conflict with each other.
        self.judging = trio.Lock()
        self._last_arrival = 0

    def arrivals(self, number: int) -> range:
        """So many times of arrival, in nanoseconds, each later than all before."""
        first = max(time.time_ns(), self._last_arrival + 1)
        self._last_arrival = first + number - 1
        return range(first, first + number)

    async def save(self, events: Sequence[Event]) -> list[Saved]:
        """Store a batch; a write that failed is its events' outcome, unless nothing at all could be written.

        Raises:
            StoreError: nothing of the batch was taken.
        """
        batch = _Batch(events, self.arrivals(len(events)))
        sharing = Counter(slot for slots in batch.touched for slot in slots)
        is_alone = [all(sharing[slot] == 1 for slot in slots) for slots in batch.touched]
        plain = [place for place, event in enumerate(events) if is_alone[place] and is_plain(event)]
        rest = sorted(set(range(len(events))).difference(plain))
        async with trio.open_nursery() as nursery:
            if rest:
                nursery.start_soon(self._judge, batch, rest)
            conflicts = await self._create(batch, plain)
        if conflicts:
            await self._judge(batch, conflicts)
        outcomes = batch.finished()
        if outcomes and set(outcomes) == {Saved.FAILED}:
            raise StoreError(batch.reason or "the relay's store has refused it")
        for event, outcome, alone in zip(events, outcomes, is_alone, strict=True):
            # Of one that another event of the batch may have replaced or deleted, nothing is sure.
            if outcome is Saved.DUPLICATE and alone:
                self._overlay.know(event.id, trio.current_time())
        return outcomes

    async def _create(self, batch: _Batch, places: list[int]) -> list[int]:
        """Write events whose registers are new; gives the places of those whose are not."""
        writes = []
        turn = trio.current_time()
        for place in places:
            event = batch.events[place]
            (slot,) = batch.touched[place]
            writes.append(Write(slot, NEVER_WRITTEN, document(event, batch.arrived[place])))
            if trio.current_time() - turn > _TURN_SECONDS:
                await trio.lowlevel.checkpoint()
                turn = trio.current_time()
        if writes:
            await self._bulk.carry_out(writes)
        conflicts = []
        for place, write in zip(places, writes, strict=True):
            event = batch.events[place]
            if write.is_uncertain:
                batch.mine.add(event.id)
                batch.doubtful.add(write.slot)
            if write.wrote is Wrote.DONE:
                self.note(write, NEVER_WRITTEN, event)
                batch.outcomes[place] = Saved.STORED
            elif write.wrote is Wrote.CONFLICT:
                conflicts.append(place)
            else:
                batch.fail(place, write.reason)
        return conflicts

    async def _judge(self, batch: _Batch, places: list[int]) -> None:
        """Decide these, and all that they change, as often as it takes."""
        async with self.judging:
            for part in _portions(batch, places):
                await self._decide(batch, part)

    async def _decide(self, batch: _Batch, places: list[int]) -> None:
        reason = "the relay's store is written by too many"
        try:
            for _ in range(_MOST_ROUNDS):
                if not places:
                    return
                places = await self._round(batch, places)
        except StoreError as error:
            reason = str(error)
        for place in places:
            batch.fail(place, reason)

    async def _round(self, batch: _Batch, places: list[int]) -> list[int]:
        """Read, judge, compare and set; gives the places that another writer has made undecided again."""
        events = [batch.events[place] for place in places]
        known = await self.read(slot for place in places for slot in batch.touched[place])
        heads = await self._find(searched_targets(events, known))
        more = {address_slot(address) for head in heads if (address := address_of(head)) is not None}
        known |= await self.read(more.difference(known))
        for slot in batch.doubtful.intersection(known):
            # What this relay has written without hearing of it, its clients have to see all the same.
            self._show(slot, known[slot].version, known[slot].event)
        ruling = judge(events, facts_of(events, known, heads))
        # An event may come twice, and be deleted in between: it arrives when it is stored.
        arrived = {
            batch.events[place].id: batch.arrived[place]
            for place, outcome in zip(places, ruling.outcomes, strict=True)
            if outcome is Saved.STORED
        }
        writes = changes(ruling, known, arrived, self.arrivals(len(known))[0])
        requests = {slot_of(event) for event in ruling.insert.values() if event.kind == DELETION}
        await self._set([one for slot, one in writes.items() if slot not in requests], known, ruling.insert, batch)
        depends = [batch.touched[place] | (more if batch.events[place].kind == DELETION else set()) for place in places]
        # A request whose deletions were not all carried out is not written.
        due = {
            slot_of(event)
            for event, slots in zip(events, depends, strict=True)
            if all(writes[slot].wrote is Wrote.DONE for slot in slots - requests if slot in writes)
        }
        await self._set([writes[slot] for slot in requests & due], known, ruling.insert, batch)
        undecided = []
        for place, event, slots, outcome in zip(places, events, depends, ruling.outcomes, strict=True):
            wrote = [writes[slot] for slot in slots if slot in writes]
            if failed := [one for one in wrote if one.wrote is Wrote.FAILED]:
                batch.fail(place, failed[0].reason)
            elif any(one.wrote is not Wrote.DONE for one in wrote):
                undecided.append(place)
            else:
                is_mine = outcome is Saved.DUPLICATE and event.id in batch.mine and event.id not in batch.stored
                batch.outcomes[place] = Saved.STORED if is_mine else outcome
                if batch.outcomes[place] is Saved.STORED:
                    batch.stored.add(event.id)
                elif (register := known[slot_of(event)]).exists and slot_of(event) not in writes:
                    # Whoever wrote what stands there, its sender has to find it now: no refresh may have covered it.
                    self._show(slot_of(event), register.version, register.event)
        return undecided

    async def _set(
        self, writes: list[Write], known: dict[str, Register], inserted: dict[str, Event], batch: _Batch
    ) -> None:
        if not writes:
            return
        await self._bulk.carry_out(writes)
        for one in writes:
            event = inserted.get(one.document.id)
            if event is not None and (one.wrote is Wrote.DONE or one.is_uncertain):
                batch.mine.add(event.id)
            if one.is_uncertain:
                batch.doubtful.add(one.slot)
            # Where only `until` has changed, the event that stood goes on standing.
            self.note(one, known[one.slot], event or (known[one.slot].event if one.document.id else None))

    def note(self, write: Write, before: Register, event: Event | None) -> None:
        """Let this relay's own clients see a write that may have been DONE."""
        if before.event is not None and (write.wrote is Wrote.DONE or write.is_uncertain):
            self._overlay.forget(before.event.id)
        if write.wrote is Wrote.DONE:
            self._show(write.slot, write.version, event, write.document)

    def _show(self, slot: str, version: int, event: Event | None, made: Document | None = None) -> None:
        if self._overlay.put(slot, version, event, made) and event is not None:
            self._overlay.know(event.id, trio.current_time())

    async def read(self, slots: Iterable[str]) -> dict[str, Register]:
        """The registers of these slots as they are now, refreshed or not.

        Raises:
            StoreError: they could not be read.
        """
        wanted = list(dict.fromkeys(slots))
        known: dict[str, Register] = {}
        for start in range(0, len(wanted), _REGISTERS_AT_A_TIME):
            part = wanted[start : start + _REGISTERS_AT_A_TIME]
            answer = await self._patiently(partial(self._client.ask, "POST", self._mget, {"ids": part}))
            try:
                known |= registers(part, answer)
            except ValueError as error:
                raise StoreError(f"the relay's store failed ({error})") from error
        return known

    async def _find(self, targets: set[tuple[str, str]]) -> list[Event]:
        """Those of these ids and authors that belong together, wherever they stand."""
        ids = list({event_id for event_id, _ in targets})
        found = {
            state.event.id: state.event
            for state in self._overlay.recent().matching(Filter(ids=frozenset(ids)))
            if state.event is not None
        }
        for start in range(0, len(ids), _IDS_AT_A_TIME):
            body = {
                "query": {"bool": {"filter": [{"terms": {"id": ids[start : start + _IDS_AT_A_TIME]}}]}},
                "size": _IDS_AT_A_TIME,
                "_source": ["event"],
            }
            answer = await self._patiently(partial(self._client.ask, "POST", self._search, body))
            for event in map(decode, _sources(answer)):
                found.setdefault(event.id, event)
        return [event for event in found.values() if (event.id, event.pubkey) in targets]

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        deadline = trio.current_time() + self._seconds
        has_failed = False
        try:
            while True:
                try:
                    return await ask()
                except (Unreachable, Busy) as error:
                    self._bulk.trouble, has_failed = str(error), True
                    if trio.current_time() + _PAUSE > deadline:
                        raise
                await trio.sleep(_PAUSE)
        finally:
            if has_failed:
                self._bulk.trouble = None


def _portions(batch: _Batch, places: list[int]) -> Iterator[list[int]]:
    """The places in parts that touch no more than so many registers, or of one: a request may name ten thousand."""
    part: list[int] = []
    size = 0
    for place in places:
        size += len(batch.touched[place])
        if size > _MOST_TOUCHED and part:
            yield part
            part, size = [], len(batch.touched[place])
        part.append(place)
    yield part


class _Batch:
    """Events on their way, and what became of them so far.

    Attributes:
        events: in their order.
        arrived: of each, its time of arrival.
        touched: of each, the slots of the registers that it depends on and may change.
        outcomes: None where it is open.
        mine: ids that this batch has written, or has tried to without hearing of the end.
        doubtful: slots of such tries, whatever they were of.
        stored: ids that count as stored by this batch already, once each.
        reason: why one of them failed.
    """

    def __init__(self, events: Sequence[Event], arrived: Sequence[int]) -> None:
        self.events = events
        self.arrived = arrived
        self.touched = [touched(event) for event in events]
        self.outcomes: list[Saved | None] = [None] * len(events)
        self.mine: set[str] = set()
        self.doubtful: set[str] = set()
        self.stored: set[str] = set()
        self.reason = ""

    def fail(self, place: int, reason: str) -> None:
        """This one could not be stored."""
        self.outcomes[place] = Saved.FAILED
        self.reason = reason

    def finished(self) -> list[Saved]:
        """All outcomes; none is open any more."""
        return [outcome or Saved.FAILED for outcome in self.outcomes]


class _Hit(msgspec.Struct, gc=False):
    source: Source = msgspec.field(name="_source")


class _Hits(msgspec.Struct, gc=False):
    hits: list[_Hit] = []


class _Answer(msgspec.Struct, gc=False):
    hits: _Hits = msgspec.field(default_factory=_Hits)


_decode_hits: Callable[[bytes], Any] = msgspec.json.Decoder(_Answer).decode


def _sources(answer: bytes) -> list[str]:
    return [hit.source.event for hit in read(_decode_hits, answer).hits.hits]
