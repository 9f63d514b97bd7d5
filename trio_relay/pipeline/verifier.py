"""Batches in, verified events out: known ids are answered at once, the others' signatures checked a batch a call.

Ids of private kinds are never known here: an answer to whoever has an id and no signature would tell that the event is
stored. The writer finds them, when it is sure that their sender has them too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from contextlib import nullcontext
from typing import Final

import structlog
import trio

from trio_relay.nostr.access import PRIVATE_KINDS
from trio_relay.nostr.errors import Prefix, Rejected, bad_signature
from trio_relay.nostr.event import Event
from trio_relay.nostr.kinds import is_ephemeral
from trio_relay.nostr.schnorr import Backend
from trio_relay.pipeline.batches import Batches, BatchSource
from trio_relay.pipeline.ephemerals import Ephemerals, sent_nowait
from trio_relay.pipeline.histogram import SECONDS, SIZES, Histogram
from trio_relay.pipeline.statistics import VerifierStatistics
from trio_relay.pipeline.submission import ANSWERS, Bars, Submission, weight
from trio_relay.store.base import Saved, Store, StoreError

_MOST_ON_LOOP: Final = 4
_MANY: Final = 64
"""Events in this stage that a lone one overtakes: threads take milliseconds for them."""
"""Events that are verified on the loop, 50 µs each: a hop into a thread costs more, and load makes batches larger."""

log = structlog.get_logger("trio_relay.pipeline")


class Verifier:
    """The verifying stage; `run` is started once for each core, all of them on one channel.

    Args:
        store: asked which ids are known already.
        backend: checks the signatures, in a thread.
        threads: how many of those threads run at a time.
        most: events that one call verifies.
        requests: kinds that are asked of the relay itself; they go neither to the writer nor to subscribers.
        bars: gives what tells why an ephemeral event may not be delivered after all, or None if all may be.
        is_heard: tells whether anybody would get an ephemeral event; None: its sender is not told.
        private_kinds: are verified whether they are known or not.
        author_refusal: tells at a time why one more event of its author's is too much; None: it never is.
        is_judged: True if all that is right goes on by the same way, to be judged; else ephemeral events leave here.
    """

    def __init__(
        self,
        store: Store,
        backend: Backend,
        threads: trio.CapacityLimiter,
        most: int,
        requests: Collection[int] = (),
        bars: Bars = lambda: None,
        is_heard: Callable[[Event], bool] | None = None,
        private_kinds: frozenset[int] = PRIVATE_KINDS,
        author_refusal: Callable[[Event, float], Rejected | None] | None = None,
        *,
        is_judged: bool = False,
    ) -> None:
        self._store = store
        self._backend = backend
        self._is_quick = backend.name != "python"
        self._threads = threads
        self._most = most
        self._requests = requests
        self._is_judged = is_judged
        self._private_kinds = private_kinds
        self.author_refusal = author_refusal
        """See above; may change at any time."""
        self._counter = trio.Lock()
        self._pending = 0
        self._last = trio.Event()
        self._last.set()
        self._batches = Histogram(SIZES)
        self._seconds = Histogram(SECONDS)
        self._outcomes: Counter[str] = Counter()
        self.ephemerals = Ephemerals(store, bars, self._outcomes, is_heard)
        """Where ephemeral events leave the way to the writer."""

    def expect(self, events: int) -> None:
        """So many are on their way to this stage, or, below zero, are not after all."""
        self._pending += events

    def pass_nowait(
        self,
        submission: Submission,
        verified: trio.MemorySendChannel[list[Submission]],
        live: trio.MemorySendChannel[list[Submission]],
        *,
        is_lone: bool = False,
    ) -> bool:
        """Verify an event here and now, on the loop, if no other is in this stage; False if it must go the long way.

        Two hops into a thread cost four times the verification. It is one call of some 50 µs, and nothing is overtaken;
        but who has one event alone does not wait for hundreds of others.
        """
        event = submission.event
        is_in_line = self._pending and not (is_lone and self._pending >= _MANY)
        if is_in_line or not self._is_quick or event.kind in self._requests:
            return False
        known = set() if event.kind in self._private_kinds else self._store.known_nowait([event.id])
        if known is None:
            return False
        if known:
            self._duplicate(submission)
        elif not self._backend.verify([event])[0]:
            self._bad(submission)
        elif self.author_refusal is not None and not self._within_rates([submission]):
            pass
        elif self._is_judged or not is_ephemeral(event.kind):
            return sent_nowait(verified, submission)
        else:
            return self.ephemerals.deliver_nowait(submission, live)
        return True

    async def verify_one(self, event: Event) -> bool:
        """True if the signature of an event that goes no further is right."""
        if self._is_quick:
            return self._backend.verify([event])[0]
        (verdict,) = await trio.to_thread.run_sync(
            self._backend.verify, [event], limiter=self._threads, abandon_on_cancel=True
        )
        return verdict

    async def run(
        self,
        intake: BatchSource[list[Submission]],
        verified: trio.MemorySendChannel[list[Submission]],
        live: trio.MemorySendChannel[list[Submission]],
        asked: trio.MemorySendChannel[list[Submission]] | None = None,
    ) -> None:
        """Verify until the intake has ended; the other handles are this task's own and are closed by it."""
        with verified, live, asked or nullcontext():
            batches = Batches(intake, self._most, weight)
            while True:
                # One at a time takes a batch and a number, so that batches leave in the order in which they came: a
                # later version must not overtake an earlier one and its deletion, however long each one's check takes.
                async with self._counter:
                    batch = await anext(batches, None)
                    if batch is None:
                        return
                    before, after = self._last, trio.Event()
                    self._last = after
                valid = self._within_rates(await self._verify(await self._unknown(batch)))
                await before.wait()
                if self._requests and asked is not None:
                    valid = self._ask(valid, asked)
                await self._pass_on(valid, verified, live)
                self._pending -= len(batch)
                after.set()

    async def _unknown(self, batch: list[Submission]) -> list[Submission]:
        """What is new or private; the rest is answered as duplicate, its signature not looked at."""
        private = self._private_kinds
        ids = [submission.event.id for submission in batch if submission.event.kind not in private]
        if not ids:
            return batch
        try:
            known = self._store.known_nowait(ids)
            if known is None:
                known = await self._store.known(ids)
        except StoreError as error:
            # It costs their verification; the writer will find out what is wrong, and tell.
            log.warning("cannot tell known events", error=str(error))
            return batch
        if not known:
            return batch
        fresh = []
        for submission in batch:
            if submission.event.id in known:  # never one of a private kind: the kind is part of what an id is made of
                self._duplicate(submission)
            else:
                fresh.append(submission)
        return fresh

    async def _verify(self, batch: list[Submission]) -> list[Submission]:
        if not batch:
            return batch
        started = trio.current_time()
        events = [submission.event for submission in batch]
        if len(events) <= _MOST_ON_LOOP and self._is_quick:
            verdicts = self._backend.verify(events)
        else:
            # Abandoned when cancelled: a verdict that nobody waits for harms nobody, and pure Python can take a minute.
            verdicts = await trio.to_thread.run_sync(
                self._backend.verify, events, limiter=self._threads, abandon_on_cancel=True
            )
        self._batches.observe(len(batch))
        self._seconds.observe(trio.current_time() - started)
        if all(verdicts):
            return batch
        valid = []
        for one, verdict in zip(batch, verdicts, strict=True):
            if verdict:
                valid.append(one)
            else:
                self._bad(one)
        return valid

    def _within_rates(self, valid: list[Submission]) -> list[Submission]:
        """Those that their authors may publish now; only a good signature shows that they are theirs."""
        if (author_refusal := self.author_refusal) is None:
            return valid
        now, within = trio.current_time(), []
        for submission in valid:
            if submission.is_own or (refusal := author_refusal(submission.event, now)) is None:
                within.append(submission)
            else:
                self._outcomes["rate_limited"] += 1
                submission.reply(submission.event, False, str(refusal))
        return within

    def _duplicate(self, submission: Submission) -> None:
        self._outcomes["duplicate"] += 1
        submission.reply(submission.event, *ANSWERS[Saved.DUPLICATE])

    def _bad(self, submission: Submission) -> None:
        self._outcomes["bad_signature"] += 1
        submission.reply(submission.event, False, str(bad_signature()))

    def _ask(self, valid: list[Submission], asked: trio.MemorySendChannel[list[Submission]]) -> list[Submission]:
        """Requests go on without a wait, and those that find no room come again: they hold up no events."""
        requests = [submission for submission in valid if submission.event.kind in self._requests]
        if not requests:
            return valid
        try:
            asked.send_nowait(requests)
        except trio.WouldBlock:
            for request in requests:
                request.reply(
                    request.event, False, f"{Prefix.RATE_LIMITED}: too many requests to join or to leave; try again"
                )
        return [submission for submission in valid if submission.event.kind not in self._requests]

    async def _pass_on(
        self,
        valid: list[Submission],
        verified: trio.MemorySendChannel[list[Submission]],
        live: trio.MemorySendChannel[list[Submission]],
    ) -> None:
        if not self._is_judged:
            await self.ephemerals.pass_on(valid, verified, live)
        elif valid:
            await verified.send(valid)

    def statistics(self) -> VerifierStatistics:
        """What all runs of this stage have seen together."""
        return VerifierStatistics(self._batches.statistics(), self._seconds.statistics(), dict(self._outcomes))
