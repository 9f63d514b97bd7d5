"""The front desk: `open_relay` starts the stages, and the `Relay` it gives is all that doors and programs talk to.

    readers → intake → verifiers → verified → writers → live → broadcaster → outboxes

Each arrow is a bounded channel; only the step into the intake makes a client wait. Nothing is asked back, so there is
no circle to lock up. Closing the intake ends the verifiers, they the writers, those the broadcaster, each after its
last batch.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
import structlog
import trio
from msgspec import Meta

from trio_relay.nostr.errors import Rejected
from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.limits import Limits
from trio_relay.nostr.schnorr import BackendName, open_backend
from trio_relay.pipeline.broadcaster import Broadcaster, BroadcasterStatistics
from trio_relay.pipeline.post import Post
from trio_relay.pipeline.queries import Queries, QueriesStatistics
from trio_relay.pipeline.submission import Submission
from trio_relay.pipeline.subscription import Subscription
from trio_relay.pipeline.verifier import Verifier, VerifierStatistics
from trio_relay.pipeline.writer import Writer, WriterStatistics
from trio_relay.policy import check_event
from trio_relay.store.base import Store, StoreStatistics

log = structlog.get_logger("trio_relay.pipeline")

_WAITING_BATCHES: Final = 2

Parcels: TypeAlias = list[Submission]


class RelayOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How wide the pipeline is."""

    signatures: Annotated[
        Literal["auto", "batch", "coincurve", "python"],
        Meta(
            description=(
                "How signatures are verified: one native call a batch, coincurve one by one, pure Python (some 75 ms"
                " each), or the first of these that works."
            )
        ),
    ] = "auto"
    verifiers: Annotated[
        int,
        Meta(
            ge=0,
            le=256,
            description="Threads that verify; 0 is one for each core.",
            extra={"unit": "threads"},
        ),
    ] = 0
    verify_batch: Annotated[
        int, Meta(ge=1, description="Most signatures of one native call.", extra={"unit": "events"})
    ] = 256
    write_batch: Annotated[int, Meta(ge=1, description="Most events of one commit.", extra={"unit": "events"})] = 1_000
    write_linger_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=10,
            description="How long a batch waits for company before it is written, unless it is full.",
            extra={"unit": "seconds"},
        ),
    ] = 0.0
    channel_parcels: Annotated[
        int,
        Meta(
            ge=0,
            description="What may wait to be verified; a parcel is what one read of one client brought.",
            extra={"unit": "parcels"},
        ),
    ] = 64
    query_seconds: Annotated[
        float,
        Meta(gt=0, description="What each page of a stored query, or a count, may take.", extra={"unit": "seconds"}),
    ] = 10.0
    drain_seconds: Annotated[
        float,
        Meta(
            ge=0,
            description="When stopping: time for the pipeline to store what was accepted, once all clients left.",
            extra={"unit": "seconds"},
        ),
    ] = 10.0


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """How full a channel is, in parcels: now, at most so far, and its capacity."""

    depth: int
    peak: int
    capacity: float


@dataclass(frozen=True, slots=True)
class RelayStatistics:
    """How all stages are."""

    signatures: BackendName
    verifiers: int
    refused: dict[str, int]
    unreadable: int
    channels: dict[str, ChannelStatistics]
    verifier: VerifierStatistics
    writer: WriterStatistics
    broadcaster: BroadcasterStatistics
    queries: QueriesStatistics
    store: StoreStatistics


class Relay:
    """What doors, imports and embedding programs use; made by `open_relay` alone."""

    def __init__(
        self, store: Store, options: RelayOptions, limits: Limits, clock: Callable[[], float], *, has_search: bool
    ) -> None:
        self.limits = limits
        self.has_search = has_search
        self.backend = open_backend(options.signatures)
        self.verifiers = options.verifiers or _cores()
        self._store = store
        self._options = options
        self._clock = clock
        self._refused: Counter[str] = Counter()
        self._unreadable = 0
        unbroadcast: set[str] = set()
        threads = trio.CapacityLimiter(self.verifiers)
        self._verifier = Verifier(store, self.backend, threads, options.verify_batch)
        self.post = Post()
        """Has what waits for clients sent; outboxes of clients that are told need it."""
        self._writer = Writer(store, options.write_batch, unbroadcast, self.post, options.write_linger_seconds)
        self._broadcaster = Broadcaster(unbroadcast, self.post)
        self._queries = Queries(store, options.query_seconds, unbroadcast)
        self._intake, self._to_verify = trio.open_memory_channel[Parcels](options.channel_parcels)
        # What goes on from here are whole batches, so few of them may wait.
        waiting = min(_WAITING_BATCHES, options.channel_parcels)
        self._verified, self._to_write = trio.open_memory_channel[Parcels](waiting)
        # Deliveries are the last to be late: one batch beside the one that is being delivered.
        self._live, self._to_deliver = trio.open_memory_channel[Parcels](min(1, waiting))

    def start_stages(self, nursery: trio.Nursery) -> None:
        """Start every stage; each ends when its channel does. For `open_relay`."""
        with self._to_verify, self._to_write:
            for _ in range(self.verifiers):
                nursery.start_soon(
                    self._verifier.run, self._to_verify.clone(), self._verified.clone(), self._live.clone()
                )
            for _ in range(self._store.writers):
                nursery.start_soon(self._writer.run, self._to_write.clone(), self._live.clone())
        nursery.start_soon(self._broadcaster.run, self._to_deliver, self._options.write_batch)

    def close_intake(self) -> None:
        """No more events; what was accepted goes through all stages. For `open_relay`."""
        for channel in (self._intake, self._verified, self._live):
            channel.close()

    def admit(self, event: Event) -> Rejected | None:
        """None if the event may be published, else why not; to be asked of every event before `publish`."""
        refusal = check_event(event, self.limits, int(self._clock()))
        if refusal is not None:
            self._refused[refusal.prefix] += 1
        return refusal

    def note_unreadable(self) -> None:
        """Count a message that said nothing that could be carried out."""
        self._unreadable += 1

    def publish_nowait(self, one: Submission) -> bool:
        """Send an admitted event on its way without a wait, where nothing else is; False if it is to be `publish`ed."""
        return self._verifier.pass_nowait(one, self._verified, self._live)

    async def publish(self, parcel: Parcels) -> None:
        """Send admitted events on their way, all at once; waits while the pipeline is full.

        Each event's `reply` is called once, now or later; cancelled, none of them is, and none was sent.
        """
        self._verifier.expect(len(parcel))
        try:
            await self._intake.send(parcel)
        except BaseException:
            self._verifier.expect(-len(parcel))
            raise

    def subscribe(self, subscription: Subscription) -> None:
        """Let a subscription have live events from now on; `answer` it next, and `unsubscribe` it at last."""
        self._broadcaster.add(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Send the subscription nothing more, not even what its query has found already."""
        self._broadcaster.remove(subscription)
        subscription.end()

    def answer_nowait(self, subscription: Subscription) -> bool:
        """Answer a subscribed subscription here and now; False if that would take too long: then `answer` it."""
        return self._queries.answer_nowait(subscription)

    async def answer(self, subscription: Subscription) -> bool:
        """Send a subscribed subscription what is stored, then EOSE; or CLOSED, giving False."""
        return await self._queries.answer(subscription)

    async def count(self, filters: Sequence[Filter]) -> int:
        """How many stored events match any of the filters, each once (NIP-45).

        Raises:
            Rejected: it took too long, or the store could not tell.
        """
        return await self._queries.count(filters)

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
                "intake": _channel(self._intake.statistics()),
                "verified": _channel(self._to_write.statistics()),
                "live": _channel(self._to_deliver.statistics()),
            },
            verifier=self._verifier.statistics(),
            writer=self._writer.statistics(),
            broadcaster=self._broadcaster.statistics(),
            queries=self._queries.statistics(),
            store=self._store.statistics(),
        )


@asynccontextmanager
async def open_relay(
    store: Store,
    options: RelayOptions | None = None,
    limits: Limits | None = None,
    *,
    has_search: bool = True,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Relay]:
    """Run the pipeline over a store while the context lasts.

    Leaving it lets what was accepted go through all stages, `drain_seconds` at most. A stage that fails cancels the
    body and comes out of here in an `ExceptionGroup`.

    Args:
        store: must stay open for longer than this context.
        options: how wide the pipeline is.
        limits: what events and requests are held to.
        has_search: False: the doors are to refuse filters that search for words.
        clock: seconds since 1970.

    Raises:
        ImportError: the signature backend that the options force is not there.
    """
    options = options or RelayOptions()
    relay = Relay(store, options, limits or Limits(), clock, has_search=has_search)
    async with trio.open_nursery() as posting:
        posting.start_soon(relay.post.run)
        async with trio.open_nursery() as stages:
            relay.start_stages(stages)
            try:
                yield relay
            finally:
                relay.close_intake()
                stages.cancel_scope.deadline = trio.current_time() + options.drain_seconds
        posting.cancel_scope.cancel()
    if stages.cancel_scope.cancelled_caught:
        log.warning("stopped before all that was accepted was stored", seconds=options.drain_seconds)


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _channel(now: trio.MemoryChannelStatistics) -> ChannelStatistics:
    return ChannelStatistics(now.current_buffer_used, now.peak_buffer_used, now.max_buffer_size)
