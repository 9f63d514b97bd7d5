"""The front desk: `open_relay` starts the stages, and the `Relay` it gives is all that doors and programs talk to.

    readers → intake → verifiers → verified → writers → live → broadcaster → clients

Each arrow is a bounded channel; only the step into the intake makes a client wait. Nothing is asked back, so there is
no circle to lock up. Closing the intake ends the verifiers, they the writers, those the broadcaster, each after its
last batch. Between the first two stands the membership, where there is any: it ends with the verifiers.
"""

from __future__ import annotations

import os
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import structlog
import trio

from trio_relay.nostr.access import Reader
from trio_relay.nostr.auth import check_auth
from trio_relay.nostr.errors import Prefix, Rejected, bad_signature
from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.hyperloglog import Sketch
from trio_relay.nostr.limits import Limits
from trio_relay.nostr.relay_info import document
from trio_relay.nostr.schnorr import open_backend
from trio_relay.nostr.session import Session
from trio_relay.pipeline.broadcaster import Broadcaster
from trio_relay.pipeline.figures import RelayStatistics, channel_statistics
from trio_relay.pipeline.maintenance import Maintenance
from trio_relay.pipeline.membership import Membership
from trio_relay.pipeline.options import RelayOptions
from trio_relay.pipeline.pending_ids import PendingIds
from trio_relay.pipeline.queries import Queries
from trio_relay.pipeline.recipient import FlushCollector
from trio_relay.pipeline.removing import Removals
from trio_relay.pipeline.reports import Reports
from trio_relay.pipeline.stored_answer import StoredAnswer
from trio_relay.pipeline.submission import Submission
from trio_relay.pipeline.subscription import Subscription
from trio_relay.pipeline.sync_sets import Sync, SyncOptions, SyncSets
from trio_relay.pipeline.verifier import Verifier
from trio_relay.pipeline.writer import Writer
from trio_relay.policy.capabilities import capabilities_of, relay_info_of
from trio_relay.policy.event_checks import check_bans, check_event
from trio_relay.policy.filter_checks import check_filters
from trio_relay.policy.identity import MOST_KEYS, Identity
from trio_relay.policy.lists import Change, ListName, as_metadata
from trio_relay.policy.rules import Rules
from trio_relay.store.base import Store, StoreError

log = structlog.get_logger("trio_relay.pipeline")

_WAITING_BATCHES: Final = 2
_WAITING_REQUESTS: Final = 16
_KEEP_SECONDS: Final = 10.0

Batch: TypeAlias = list[Submission]


class Relay:
    """What doors, imports and embedding programs use; made by `open_relay` alone."""

    def __init__(
        self, store: Store, options: RelayOptions, sync: SyncOptions, rules: Rules, clock: Callable[[], float]
    ) -> None:
        self.rules = rules
        """What is asked of events and requests; `amend` changes its lists."""
        self.backend = open_backend(options.signatures)
        self.verifiers = options.verifiers or _cores()
        self._store = store
        self._stranger = Identity(private_kinds=rules.private_kinds)
        self._amending = trio.Lock()
        self._options = options
        self._clock = clock
        self._refused: Counter[str] = Counter()
        self._unreadable = 0
        pending_ids = PendingIds()
        threads = trio.CapacityLimiter(self.verifiers)
        self._membership = Membership(store, rules, self.amend, clock)
        self._verifier = Verifier(
            store, self.backend, threads, options.verify_batch, self._membership.requests, self._bars
        )
        self.flush_collector = FlushCollector()
        """Tells who serves clients over a network whether a stage carries out their flushes."""
        self._reports = Reports(store, rules, clock)
        self._writer = Writer(
            store,
            options.write_batch,
            pending_ids,
            self.flush_collector,
            self._bars,
            options.write_linger_seconds,
            self._reports.note,
        )
        self._broadcaster = Broadcaster(pending_ids, self.flush_collector, clock, rules.private_kinds)
        self._queries = Queries(store, options.query_seconds, pending_ids, rules.limits.max_limit, self._membership)
        self._syncing = SyncSets(store, sync, options.query_seconds, Reader(private_kinds=rules.private_kinds))
        self.removals = Removals(rules, self.remove, self.amend, clock)
        """Has what is banned go from the store."""
        self._upkeep = Maintenance(store, rules, self._syncing, clock, self.removals.learnt)
        self._intake, self._to_verify = trio.open_memory_channel[Batch](options.channel_parcels)
        # What goes on from here are whole batches, so few of them may wait.
        waiting = min(_WAITING_BATCHES, options.channel_parcels)
        self._verified, self._to_write = trio.open_memory_channel[Batch](waiting)
        # Deliveries are the last to be late: one batch beside the one that is being delivered.
        self._live, self._to_deliver = trio.open_memory_channel[Batch](min(1, waiting))

    @property
    def limits(self) -> Limits:
        """What clients are held to."""
        return self.rules.limits

    def now(self) -> int:
        """Seconds since 1970, by the clock that verdicts go by."""
        return int(self._clock())

    def visit(self) -> Identity:
        """Somebody has come."""
        return Identity(secrets.token_hex(16) if self.rules.has_auth else "", private_kinds=self.rules.private_kinds)

    def open_session(self) -> Session:
        """The protocol state of a new connection, held to what this relay can do."""
        rules = self.rules
        return Session(
            rules.limits, has_search=rules.has_search, has_sync=rules.has_sync, and_tags=rules.options.and_tags
        )

    def document(self) -> bytes:
        """The NIP-11 document as it is now."""
        return document(relay_info_of(self.rules), self.rules.limits, capabilities_of(self.rules))

    def start_stages(self, nursery: trio.Nursery) -> None:
        """Start every stage; each ends when its channel does. For `open_relay`."""
        asked = self._membership.asked
        long, to_take_long = trio.open_memory_channel[Batch](_WAITING_REQUESTS)
        with self._to_verify, self._to_write, asked, long:
            for _ in range(self.verifiers):
                nursery.start_soon(
                    self._verifier.run,
                    self._to_verify.clone(),
                    self._verified.clone(),
                    self._live.clone(),
                    asked.clone(),
                )
            for _ in range(self._store.writers):
                nursery.start_soon(self._writer.run, self._to_write.clone(), self._live.clone(), long.clone())
            nursery.start_soon(self._writer.run_long, to_take_long, self._live.clone())
        nursery.start_soon(self._broadcaster.run, self._to_deliver, self._options.write_batch)
        self._membership.start(nursery, self._verified.clone())

    async def recall(self) -> None:
        """Be what was kept. For `open_relay`.

        Raises:
            StoreError: it could not be read.
        """
        kept = await self._store.get_metadata()
        self.rules.recall(kept)
        await self._membership.recall(kept)

    def start_upkeep(self, nursery: trio.Nursery) -> None:
        """Start what goes on in the background. For `open_relay`."""
        self._upkeep.start(nursery)
        self._reports.start(nursery)
        self.removals.start(nursery)

    def close_intake(self) -> None:
        """No more events; what was accepted goes through all stages. For `open_relay`."""
        for channel in (self._intake, self._verified, self._live):
            channel.close()

    def admit(self, event: Event, identity: Identity | None = None, size: int = 0) -> Rejected | None:
        """None if the event may be published, else why not; to be asked of every event before `publish`.

        Args:
            event: of the right shape.
            visitor: who sends it; None: somebody who has not authenticated.
            size: bytes of the message that it came in, if known.
        """
        refusal = check_event(event, identity or self._stranger, self.rules, int(self._clock()), size)
        if refusal is not None:
            self._refused[refusal.prefix] += 1
        return refusal

    def _bars(self) -> Callable[[Event], Rejected | None] | None:
        bans_any = self.rules.has_bans or self.rules.lists.holds_any(ListName.BANNED_EVENTS)
        return self._barred if bans_any else None

    def _barred(self, event: Event) -> Rejected | None:
        return check_bans(event, self.rules, int(self._clock()))

    def admit_filters(self, filters: Sequence[Filter], identity: Identity) -> Rejected | None:
        """None if the visitor may ask these, else why not; to be asked before `subscribe`, `count` and a sync."""
        return check_filters(filters, identity, self.rules, int(self._clock()))

    async def authenticate(self, event: Event, identity: Identity) -> Rejected | None:
        """Add a key to the visitor's if this event proves it (NIP-42); else why it does not."""
        if not self.rules.has_auth:
            return Rejected(Prefix.UNSUPPORTED, "authentication is off on this relay (relay.url)")
        if len(identity.keys) >= MOST_KEYS and event.pubkey not in identity.keys:
            return Rejected(Prefix.RESTRICTED, f"at most {MOST_KEYS} keys on a connection")
        refusal = check_auth(event, identity.challenge, self.rules.relay_url, int(self._clock()))
        if refusal is None and not await self.verify(event):
            refusal = bad_signature()
        if refusal is None:
            identity.keys.add(event.pubkey)
        return refusal

    async def verify(self, event: Event) -> bool:
        """True if the signature is right; one that is asked for outside of the pipeline, as by AUTH."""
        return await self._verifier.verify_one(event)

    async def amend(self, changes: Sequence[Change]) -> None:
        """Change the operators' lists (NIP-86): at once, and for good; what is banned afterwards goes by `remove`.

        Raises:
            StoreError: they could not be kept, and are as they were.
        """
        async with self._amending:  # else what one undoes could be another's
            await self._amend(changes)

    async def _amend(self, changes: Sequence[Change]) -> None:
        undoing = self.rules.amend(changes)
        self.rules.unsettled += 1
        try:
            # To go away in the middle would leave it open what is kept.
            with trio.CancelScope(shield=True, relative_deadline=_KEEP_SECONDS) as patience:
                await self._store.put_metadata(as_metadata(changes))
            if patience.cancelled_caught:
                raise StoreError("the relay's store takes too long")
        except BaseException:
            self.rules.amend(undoing)
            raise
        finally:
            self.rules.unsettled -= 1
            self.rules.revision += 1

    async def remove(self, filters: Sequence[Filter]) -> int:
        """Remove stored events, and all that is on its way now and matches by then; gives how many those were.

        Nothing keeps the same from being published again: that is up to the lists.

        Raises:
            StoreError: it failed; a part may be gone.
        """
        await self._writer.settled()  # what comes to it later is judged by the lists as they are now
        return await self._store.remove(filters)

    def note_unreadable(self) -> None:
        """Count a message that said nothing that could be carried out."""
        self._unreadable += 1

    def publish_nowait(self, submission: Submission) -> bool:
        """Send an admitted event on its way without a wait, where nothing else is; False if it is to be `publish`ed."""
        return self._verifier.pass_nowait(submission, self._verified, self._live)

    async def publish(self, batch: Batch) -> None:
        """Send admitted events on their way, all at once; waits while the pipeline is full.

        Each event's `reply` is called once, now or later; cancelled, none of them is, and none was sent.
        """
        self._verifier.expect(len(batch))
        try:
            await self._intake.send(batch)
        except BaseException:
            self._verifier.expect(-len(batch))
            raise

    def subscribe(self, subscription: Subscription) -> None:
        """Let a subscription have live events from now on; send its `answer` next, and `unsubscribe` it at last."""
        self._broadcaster.add(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Send the subscription nothing more, not even what its query has found already."""
        self._broadcaster.remove(subscription)
        subscription.end()

    def answer(self, subscription: Subscription) -> StoredAnswer:
        """The stored part of a subscribed subscription: to be sent at once where that is cheap, else in a task."""
        return self._queries.answer(subscription)

    async def count(self, filters: Sequence[Filter], identity: Identity | None = None) -> Sketch | int:
        """How many stored events match any of the filters, each once; with a sketch where there is one (NIP-45).

        Raises:
            Rejected: it took too long, or the store could not tell.
        """
        return await self._queries.count(filters, (identity or self._stranger).reader)

    @property
    def sync_options(self) -> SyncOptions:
        """The bounds of syncs."""
        return self._syncing.options

    async def open_sync(self, filter_: Filter, identity: Identity) -> Sync:
        """Compare what is stored and matches with a client's set (NIP-77).

        Raises:
            Rejected: the set is too large, there are too many, or the store could not tell.
        """
        return await self._syncing.open(filter_, identity.reader)

    async def check(self) -> str | None:
        """Why the relay cannot store events now, or None if all is well."""
        return await self._writer.check()

    def statistics(self) -> RelayStatistics:
        """How everything is, as one frozen record."""
        return RelayStatistics(
            signatures=self.backend.name,
            verifiers=self.verifiers,
            refused=dict(self._refused),
            unreadable=self._unreadable,
            channels={
                "intake": channel_statistics(self._intake.statistics()),
                "verified": channel_statistics(self._to_write.statistics()),
                "live": channel_statistics(self._to_deliver.statistics()),
            },
            verifier=self._verifier.statistics(),
            writer=self._writer.statistics(),
            broadcaster=self._broadcaster.statistics(),
            queries=self._queries.statistics(),
            syncing=self._syncing.statistics(),
            store=self._store.statistics(),
        )


@asynccontextmanager
async def open_relay(
    store: Store,
    options: RelayOptions | None = None,
    limits: Limits | None = None,
    *,
    rules: Rules | None = None,
    sync: SyncOptions | None = None,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Relay]:
    """Run the pipeline over a store while the context lasts.

    Leaving it lets what was accepted go through all stages, `drain_seconds` at most. A stage that fails cancels the
    body and comes out of here in an `ExceptionGroup`.

    Args:
        store: must stay open for longer than this context.
        options: how wide the pipeline is.
        limits: what events and requests are held to.
        rules: that, and all else that is asked of them; then `limits` plays no part.
        sync: bounds of syncs; `rules` say whether there are any.
        clock: seconds since 1970.

    Raises:
        ImportError: the signature backend that the options force is not there.
    """
    options = options or RelayOptions()
    relay = Relay(store, options, sync or SyncOptions(), rules or Rules(limits or Limits()), clock)
    await relay.recall()
    async with trio.open_nursery() as upkeep:
        relay.start_upkeep(upkeep)
        async with trio.open_nursery() as stages:
            relay.start_stages(stages)
            try:
                yield relay
            finally:
                relay.close_intake()
                stages.cancel_scope.deadline = trio.current_time() + options.drain_seconds
        upkeep.cancel_scope.cancel()
    if stages.cancel_scope.cancelled_caught:
        log.warning("stopped before all that was accepted was stored", seconds=options.drain_seconds)


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
