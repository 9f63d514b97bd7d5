"""The stages wired up: every channel between them, who starts, and who ends after whom.

    readers → intake → verifiers → verified → writers → live → broadcaster → recipients
                            └→ right → judging ┘   (where there is a judge)

Each arrow is a bounded channel; only the step into the intake makes a client wait. Nothing is asked back, so there is
no circle to lock up. Closing the intake ends the verifiers, they the writers, those the broadcaster, each after its
last batch. Beside the writers stands the join stage, where there is membership: it ends with the verifiers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Final

import trio

from trio_relay.nostr.errors import Rejected
from trio_relay.nostr.event import Event
from trio_relay.nostr.kinds import REPORT
from trio_relay.nostr.schnorr import open_backend
from trio_relay.pipeline.broadcaster import Broadcaster
from trio_relay.pipeline.fair_channel import FairChannel
from trio_relay.pipeline.filter_room import FilterRoom
from trio_relay.pipeline.join_stage import JoinStage
from trio_relay.pipeline.judging import Judging
from trio_relay.pipeline.options import RelayOptions
from trio_relay.pipeline.pending_ids import PendingIds
from trio_relay.pipeline.recipient import FlushCollector
from trio_relay.pipeline.statistics import ChannelStatistics
from trio_relay.pipeline.submission import Bars, Submission
from trio_relay.pipeline.verifier import Verifier
from trio_relay.pipeline.writer import Writer
from trio_relay.plugins.judges import Judges
from trio_relay.policy.event_checks import oldest_taken
from trio_relay.policy.rules import Rules
from trio_relay.store.base import Store

_WAITING_BATCHES: Final = 2
_WAITING_REQUESTS: Final = 16


class Stages:
    """Verifiers, writers and the broadcaster, and what lies between them.

    Args:
        store: what is written to.
        options: how wide the pipeline is.
        bars: gives what tells why an event that was admitted is not to be stored or delivered after all.
        join_stage: takes what is asked of the relay itself.
        note_reports: told of reports that were stored, and by their ids whose they are; sync.
        clock: seconds since 1970.
        rules: as they stand.
        judges: who is asked about events, if anybody.
        author_refusal: tells at a time why one more event of its author's is too much; None: it never is.

    Raises:
        ImportError: the signature backend that the options force is not there.
    """

    def __init__(
        self,
        store: Store,
        options: RelayOptions,
        bars: Bars,
        join_stage: JoinStage,
        note_reports: Callable[[Sequence[Event], Mapping[str, str | None]], None],
        clock: Callable[[], float],
        rules: Rules,
        judges: Judges,
        author_refusal: Callable[[Event, float], Rejected | None] | None = None,
    ) -> None:
        self.backend = open_backend(options.signatures)
        self.width = options.verifiers or cores()
        """Batches that are verified at a time."""
        self.pending_ids = PendingIds()
        self.flush_collector = FlushCollector()
        self.filter_room = FilterRoom(rules.limits)
        """For the filters of all that clients have open."""
        self.broadcaster = Broadcaster(
            self.pending_ids,
            self.flush_collector,
            clock,
            rules.private_kinds,
            self.filter_room,
            lambda: oldest_taken(rules.limits, int(clock())),
        )
        self.verifier = Verifier(
            store,
            self.backend,
            trio.CapacityLimiter(self.width),
            options.verify_batch,
            join_stage.kinds,
            bars,
            self.broadcaster.is_heard if options.mute_unheard else None,
            rules.private_kinds,
            author_refusal,
            is_judged=judges.events is not None,
        )
        self.judging = Judging(judges, store, rules, self.verifier.ephemerals)
        self.writer = Writer(
            store,
            options.write_batch,
            self.pending_ids,
            self.flush_collector,
            bars,
            options.write_linger_seconds,
            self._note_stored,
        )
        self._rules = rules
        self._join_stage = join_stage
        self._note_reports = note_reports
        self._writers = store.writers
        self._deliver_batch = options.write_batch
        self._intake: FairChannel[list[Submission]] = FairChannel(options.channel_parcels)
        # What goes on from here are whole batches, so few of them may wait.
        waiting = min(_WAITING_BATCHES, options.channel_parcels)
        self._verified, self._to_write = trio.open_memory_channel[list[Submission]](waiting)
        # As few: what is right may wait in front of a judge, who may be slow.
        self._right, self._to_judge = trio.open_memory_channel[list[Submission]](waiting)
        self._onward = self._verified if judges.events is None else self._right
        """Where verifiers put what is right."""
        # Deliveries are the last to be late: one batch beside the one that is being delivered.
        self._live, self._to_deliver = trio.open_memory_channel[list[Submission]](min(1, waiting))

    def take_options(
        self, options: RelayOptions, author_refusal: Callable[[Event, float], Rejected | None] | None
    ) -> None:
        """Go by other options from now on, and by the rules as they have become.

        Args:
            options: widths of stages and channels play no part: those are what they were made.
            author_refusal: see `Verifier`.
        """
        self.filter_room.take_limits(self._rules.limits)
        self.verifier.author_refusal = author_refusal
        self.verifier.ephemerals.is_heard = self.broadcaster.is_heard if options.mute_unheard else None

    def start(self, nursery: trio.Nursery) -> None:
        """Start every stage; each ends when its channel does."""
        asked = self._join_stage.asked
        long, to_take_long = trio.open_memory_channel[list[Submission]](_WAITING_REQUESTS)
        with self._to_write, self._to_judge, asked, long:
            if self._onward is self._right:
                nursery.start_soon(self.judging.run, self._to_judge.clone(), self._verified.clone(), self._live.clone())
            for _ in range(self.width):
                nursery.start_soon(
                    self.verifier.run,
                    self._intake,
                    self._onward.clone(),
                    self._live.clone(),
                    asked.clone(),
                )
            for _ in range(self._writers):
                nursery.start_soon(self.writer.run, self._to_write.clone(), self._live.clone(), long.clone())
            nursery.start_soon(self.writer.run_long, to_take_long, self._live.clone())
        nursery.start_soon(self.broadcaster.run, self._to_deliver, self._deliver_batch)
        self._join_stage.start(nursery, self._verified.clone())

    def way_to_subscribers(self) -> trio.MemorySendChannel[list[Submission]]:
        """One more handle of the broadcaster's channel; its owner closes it before the broadcaster can end."""
        return self._live.clone()

    def close_intake(self) -> None:
        """Take no more events; what was accepted goes through all stages."""
        for channel in (self._intake, self._right, self._verified, self._live):
            channel.close()

    def publish_nowait(self, submission: Submission, *, is_lone: bool = False) -> bool:
        """Send an event on its way without a wait; False if it is to be `publish`ed, see `Verifier.pass_nowait`."""
        return self.verifier.pass_nowait(submission, self._onward, self._live, is_lone=is_lone)

    async def publish(self, batch: list[Submission], holder: Hashable = None) -> None:
        """Send events on their way, all at once; waits while the intake is full, in batches or in bytes.

        Each holder has its turn.
        """
        self.verifier.expect(len(batch))
        try:
            await self._intake.send(batch, holder, sum(submission.size for submission in batch))
        except BaseException:
            self.verifier.expect(-len(batch))
            raise

    def _note_stored(self, stored: Sequence[Submission]) -> None:
        reports = [one for one in stored if one.event.kind == REPORT and not one.is_own]
        if reports:
            self._note_reports([one.event for one in reports], {one.event.id: one.origin for one in reports})

    def channels(self) -> dict[str, ChannelStatistics]:
        """How full each channel is, by the name of its sending end."""
        return {
            "intake": self._intake.statistics(),
            "verified": _channel(self._to_write.statistics()),
            "live": _channel(self._to_deliver.statistics()),
        }


def _channel(now: trio.MemoryChannelStatistics) -> ChannelStatistics:
    return ChannelStatistics(now.current_buffer_used, now.peak_buffer_used, now.max_buffer_size)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
