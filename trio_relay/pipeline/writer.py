"""Verified events in, committed events out: whatever waits becomes one batch, one commit, and one OK an event."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final

import structlog
import trio

from trio_relay.nostr.errors import Prefix
from trio_relay.nostr.kinds import VANISH
from trio_relay.pipeline.batches import Batches
from trio_relay.pipeline.histogram import SECONDS, SIZES, Histogram
from trio_relay.pipeline.pending_ids import PendingIds
from trio_relay.pipeline.recipient import CollectedFlushes, FlushCollector
from trio_relay.pipeline.statistics import WriterStatistics
from trio_relay.pipeline.submission import ANSWERS, Bars, Submission, still_welcome, weight
from trio_relay.store.base import Saved, Store, StoreError

log = structlog.get_logger("trio_relay.pipeline")

_SECONDS_BETWEEN_PROBES: Final = 1.0
"""A probe writes, and anyone may ask for one."""


class Writer:
    """The stage that writes, in as many tasks as the store takes batches at a time.

    They gather one after another, so that what waits is not split among them, and an event that is in two batches is
    written by one at a time.

    Args:
        store: keeps the events.
        most: events of one commit.
        pending_ids: this stage adds ids before they can be seen in the store; the broadcaster takes them out.
        collector: collects the flushes that answers ask for, so that those of a batch leave together.
        bars: gives what tells why an event is not to be stored although it was admitted, its author having been
            banned since; None while nobody is banned.
        linger: seconds that a batch waits for company, unless it is full.
        noted: told of what is stored; sync.
    """

    def __init__(
        self,
        store: Store,
        most: int,
        pending_ids: PendingIds,
        collector: FlushCollector,
        bars: Bars = lambda: None,
        linger: float = 0.0,
        noted: Callable[[Sequence[Submission]], None] = lambda _stored: None,
    ) -> None:
        self._store = store
        self._bars = bars
        self._collector = collector
        self._most = most
        self._linger = linger
        self._noted = noted
        self._pending_ids = pending_ids
        # Who is alone does without: a lock costs a turn of the loop for each batch.
        self._gathering: AbstractAsyncContextManager[object] = trio.Lock() if store.writers > 1 else nullcontext()
        self._in_flight: set[str] = set()
        self._landed = trio.Event()
        self._batches = Histogram(SIZES)
        self._seconds = Histogram(SECONDS)
        self._latency = Histogram(SECONDS)
        self._outcomes: Counter[str] = Counter()
        self._failure: str | None = None
        self._failures = 0
        self._probed = -math.inf

    async def run(
        self,
        verified: trio.MemoryReceiveChannel[list[Submission]],
        live: trio.MemorySendChannel[list[Submission]],
        long: trio.MemorySendChannel[list[Submission]] | None = None,
    ) -> None:
        """Write until the channel has ended; the handles are this task's own and are closed by it.

        Args:
            verified: what is to be written.
            live: gets what has been.
            long: takes what may be long in writing, for `run_long`; None: it is written here.
        """
        with verified, live, nullcontext() if long is None else long:
            batches = Batches(verified, self._most, weight, self._linger)
            while True:
                async with self._gathering:
                    batch = await anext(batches, None)
                if batch is None:
                    return
                await self._wait_for(batch)
                # Nothing may come between this look at the bans and the ids that `settled` waits for.
                welcome = still_welcome(batch, self._bars, self._outcomes)
                if long is not None:
                    welcome = _set_apart(welcome, long)
                if welcome:
                    await self._write(welcome, live)

    async def run_long(
        self,
        long: trio.MemoryReceiveChannel[list[Submission]],
        live: trio.MemorySendChannel[list[Submission]],
    ) -> None:
        """As `run`, for requests to vanish: one may have a million events removed, and nobody else waits for it."""
        with long, live:
            async for batch in long:
                await self._wait_for(batch)
                await self._write(batch, live)

    async def _wait_for(self, batch: list[Submission]) -> None:
        """Wait until nothing of this batch is being stored by another task."""
        ids = {submission.event.id for submission in batch}
        while not self._in_flight.isdisjoint(ids):
            await self._landed.wait()

    async def settled(self) -> None:
        """Wait until the batches that are being stored now have been."""
        ids = set(self._in_flight)
        while not self._in_flight.isdisjoint(ids):
            await self._landed.wait()

    async def _write(self, batch: list[Submission], live: trio.MemorySendChannel[list[Submission]]) -> None:
        try:
            outcomes = await self._save(batch)
        except StoreError as error:
            self._failed(batch, str(error))
            return
        stored = [one for one, outcome in zip(batch, outcomes, strict=True) if outcome is Saved.STORED]
        if stored:
            self._noted(stored)
            await _hand_on(stored, live)
        await self._answer(batch, outcomes).flush()

    async def _save(self, batch: list[Submission]) -> list[Saved]:
        ids = {submission.event.id for submission in batch}
        self._in_flight |= ids
        # Before the commit: a query may see the events before this task is back.
        added = self._pending_ids.saving(ids)
        kept: set[str] = set()
        started, failures = trio.current_time(), self._failures
        try:
            outcomes = await self._store.save_many([submission.event for submission in batch])
            kept = {one.event.id for one, outcome in zip(batch, outcomes, strict=True) if outcome is Saved.STORED}
        finally:
            self._pending_ids.not_stored(added - kept)
            self._in_flight -= ids
            self._landed.set()
            self._landed = trio.Event()
        # A success that began before another batch failed says nothing.
        if failures == self._failures and any(outcome is not Saved.FAILED for outcome in outcomes):
            self._recovered()
        self._batches.observe(len(batch))
        self._seconds.observe(trio.current_time() - started)
        return outcomes

    def _answer(self, batch: list[Submission], outcomes: list[Saved]) -> CollectedFlushes:
        now = trio.current_time()
        with self._collector.collected() as collected:
            for one, outcome in zip(batch, outcomes, strict=True):
                self._outcomes[outcome.name.lower()] += 1
                one.reply(one.event, *ANSWERS[outcome])
                if outcome is Saved.STORED:
                    self._latency.observe(now - one.arrived)
        if failed := outcomes.count(Saved.FAILED):
            log.error("events not stored", events=failed, of=len(batch))
        return collected

    def _failed(self, batch: list[Submission], reason: str) -> None:
        self._failure = reason
        self._failures += 1
        self._outcomes["failed"] += len(batch)
        log.error("batch not stored", events=len(batch), error=reason)
        for submission in batch:
            submission.reply(submission.event, False, f"{Prefix.ERROR}: {reason}")

    def _recovered(self) -> None:
        if self._failure is not None:
            log.info("the store works again")
            self._failure = None

    async def check(self) -> str | None:
        """Why nothing can be stored now, or None; after a failure it is tried out, once a second at most.

        A store that is still trying tells so itself.
        """
        if (trouble := self._store.statistics().trouble) is not None:
            return trouble
        now = trio.current_time()
        if self._failure is not None and now - self._probed >= _SECONDS_BETWEEN_PROBES:
            self._probed = now
            try:
                await self._store.probe()
            except StoreError as error:
                self._failure = str(error)
            else:
                self._recovered()
        return self._failure

    def statistics(self) -> WriterStatistics:
        """What this stage has seen so far."""
        return WriterStatistics(
            self._batches.statistics(),
            self._seconds.statistics(),
            self._latency.statistics(),
            dict(self._outcomes),
            self._failure,
        )


def _set_apart(batch: list[Submission], long: trio.MemorySendChannel[list[Submission]]) -> list[Submission]:
    """What of a batch is not handed on as long in writing; where too much of that waits already, all of it.

    What comes behind a request to vanish may be stored before it: then it goes with all the rest.
    """
    requests = [submission for submission in batch if submission.event.kind == VANISH]
    if not requests:
        return batch
    try:
        long.send_nowait(requests)
    except trio.WouldBlock:
        return batch
    return [submission for submission in batch if submission.event.kind != VANISH]


async def _hand_on(stored: list[Submission], live: trio.MemorySendChannel[list[Submission]]) -> None:
    """To the broadcaster; where deliveries are behind, the answers wait with them, and so do the next events.

    Otherwise nothing waits here, and the answers are on their way before the first delivery is.
    """
    # A commit ends although its task has been cancelled; then the broadcaster may be gone.
    await trio.lowlevel.checkpoint_if_cancelled()
    try:
        live.send_nowait(stored)
    except trio.WouldBlock:
        await live.send(stored)
