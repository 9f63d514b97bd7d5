"""The relay as connections, imports and embedding programs see it: `Relay` has the verbs, `opening` starts it.

It decides nothing itself: verdicts are given by `admission`, operators' state is `moderation`'s, events go through
`stages`, and what is stored is answered by `queries` and `sync_sets`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import trio

from trio_relay.moderation.followed import Owner
from trio_relay.moderation.wiring import Moderation
from trio_relay.nostr.access import Reader
from trio_relay.nostr.errors import Rejected
from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.hyperloglog import Sketch
from trio_relay.nostr.kinds import kind_label
from trio_relay.nostr.limits import Limits
from trio_relay.nostr.relay_info import document
from trio_relay.pipeline.admission import Admission
from trio_relay.pipeline.audience import LiveAudience
from trio_relay.pipeline.explaining import Explaining
from trio_relay.pipeline.filter_room import FilterRoom
from trio_relay.pipeline.join_stage import JoinStage
from trio_relay.pipeline.maintenance import Maintenance
from trio_relay.pipeline.operator_reads import OperatorReads
from trio_relay.pipeline.options import RelayOptions, SyncOptions
from trio_relay.pipeline.queries import Queries
from trio_relay.pipeline.query_turns import QueryTurns
from trio_relay.pipeline.recipient import FlushCollector
from trio_relay.pipeline.retention_rounds import RetentionRounds
from trio_relay.pipeline.slow_requests import SlowRequests
from trio_relay.pipeline.stages import Stages, cores
from trio_relay.pipeline.statistics import Neighbours, RelayStatistics
from trio_relay.pipeline.store_upkeep import StoreUpkeep
from trio_relay.pipeline.stored_answer import StoredAnswer
from trio_relay.pipeline.submission import Submission
from trio_relay.pipeline.subscription import Subscription
from trio_relay.pipeline.sync_sets import Sync, SyncSets
from trio_relay.plugins.judges import NO_JUDGES, Judges
from trio_relay.policy.accounts import Rates
from trio_relay.policy.capabilities import capabilities_of, relay_info_of
from trio_relay.policy.identity import Identity
from trio_relay.policy.rates import BucketTable
from trio_relay.policy.rules import Rules
from trio_relay.scoreboard import Scoreboard
from trio_relay.store.base import Page, Store

T = TypeVar("T")


class Relay:
    """The relay's verbs; made by `open_relay` alone."""

    def __init__(
        self,
        store: Store,
        options: RelayOptions,
        sync: SyncOptions,
        rules: Rules,
        clock: Callable[[], float],
        scoreboard: Scoreboard | None = None,
        owner: Owner | None = None,
        judges: Judges = NO_JUDGES,
    ) -> None:
        self.judges = judges
        """Plugins and hooks."""
        self.rules = rules
        """What is asked of events and requests."""
        self.moderation = Moderation(store, rules, self.remove, clock, owner)
        """What operators decide at run time; its state alone changes the lists of the rules."""
        self.admission = Admission(rules, clock)
        """Verdicts on what clients send and ask."""
        table = (
            BucketTable(scoreboard.buckets, scoreboard.key)
            if scoreboard is not None and len(scoreboard.buckets)
            else None
        )
        self.rates = Rates(rules.rates, lambda key: key in rules.admins, table)
        """How much anybody may do in a time."""
        self.neighbours: Neighbours | None = None
        """Mirrors, where they run in this process; set by `peers.mirrors`, which is built upon this."""
        self.drain_seconds = options.drain_seconds
        """When it ends: for what was accepted to be stored."""
        self._store = store
        self._clock = clock
        self._unreadable = 0
        join_stage = JoinStage(self.moderation.join_requests, self.moderation.announcements)
        self.stages = Stages(
            store,
            options,
            self.admission.bars,
            join_stage,
            self.moderation.note_reports,
            clock,
            rules,
            judges,
            self.rates.author_refusal if self.rates.limits_authors else None,
        )
        """Where events go through. For `open_relay`, and to look at."""
        self._turns = QueryTurns(
            store.readers,
            options.query_seconds,
            options.query_wait_seconds,
            cores=None if store.is_shared else cores(),  # what others share is asked over a network
        )
        self.operator_reads = OperatorReads(store, self._turns)
        """What those read who manage the relay: past the gate, so it is for them alone."""
        self.retention = RetentionRounds(store, rules, clock, self.moderation.trust_known)
        """Forgets what the rules let go, where this process does that."""
        self.upkeep = StoreUpkeep(store, self.remove, self.stages.backend.verify, self.retention)
        """Looks after the store for operators, for whom alone it is, too."""
        self._queries = Queries(
            store,
            self._turns,
            self.stages.pending_ids,
            rules.limits.max_limit,
            hints=rules.info.eose_hints,
            unstored=join_stage if join_stage.kinds else None,
            now=self.now,
        )
        nobody = Reader(private_kinds=rules.private_kinds)
        self.explaining = Explaining(
            rules, store, clock, options.query_seconds, self.verify, self.next_sweep, self.next_retention
        )
        """Answers operators who ask why."""
        self._sync_sets = SyncSets(store, sync, self._turns, nobody, scoreboard)
        self._maintenance = Maintenance(store, self.moderation.state, self.moderation.removals, self._sync_sets)
        self._audience = LiveAudience(
            self.stages.pending_ids,
            self.stages.way_to_subscribers(),
            self.admission.bars,
            self._maintenance.learn_soon,
            self._sync_sets.forget_all,
            lambda: self.stages.broadcaster.subscriptions,
        )

    def take_options(self, options: RelayOptions, sync: SyncOptions, rules: Rules) -> None:
        """Go by another configuration from now on; sync. Who serves clients has to tell those that are here.

        Args:
            options: of the pipeline; what makes its stages plays no part.
            sync: bounds of syncs.
            rules: nobody else goes by them; what operators have decided stays.
        """
        own, retention = self.rules, self.rules.retention
        own.go_by(rules)
        self.rates.take_options(own.rates)
        self.stages.take_options(options, self.rates.author_refusal if self.rates.limits_authors else None)
        self._turns.take_seconds(options.query_seconds, options.query_wait_seconds)
        self.explaining.seconds, self.drain_seconds = options.query_seconds, options.drain_seconds
        self._queries.take_options(own.limits.max_limit, hints=own.info.eose_hints)
        self._sync_sets.take_options(sync)
        self.moderation.look_again()
        self._maintenance.look_again()
        self.retention.look_again()
        if own.retention is not retention:
            self.retention.begin_anew()

    @property
    def flush_collector(self) -> FlushCollector:
        """Tells who serves clients over a network whether a stage carries out their flushes."""
        return self.stages.flush_collector

    @property
    def limits(self) -> Limits:
        """What clients are held to."""
        return self.rules.limits

    def now(self) -> int:
        """Seconds since 1970, by the clock that verdicts go by."""
        return int(self._clock())

    def document(self) -> bytes:
        """The NIP-11 document as it is now."""
        return document(relay_info_of(self.rules), self.rules.limits, capabilities_of(self.rules))

    def start_background(self, nursery: trio.Nursery) -> None:
        """Start what goes on beside the stages, and longer than they. For `open_relay`."""
        self.moderation.start(nursery)
        nursery.start_soon(self._maintenance.run if self.moderation.is_owner else self._maintenance.forget)
        if self.moderation.is_owner:
            nursery.start_soon(self.retention.run)
        nursery.start_soon(self.stages.broadcaster.enter)
        self._store.hear(self._audience)

    def close_intake(self) -> None:
        """Take no more events, from clients or from others; what was accepted goes on. For `open_relay`."""
        self._store.hear(None)
        self._audience.leave()
        self.stages.close_intake()

    async def authenticate(self, event: Event, identity: Identity) -> Rejected | None:
        """Add a key to a client's identity if this event proves it (NIP-42); else why it does not."""
        return await self.admission.authenticate(event, identity, self.verify)

    async def verify(self, event: Event) -> bool:
        """True if the signature is right; one that is asked for outside of the pipeline, as by AUTH."""
        return await self.stages.verifier.verify_one(event)

    async def remove(self, filters: Sequence[Filter]) -> int:
        """Remove stored events, and all that is on its way now and matches by then; gives how many those were.

        Nothing keeps the same from being published again: that is up to the lists.

        Raises:
            StoreError: it failed; a part may be gone.
        """
        await self.stages.writer.settled()  # what comes to it later is judged by the lists as they are now
        return await self._store.remove(filters)

    def note_unreadable(self) -> None:
        """Count a message that said nothing that could be carried out."""
        self._unreadable += 1

    def publish_nowait(self, submission: Submission, *, is_lone: bool = False) -> bool:
        """Send an admitted event on its way without a wait; False if it is to be `publish`ed.

        Args:
            submission: the event; no other is being verified, or many are.
            is_lone: True if its sender has no other under way: it may overtake those of others.
        """
        return self.stages.publish_nowait(submission, is_lone=is_lone)

    async def publish(self, batch: list[Submission], identity: Identity | None = None) -> None:
        """Send admitted events on their way, all at once; waits while the pipeline is full.

        Those who wait have turns by address, or by connection where there is none; all without identity are one.
        Each event's `reply` is called once, now or later; cancelled, none of them is, and none was sent.
        """
        await self.stages.publish(batch, identity and identity.holder)

    @property
    def filter_room(self) -> FilterRoom:
        """Room for the filters of all clients: `subscribe` takes it; whoever counts or syncs for a client does, too."""
        return self.stages.filter_room

    def subscribe(self, subscription: Subscription) -> Rejected | None:
        """Let a subscription have live events from now on; send its `answer` next, and `unsubscribe` it at last.

        Returns:
            Why there is no room for it, if there is none: then it is over.
        """
        return self.stages.broadcaster.add(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Send the subscription nothing more, not even what its query has found already."""
        self.stages.broadcaster.remove(subscription)
        subscription.end()

    def answer(self, subscription: Subscription, identity: Identity | None = None) -> StoredAnswer:
        """The stored part of a subscribed subscription: to be sent at once where that is cheap, else in a task.

        Its steps have turns by the address and the keys of who asks; without an identity they are charged to nobody.
        """
        return self._queries.answer(subscription, identity)

    @property
    def slow_requests(self) -> SlowRequests:
        """REQs and COUNTs that were slow of late."""
        return self._queries.slow

    async def count(self, filters: Sequence[Filter], identity: Identity | None = None) -> Sketch | int:
        """How many stored events match any of the filters, each once; with a sketch where there is one (NIP-45).

        Raises:
            Rejected: it took too long, got no turn, or the store could not tell.
        """
        return await self._queries.count(filters, (identity or self.admission.stranger).reader, identity)

    async def find(self, filters: tuple[Filter, ...], identity: Identity) -> Page:
        """The stored events that match any of the filters, whole, for what is shown as a page.

        It is admitted, judged, given its turns and charged as a REQ of this client would be.

        Args:
            filters: each with a limit of a few hundred at most.
            identity: who asks.

        Returns:
            Events as JSON, in the order of the answer; may be empty.

        Raises:
            Rejected: the client may not ask that, asks too much, or the store could not tell.
        """
        now = trio.current_time()
        refusal = self.admission.admit_filters(filters, identity) or identity.account.refusal("REQ", now)
        if refusal is not None:
            raise refusal
        if self.judges.filters is not None:
            most = sum(filter_.limit or 0 for filter_ in filters)
            filters = tuple(one.with_limit(default=most, most=most) for one in await self.judged(filters, identity))
        return await self._queries.find(filters, identity)

    async def judged(self, filters: tuple[Filter, ...], identity: Identity) -> tuple[Filter, ...]:
        """What a client may ask in the stead of this, which the rules allow; for where `judges.filters` is there.

        Raises:
            Rejected: it may not ask that.
        """
        return await self.stages.judging.judged(filters, identity)

    async def count_stored(self) -> int | None:
        """How many events are stored, whoever may read them; None where the store cannot tell now."""
        try:
            return (await self.explaining.holdings()).events
        except Rejected:
            return None

    def stored(self) -> AsyncGenerator[Page, None]:
        """Yield all that is stored, whoever may read it, in the order in which it came: for operators alone.

        Raises:
            StoreError: from a step, when the store could not answer.
        """
        return self._store.scan()

    async def in_turn(self, identity: Identity, work: Callable[[], Awaitable[T]]) -> T:
        """Do what is long, though it asks nothing of the store, in a turn as if it did.

        Raises:
            Rejected: it got no turn.
        """
        return await self._turns.run(identity, work)

    @property
    def sync_options(self) -> SyncOptions:
        """The bounds of syncs."""
        return self._sync_sets.options

    async def open_sync(self, filter_: Filter, identity: Identity) -> Sync:
        """Compare what is stored and matches with a client's set (NIP-77).

        Raises:
            Rejected: the set is too large, there are too many, or the store could not tell.
        """
        return await self._sync_sets.open(filter_, identity.reader, identity)

    async def check(self) -> str | None:
        """Why the relay cannot store events now, or None if all is well."""
        return await self.stages.writer.check()

    def degraded(self) -> str | None:
        """What is worse than it should be while all is stored, or None: what others store may come later."""
        found = self._store.statistics().degraded or self.judges.degraded()
        return found or (None if self.neighbours is None else self.neighbours.degraded())

    def next_sweep(self) -> int | None:
        """When what has expired is removed next, in seconds since 1970; None where another process does that."""
        left = self._maintenance.seconds_left
        return None if left is None else int(self._clock() + left)

    def next_retention(self) -> int | None:
        """When what the rules of retention let go is forgotten next; None if nothing ever is, or not here."""
        left = self.retention.seconds_left
        return None if left is None else int(self._clock() + left)

    def statistics(self) -> RelayStatistics:
        """How everything is, as one frozen record."""
        stages = self.stages
        return RelayStatistics(
            signatures=stages.backend.name,
            verifiers=stages.width,
            received=_by_label(self.admission.received),
            refused=dict(self.admission.refused),
            unreadable=self._unreadable,
            channels=stages.channels(),
            verifier=stages.verifier.statistics(),
            writer=stages.writer.statistics(),
            broadcaster=stages.broadcaster.statistics(),
            queries=self._queries.statistics(),
            turns=self._turns.statistics(),
            syncing=self._sync_sets.statistics(),
            judging=stages.judging.statistics(),
            retention=self.retention.statistics(),
            store=self._store.statistics(),
            mirrors={} if self.neighbours is None else self.neighbours.statistics(),
        )


def _by_label(kinds: Mapping[int, int]) -> dict[str, int]:
    labelled: Counter[str] = Counter()
    for kind, number in kinds.items():
        labelled[kind_label(kind)] += number
    return dict(labelled)
