"""The store in an index of a cluster, which other relays may write, too."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from typing import Final

import structlog
import trio
from msgspec.structs import replace

from trio_relay.bus import Bus
from trio_relay.nostr.access import NOBODY, Reader
from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.hyperloglog import Sketch
from trio_relay.nostr.ranking import mute_kinds
from trio_relay.nostr.trends import Trends
from trio_relay.store.archive import NOTHING_KEPT, Archived, Archiving, Departure
from trio_relay.store.base import (
    Audience,
    Listener,
    Page,
    Saved,
    SharingStatistics,
    StoreError,
    StoreStatistics,
)
from trio_relay.store.insight import Explanation, Holdings, PlanStep
from trio_relay.store.inspection import Compacted, Inspected, MoveOut, Space, Verify
from trio_relay.store.opensearch.aggregates import compact, kinds_of, space, tally, trends
from trio_relay.store.opensearch.archive import ArchiveIndex
from trio_relay.store.opensearch.bulk import Bulk
from trio_relay.store.opensearch.cas import Records
from trio_relay.store.opensearch.clear import Clearing
from trio_relay.store.opensearch.client import OpenSearchClient
from trio_relay.store.opensearch.comparing import Mended, inspect, mend
from trio_relay.store.opensearch.documents import Document
from trio_relay.store.opensearch.exchange import Exchange
from trio_relay.store.opensearch.following import Follower
from trio_relay.store.opensearch.mapping import alias_of
from trio_relay.store.opensearch.options import OpenSearchOptions
from trio_relay.store.opensearch.others import WAYS, Others
from trio_relay.store.opensearch.pages import newest_first
from trio_relay.store.opensearch.query import AN_EVENT, Query, expired
from trio_relay.store.opensearch.refresh import Refresher
from trio_relay.store.opensearch.remembered import Written
from trio_relay.store.opensearch.save import Saver
from trio_relay.store.opensearch.scan import scan, survey
from trio_relay.store.opensearch.search import Searcher
from trio_relay.store.opensearch.tombstones import CrossedDeletions, Tombstones
from trio_relay.store.opensearch.upgrade import look
from trio_relay.store.opensearch.values import KeptValues
from trio_relay.store.surveyed import NO_KINDS, Surveyed

MOST_RECENT_BYTES: Final = 64 * 2**20
_PROBE: Final = "probe"
_WATCH_SECONDS: Final = 5

log = structlog.get_logger("trio_relay.store")


class OpenSearchStore:
    """A `Store` over one alias; made by `open_opensearch`."""

    is_shared = True
    has_all_words = True

    def __init__(
        self,
        client: OpenSearchClient,
        options: OpenSearchOptions,
        clock: Callable[[], float],
        nanoseconds: Callable[[], int] | None = None,
        bus: Bus | None = None,
        archiving: Archiving = NOTHING_KEPT,
    ) -> None:
        alias = alias_of(options)
        self._client = client
        self._options = options
        self._alias = alias
        self._clock = clock
        self._vanished = Tombstones(client, alias)
        self._others = Others(self._learn, self._decided)
        self._overlay = self._others.overlay
        self._bulk = Bulk(client, alias, options.bulk_bytes, options.retry_seconds)
        self._refresher = Refresher(client, alias, self._overlay, options.refresh_seconds)
        self._records = Records(client, self._bulk, alias, self._others, options.retry_seconds, nanoseconds)
        self._values = KeptValues(client, alias, self._bulk, self._records, self._others)
        self._archive = ArchiveIndex(client, options, archiving, self._records, clock)
        self._clearing = Clearing(client, self._bulk, alias, self._records, self._refresher, self._archive)
        self._saver = Saver(self._bulk, self._records, self._others, self._vanished, self._clearing, self._archive)
        self._crossed_deletions = CrossedDeletions(
            client, alias, self._records, self._vanished, self._clearing, self._archive
        )
        self._searcher = Searcher(client, alias, clock, self._others.meet)
        self._follower = Follower(client, alias, self._refresher, self._others, options.refresh_seconds, nanoseconds)
        self._exchange: Exchange | None = None
        if bus is not None:
            self._exchange = Exchange(bus, self._others, self._follower, nanoseconds)
            self._others.teller = self._exchange.tell
        self._away: str | None = None

    @property
    def description(self) -> str:
        return f"opensearch {self._alias} at {', '.join(self._options.urls)} (durability={self._options.durability})"

    @property
    def writers(self) -> int:
        return self._options.writers

    @property
    def readers(self) -> int:
        return self._options.readers

    async def save_many(self, events: Sequence[Event]) -> list[Saved]:
        waiting = max(len(self._overlay) / self._options.recent_events, self._overlay.bytes / MOST_RECENT_BYTES)
        if waiting >= 1:
            self._refresher.hurry()
        if waiting >= 2:
            await self.refresh()
        return await self._saver.save(events)

    async def known(self, ids: Sequence[str]) -> set[str]:
        await trio.lowlevel.checkpoint()
        return self.known_nowait(ids)

    def known_nowait(self, ids: Sequence[str]) -> set[str]:
        # Asking the cluster would cost each new event more than it saves for a known one.
        return self._overlay.known(ids, trio.current_time())

    def query_nowait(self, filters: Sequence[Filter]) -> Page | None:
        return None if any(filter_.wants_stored for filter_ in filters) else []

    async def query(self, filters: Sequence[Filter]) -> AsyncGenerator[Page, None]:
        if any(filter_.search is not None for filter_ in filters):
            await self.refresh()
            pages = self._searcher.one_after_another(filters)
        else:
            recent, now, meet = self._overlay.recent(), self._now(), self._others.meet
            pages = newest_first(self._client, self._alias, filters, recent, now, meet)
        async with aclosing(pages):
            async for page in pages:
                yield page

    async def count(self, filters: Sequence[Filter]) -> int:
        await self.refresh()
        return await self._searcher.count(filters)

    async def sketch(self, filter_: Filter, offset: int) -> Sketch:
        await self.refresh()
        return await self._searcher.sketch(filter_, offset)

    async def explain(self, filter_: Filter, seconds: float) -> Explanation:
        plan: tuple[PlanStep, ...] = ()
        looked_at: int | None = 0
        if filter_.wants_stored:
            looked_at = None
            with trio.move_on_after(seconds):
                await self.refresh()
                plan, looked_at = await self._searcher.profile(filter_)
        began, found, has_ended = time.perf_counter(), 0, False
        with trio.move_on_after(seconds):
            async with aclosing(self.query([filter_])) as pages:
                async for page in pages:
                    found += len(page)
            has_ended = True
        return Explanation(plan, looked_at, time.perf_counter() - began, found if has_ended else None)

    async def tally(self) -> Holdings:
        await self.refresh(of_others=True)
        return await tally(self._client, self._alias)

    async def space(self) -> Space:
        values = await self.get_metadata()
        size = sum(len(name) + len(value) for name, value in values.items())
        return await space(self._client, self._alias, size)

    async def inspect(self, verify: Verify | None = None) -> AsyncGenerator[Inspected, None]:
        await self.refresh(of_others=True)
        async with aclosing(inspect(self._client, self._alias, verify)) as portions:
            async for portion in portions:
                yield portion

    async def mend(self, move_out: MoveOut, verify: Verify | None = None) -> Mended:
        """Put right what `inspect` finds wrong; see `comparing.mend`."""
        await self.refresh(of_others=True)
        await self._saver.settle()
        return await mend(self._client, self._alias, self._bulk, self._records, move_out, verify)

    async def compact(self) -> Compacted:
        return await compact(self._client, self._alias)

    async def kinds_of(self, filters: Sequence[Filter]) -> dict[int, int]:
        await self.refresh(of_others=True)
        meant = await self._meant_by(filters)
        return {} if meant is None else await kinds_of(self._client, self._alias, meant)

    async def foresee(self, event: Event) -> Saved:
        return await self._saver.foresee(event)

    async def records(self, filter_: Filter) -> AsyncGenerator[bytes, None]:
        await self.refresh()
        async with aclosing(self._searcher.records(filter_)) as pages:
            async for page in pages:
                yield page

    async def remove(self, filters: Sequence[Filter]) -> int:
        await self.refresh()
        meant = await self._meant_by(filters)
        await self._saver.settle()
        removed = 0 if meant is None else await self._clearing.empty(meant)
        await self._archive.forget_matching(filters)
        return removed

    async def archived(self, filter_: Filter) -> AsyncGenerator[list[Archived], None]:
        async with aclosing(self._archive.archived(filter_)) as pages:
            async for page in pages:
                yield page

    async def _meant_by(self, filters: Sequence[Filter]) -> Query | None:
        return await self._searcher.meant_by([replace(filter_, reader=None) for filter_ in filters])

    def follow(self, listener: Listener | None) -> bool:
        return False  # other relays write too

    def hear(self, audience: Audience | None) -> None:
        self._others.audience = audience
        if audience is not None and self._exchange is not None:
            self._follower.hurry()  # what was said before this relay listened

    def spread(self, events: Sequence[Event]) -> None:
        if self._exchange is not None:
            self._exchange.spread(events)

    async def sweep(self) -> int:
        # What other relays have written and no search sees yet is removed by them or by the next sweep.
        await self.refresh()
        await self._archive.sweep()
        gone = expired(self._now())
        return await self._clearing.empty(gone, is_fresh=False, bars=True, reason=Departure.EXPIRED)

    async def get_metadata(self) -> dict[str, bytes]:
        exchange = self._exchange
        if exchange is not None and exchange.tells_all and (known := self._values.known()) is not None:
            await trio.lowlevel.checkpoint()
            return known
        await self.refresh(of_others=True)
        values = await self._values.read()
        self._others.keep(values)
        return values

    async def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
        self._others.keep(changes)
        try:
            await self._values.put(changes)
        finally:
            self._refresher.owe()  # others look for it

    def _now(self) -> int:
        return int(self._clock())

    async def refresh(self, *, of_others: bool = False) -> None:
        """Make searchable what this relay has written, or with `of_others` what any relay has.

        Raises:
            StoreError: the cluster could not.
        """
        await self._refresher.cover(of_others=of_others)

    async def trends(self, since: int, until: int, limit: int, reader: Reader = NOBODY) -> Trends:
        """Count what most keys refer to in a window of time, in events that this reader may read, in the cluster.

        Raises:
            StoreError: the cluster could not answer.
        """
        await self.refresh(of_others=True)
        return await trends(self._client, self._alias, since, until, limit, self._now(), mute_kinds(reader))

    async def scan(self) -> AsyncGenerator[Page, None]:
        await self.refresh(of_others=True)
        async with aclosing(scan(self._client, self._alias, AN_EVENT)) as pages:
            async for hits in pages:
                yield [hit.source.event.encode() for hit in hits]

    async def survey(
        self, until: int | None = None, *, tagged: AbstractSet[int] | None = NO_KINDS, weighs: bool = True
    ) -> AsyncGenerator[list[Surveyed], None]:
        await self.refresh(of_others=True)
        async with aclosing(survey(self._client, self._alias, until, tagged, weighs=weighs)) as portions:
            async for portion in portions:
                yield portion

    async def forget(self, ids: Sequence[str]) -> int:
        return await self.remove([Filter(ids=frozenset(ids))])

    async def probe(self) -> None:
        (arrived,) = self._records.arrivals(1)
        await self._client.ask("PUT", f"/{self._alias}/_doc/{_PROBE}?require_alias=true", Document(arrived))
        self._bulk.trouble = None

    def statistics(self) -> StoreStatistics:
        trouble = self._bulk.trouble or self._archive.trouble or self._away
        exchange = self._exchange
        is_degraded = exchange is not None and not exchange.is_there
        degraded = f"the relays' bus is away ({exchange.bus.trouble})" if exchange is not None and is_degraded else None
        sharing = SharingStatistics(
            {way: self._others.heard[way] for way in WAYS},
            self._follower.seconds_behind,
            None if exchange is None else exchange.statistics(),
        )
        return StoreStatistics(
            "opensearch",
            trouble=trouble,
            degraded=degraded,
            sharing=sharing,
            failed_requests=dict(self._client.failed),
        )

    async def look(self) -> None:
        """Load the keys that have vanished, before any event is stored, and know what was stored until now.

        Raises:
            StoreError: the cluster could not answer.
        """
        await self._vanished.look(0)
        await self._follower.begin()

    async def show(self) -> None:
        """Refresh once: at the end for other relays, and at the start for this relay after a crash."""
        if self._exchange is not None:
            self._exchange.flush()
        try:
            await self._client.ask("POST", f"/{self._alias}/_refresh")  # `run` may be cancelled already
        except StoreError as error:
            log.warning("the last events written appear in searches within half a minute", error=str(error))

    def _learn(self, pubkey: str, until: int) -> None:
        """Bar what belongs to a key that has vanished elsewhere, and remove what has come here meanwhile."""
        if until > self._vanished.untils.get(pubkey, -1):
            self._vanished.learn(pubkey, until)
            self._crossed_deletions.hurry()

    def _decided(self, one: Written | None) -> None:
        if one is None:
            self._values.doubt()
        else:
            self._values.take(one)

    async def _watch(self) -> None:
        """Notice that the index is away, or is another one, before a client publishes."""
        while True:
            await trio.sleep(_WATCH_SECONDS)
            try:
                with trio.fail_after(_WATCH_SECONDS):
                    self._away = await look(self._client, self._options)
            except StoreError as error:
                self._away = str(error)
            except trio.TooSlowError:
                self._away = "the relay's store takes too long"

    async def run(self) -> None:
        """Refresh, sweep, watch, and follow what others write, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._refresher.run)
            nursery.start_soon(self._crossed_deletions.run)
            nursery.start_soon(self._watch)
            nursery.start_soon(self._others.run)
            if (exchange := self._exchange) is None:
                nursery.start_soon(self._follower.run)
            else:
                nursery.start_soon(self._follower.run, lambda: exchange.tells_all)
                nursery.start_soon(exchange.run)
