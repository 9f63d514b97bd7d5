"""Saves a batch in the index: what is plainly new is created blindly; the rest is read, judged, compared and set.

Any number of relays write the same index, and there are no transactions. Correctness rests on three facts: a record is
never removed, a write names the state that it replaces (or "no record yet") and fails with a conflict if that is no
longer the state, and what an event's fate depends on is always in the records that it touches.

The states of an event in `OpenBatch.outcomes`, and who moves it:

    None (open) ── plain, nobody else of the batch touches its record ──▶ `_create`: one blind create for all of these
        │              DONE ─▶ STORED       FAILED ─▶ FAILED       CONFLICT ─▶ stays open, is judged
        ├─ open, or not plain ──▶ `_judge` ▶ `_decide`: up to `_MOST_ROUNDS` rounds for each portion of the batch
        │   one round (`_round`), a `JudgedRound`:
        │     1. `_decided`    reads the records (`_mget` needs no refresh), asks `judge`, lists the `changes`
        │     2. `_written`    sets tombstones of vanishing keys, then everything else, then requests whose work is done
        │     3. `_vanish`     only for requests to vanish: removes what belongs to the key, outside the lock `judging`
        │     4. `_concluded`  all writes it depends on DONE ─▶ the ruling's outcome;  one FAILED ─▶ FAILED;
        │                      a CONFLICT ─▶ stays open: another writer was first, so the next round judges anew
        └─ still open after the last round, or nothing could be read ─▶ FAILED

- A round that conflicts has lost to a writer who got on, so rounds end. The newest version wins, whoever writes.
- A request (to delete, to vanish) is written last: a request that is stored has been carried out. A request to vanish
  begins with its tombstone, so that events that come in the meantime are refused already.
- The lock `Records.judging` lets this relay's own writers judge one at a time: they need not conflict with each other.
- If an answer is lost, a later conflict may be with the relay's own write: `mine` and `doubtful` remember such writes,
  so that the event counts as STORED, not as DUPLICATE, and this relay's clients see it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeVar

import structlog
import trio

from trio_relay.nostr.event import Event, claimants
from trio_relay.nostr.event_text import is_long
from trio_relay.nostr.kinds import DELETION, VANISH
from trio_relay.store.base import Saved, StoreError
from trio_relay.store.judge import by_itself, judge
from trio_relay.store.opensearch.archive import ArchiveIndex
from trio_relay.store.opensearch.bulk import Bulk, Write, Wrote
from trio_relay.store.opensearch.cas import Records
from trio_relay.store.opensearch.clear import Clearing
from trio_relay.store.opensearch.decide import NEVER_WRITTEN, changes, facts_of, is_plain, searched_targets, touched
from trio_relay.store.opensearch.documents import REQUESTS, document, slot_of, vanish_slot
from trio_relay.store.opensearch.others import Others
from trio_relay.store.opensearch.rounds import JudgedRound, OpenBatch, portions_of
from trio_relay.store.opensearch.tombstones import Tombstones, left_by
from trio_relay.turns import Turn

T = TypeVar("T")

log = structlog.get_logger("trio_relay.store")

_MOST_ROUNDS: Final = 50
"""Each round that conflicts has lost to another writer; so many losses in a row have not been seen."""


class Saver:
    """Saves batches, any number at a time.

    Args:
        bulk: sends writes.
        records: reads records, and shows the overlay what was written.
        others: are not to bring back what this relay writes; its overlay remembers which ids are known to be stored.
        vanished: the keys that have vanished.
        clearing: removes what belongs to a key that vanishes.
        archive: keeps what is replaced and deleted, and forgets whose key vanishes.
    """

    def __init__(
        self,
        bulk: Bulk,
        records: Records,
        others: Others,
        vanished: Tombstones,
        clearing: Clearing,
        archive: ArchiveIndex,
    ) -> None:
        self._bulk = bulk
        self._records = records
        self._overlay = others.overlay
        self._others = others
        self._vanished = vanished
        self._clearing = clearing
        self._archive = archive
        self._creating: set[trio.Event] = set()

    async def save(self, events: Sequence[Event]) -> list[Saved]:
        """Store a batch; returns an outcome for each event, FAILED for those whose writes failed.

        Raises:
            StoreError: all of them failed.
        """
        batch = OpenBatch(events, self._records.arrivals(len(events)))
        with self._others.saving(batch.arrived, events, batch.outcomes):
            return await self._save(batch)

    async def _save(self, batch: OpenBatch) -> list[Saved]:
        events = batch.events
        sharing = Counter(slot for slots in batch.touched for slot in slots)
        is_alone = [all(sharing[slot] == 1 for slot in slots) for slots in batch.touched]
        plain = [place for place, event in enumerate(events) if is_alone[place] and self._is_plain(batch, event)]
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
            # Another event of the batch may have replaced or deleted one that is not alone.
            if outcome is Saved.DUPLICATE and alone:
                self._overlay.know(event.id, trio.current_time())
        return outcomes

    def _is_plain(self, batch: OpenBatch, event: Event) -> bool:
        """Return True if the event can be written blindly."""
        return is_plain(event) and event.pubkey not in batch.vanishing and not self._vanished.bars(event)

    async def foresee(self, event: Event) -> Saved:
        """Read the records that decide the outcome of an event, and judge it, but write nothing.

        Raises:
            StoreError: they could not be read.
        """
        bare = by_itself(event)
        known = await self._records.read(touched(bare))
        return judge([bare], facts_of([bare], known, (), self._vanished.untils)).outcomes[0]

    async def settle(self) -> None:
        """Wait for the blind writes that are under way: they were not judged, so a request to vanish must see them."""
        for ended in list(self._creating):
            await ended.wait()

    @contextmanager
    def _underway(self) -> Iterator[None]:
        ended = trio.Event()
        self._creating.add(ended)
        try:
            yield
        finally:
            self._creating.remove(ended)
            ended.set()

    async def _create(self, batch: OpenBatch, places: list[int]) -> list[int]:
        """Create records for plain events; returns the places of those whose record existed."""
        # No await lies between `_is_plain`, which looks at the vanished keys, and this: `settle` waits for all such
        # writes.
        with self._underway():
            writes = await self._write_new(batch, places)
        conflicts = []
        for place, write in zip(places, writes, strict=True):
            event = batch.events[place]
            if write.is_uncertain:
                batch.mine.add(event.id)
                batch.doubtful.add(write.slot)
            if write.wrote is Wrote.DONE:
                batch.outcomes[place] = Saved.STORED
            elif write.wrote is Wrote.CONFLICT:
                conflicts.append(place)
            else:
                batch.fail(place, write.reason)
        return conflicts

    async def _write_new(self, batch: OpenBatch, places: list[int]) -> list[Write]:
        writes: list[Write] = []
        turn = Turn()
        for place in places:
            (slot,) = batch.touched[place]
            event = batch.events[place]
            made = await _made(partial(document, event, batch.arrived[place]), [event])
            writes.append(Write(slot, NEVER_WRITTEN, made))
            if turn.is_over:
                await turn.give()
        if writes:
            await self._bulk.carry_out(writes)
        for place, write in zip(places, writes, strict=True):
            if write.wrote is Wrote.DONE:
                self._records.note(write, None, batch.events[place])
        return writes

    async def _judge(self, batch: OpenBatch, places: list[int]) -> None:
        """Judge these events and write what follows, portion by portion."""
        for part in portions_of(batch, places):
            await self._decide(batch, part)

    async def _decide(self, batch: OpenBatch, places: list[int]) -> None:
        reason = "the relay's store has too many writers at a time"
        try:
            for _ in range(_MOST_ROUNDS):
                if not places:
                    return
                places = await self._round(batch, places)
        except StoreError as error:
            reason = str(error)
        for place in places:
            batch.fail(place, reason)

    async def _round(self, batch: OpenBatch, places: list[int]) -> list[int]:
        """Do one round: read, judge, compare and set; returns the places that a conflict left open."""
        async with self._records.judging:
            turn = await self._decided(batch, places)
            await self._archive.keep(turn.departed)  # before it goes; what does not go in the end stands
            vanishing = await self._written(turn, batch)
            if not vanishing:
                return self._concluded(batch, turn)
        # This takes long for a key with many events. The lock is free: the tombstones bar what comes in the meantime.
        await self._vanish(turn, vanishing)
        async with self._records.judging:
            open_requests = [turn.writes[slot_of(event)] for event in vanishing if self._is_last(event)]
            await self._set([write for write in open_requests if write.wrote is None], turn, batch)
            return self._concluded(batch, turn)

    async def _written(self, turn: JudgedRound, batch: OpenBatch) -> list[Event]:
        """Write everything but requests to vanish; returns those of which all else is done."""
        writes = turn.writes
        tombstones = {vanish_slot(pubkey) for pubkey in turn.ruling.vanish} & writes.keys()
        requests = {slot_of(event): event for event in turn.ruling.insert.values() if event.kind in REQUESTS}
        await self._set([writes[slot] for slot in tombstones], turn, batch)
        for pubkey, until in turn.ruling.vanish.items():
            if (tombstone := writes.get(vanish_slot(pubkey))) is not None and tombstone.wrote is Wrote.DONE:
                self._vanished.learn(pubkey, until)
        others = [write for slot, write in writes.items() if slot not in requests and slot not in tombstones]
        await self._set(others, turn, batch)
        # A request is written only if everything that it asks for was done.
        due = {
            slot_of(event)
            for event, slots in zip(turn.events, turn.depends, strict=True)
            if all(writes[slot].wrote is Wrote.DONE for slot in slots.difference(requests) if slot in writes)
        }
        vanishing = [event for slot, event in requests.items() if slot in due and event.kind == VANISH]
        await self._set([writes[slot] for slot in due & requests.keys() - set(map(slot_of, vanishing))], turn, batch)
        return vanishing

    def _is_last(self, request: Event) -> bool:
        """Return True unless the key has made a later request in the meantime, which removes this one."""
        return self._vanished.untils.get(request.pubkey, -1) <= request.created_at

    async def _decided(self, batch: OpenBatch, places: list[int]) -> JudgedRound:
        """Read the records as they are now, judge the events, and list the writes."""
        events = [batch.events[place] for place in places]
        known = await self._records.read(slot for place in places for slot in batch.touched[place])
        found = await self._records.find(searched_targets(events, known))
        known |= await self._records.read(found.difference(known))
        for slot in batch.doubtful.intersection(known):
            # This relay wrote it but the answer was lost; its clients have to see it all the same.
            self._records.show(slot, known[slot].version, known[slot].event)
        ruling = judge(events, facts_of(events, known, found, self._vanished.untils))
        # An event may come twice and be deleted in between: what counts is the place where it is stored.
        arrived = {
            batch.events[place].id: batch.arrived[place]
            for place, outcome in zip(places, ruling.outcomes, strict=True)
            if outcome is Saved.STORED
        }
        first = self._records.arrivals(len(known))[0]
        worded = (*ruling.insert.values(), *(record.event for record in known.values() if record.event is not None))
        writes = await _made(partial(changes, ruling, known, arrived, first), worded)
        depends = [
            batch.touched[place] | (found if batch.events[place].kind == DELETION else set()) for place in places
        ]
        for event, slots in zip(events, depends, strict=True):
            barred_by = (
                claimant for claimant in claimants(event) if event.created_at <= ruling.vanish.get(claimant, -1)
            )
            slots |= set(map(vanish_slot, barred_by))
        return JudgedRound(places, events, known, ruling, writes, depends)

    async def _vanish(self, turn: JudgedRound, requests: list[Event]) -> None:
        """Remove what belongs to the keys that vanish; if that fails, only their requests fail."""
        vanished = [(event.pubkey, event.created_at, event.id) for event in requests]
        try:
            await self.settle()
            removed = await self._clearing.empty(*left_by(vanished))
            await self._archive.forget(*left_by(vanished))
        except StoreError as error:
            for event in requests:
                write = turn.writes[slot_of(event)]
                write.wrote, write.reason = Wrote.FAILED, str(error)
        else:
            log.info("keys have vanished", keys=len(vanished), events=removed)

    def _concluded(self, batch: OpenBatch, turn: JudgedRound) -> list[int]:
        """Note the outcomes of a turn's events; returns the places of those that stay open."""
        undecided = []
        for place, event, slots, outcome in zip(
            turn.places, turn.events, turn.depends, turn.ruling.outcomes, strict=True
        ):
            wrote = [turn.writes[slot] for slot in slots if slot in turn.writes]
            if failed := [write for write in wrote if write.wrote is Wrote.FAILED]:
                batch.fail(place, failed[0].reason)
            elif any(write.wrote is not Wrote.DONE for write in wrote):
                undecided.append(place)
            else:
                is_mine = outcome is Saved.DUPLICATE and event.id in batch.mine and event.id not in batch.stored
                batch.outcomes[place] = Saved.STORED if is_mine else outcome
                if batch.outcomes[place] is Saved.STORED:
                    batch.stored.add(event.id)
                elif (record := turn.known[slot_of(event)]).exists and slot_of(event) not in turn.writes:
                    # Another relay may have written it just now: the sender has to find it here before the next
                    # refresh.
                    self._records.show(slot_of(event), record.version, record.event)
        return undecided

    async def _set(self, writes: list[Write], turn: JudgedRound, batch: OpenBatch) -> None:
        if not writes:
            return
        await self._bulk.carry_out(writes)
        for write in writes:
            event = turn.ruling.insert.get(write.document.id)
            if event is not None and (write.wrote is Wrote.DONE or write.is_uncertain):
                batch.mine.add(event.id)
            if write.is_uncertain:
                batch.doubtful.add(write.slot)
            before = turn.known[write.slot].event
            # If only `until` has changed, the event in the record stays.
            now = event or (before if write.document.id else None)
            self._records.note(write, None if before is None else before.id, now)


async def _made(make: Callable[[], T], events: Iterable[Event]) -> T:
    """Make documents of events: in a thread where their words may take longer than a turn of the loop."""
    if any(map(is_long, events)):
        return await trio.to_thread.run_sync(make, abandon_on_cancel=True)
    return make()
