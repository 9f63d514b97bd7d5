"""Keys that have vanished (NIP-62), and deletions that crossed on their way with what they delete.

Each vanished key has a record, and every relay has all of them in memory, so that events of other keys can be written
blindly. A relay learns of keys that vanished on other relays with its next sweep, which also removes what it has stored
of them until then.

A request to delete a version of an address by its id writes a tombstone, then removes the version that a search finds.
Another relay may have looked for a tombstone just before, and written the version just after. Then both are there, and
the sweep finds such pairs and removes the event.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple

import structlog
import trio

from trio_relay.nostr.event import Event, claimants
from trio_relay.store.archive import Departure
from trio_relay.store.base import StoreError
from trio_relay.store.opensearch.archive import ArchiveIndex
from trio_relay.store.opensearch.cas import Records
from trio_relay.store.opensearch.clear import Clearing
from trio_relay.store.opensearch.client import OpenSearchClient
from trio_relay.store.opensearch.documents import request_slot
from trio_relay.store.opensearch.pages import Hit, search_whole
from trio_relay.store.opensearch.query import AN_EVENT, Query, belonging_to, deletable
from trio_relay.store.opensearch.responses import Counted, Identified
from trio_relay.store.opensearch.scan import scan

LOOKS_BACK: Final = 600 * 10**9
"""Nanoseconds that a sweep looks back: longer than a write takes, a restart takes, or two clocks differ."""
_KEYS_AT_A_TIME: Final = 100
"""Keys in one condition: five clauses each, of which OpenSearch takes 1,024."""


class Tombstones:
    """The keys that have vanished, and until when.

    Args:
        client: of the cluster.
        alias: what is read.
    """

    def __init__(self, client: OpenSearchClient, alias: str) -> None:
        self._client = client
        self._alias = alias
        self.untils: dict[str, int] = {}

    def bars(self, event: Event) -> bool:
        """Return True if the event belongs to a key that has vanished since."""
        return bool(self.untils) and any(
            event.created_at <= self.untils.get(claimant, -1) for claimant in claimants(event)
        )

    def learn(self, pubkey: str, until: int) -> None:
        """Note that what belongs to this key has vanished up to this time."""
        self.untils[pubkey] = max(until, self.untils.get(pubkey, -1))

    async def look(self, since: int) -> list[Query]:
        """Load the keys that have vanished since then; returns conditions of what belongs to them.

        Args:
            since: nanoseconds since 1970, as `Document.arrived`.

        Raises:
            StoreError: the cluster could not answer.
        """
        async with aclosing(self._tombstones(since)) as pages:
            return left_by(
                [
                    (tombstone.pubkey, tombstone.until, tombstone.request_id)
                    async for page in pages
                    for tombstone in page
                ]
            )

    async def look_at_all(self, since: int) -> list[Query]:
        """Load all keys; returns conditions also for those whose request is not stored: it was never completed.

        Raises:
            StoreError: the cluster could not answer.
        """
        late: list[tuple[str, int, str]] = []
        async with aclosing(self._tombstones(0)) as pages:
            async for page in pages:
                stored = await self._stored(page)
                late += [
                    (tombstone.pubkey, tombstone.until, tombstone.request_id)
                    for tombstone in page
                    if tombstone.arrived >= since or tombstone.request_id not in stored
                ]
        return left_by(late)

    async def _tombstones(self, since: int) -> AsyncGenerator[list[Tombstone], None]:
        query: Query = {"bool": {"filter": [{"exists": {"field": "vanished"}}, {"range": {"arrived": {"gte": since}}}]}}
        async with aclosing(scan(self._client, self._alias, query)) as pages:
            async for hits in pages:
                page = list(map(_tombstone, hits))
                for tombstone in page:
                    self.learn(tombstone.pubkey, tombstone.until)
                yield page

    async def _stored(self, page: list[Tombstone]) -> set[str]:
        """Return the ids of the requests that are stored."""
        slots = [request_slot(tombstone.request_id) for tombstone in page]
        body: Query = {
            "query": {"bool": {"filter": [{"ids": {"values": slots}}, AN_EVENT]}},
            "size": len(slots),
            "_source": False,
            "docvalue_fields": ["id"],
        }
        found = await search_whole(self._client, self._alias, body, Identified)
        return {event_id for hit in found.hits.hits for event_id in hit.fields.id}


class Tombstone(NamedTuple):
    """The tombstone of a vanished key: its request, until when, and when it was written."""

    pubkey: str
    request_id: str
    until: int
    arrived: int


def _tombstone(hit: Hit) -> Tombstone:
    pubkey, _, request_id = hit.source.vanished.partition(":")
    return Tombstone(pubkey, request_id, hit.source.until, hit.sort[0])


def left_by(vanished: Sequence[tuple[str, int, str]]) -> list[Query]:
    """Make conditions of what keys leave behind when they vanish: all that belongs to them but the requests.

    Args:
        vanished: for each key its pubkey, until when (seconds since 1970), and the id of its request.
    """
    left = [_left(pubkey, until, request_id) for pubkey, until, request_id in vanished]
    return [
        {"bool": {"filter": [{"bool": {"should": left[start : start + _KEYS_AT_A_TIME]}}]}}
        for start in range(0, len(left), _KEYS_AT_A_TIME)
    ]


def _left(pubkey: str, until: int, request_id: str) -> Query:
    itself: Query = {"ids": {"values": [request_slot(request_id)]}}
    return {"bool": {"filter": [belonging_to(pubkey, until)], "must_not": [itself]}}


log = structlog.get_logger("trio_relay.store")

SWEEP_SECONDS: Final = 30.0


class CrossedDeletions:
    """Sweeps: finds and removes events that are stored although they were deleted or their key has vanished.

    Args:
        client: of the cluster.
        alias: what is searched.
        records: gives times of arrival.
        vanished: the keys that have vanished.
        clearing: removes what is found.
        archive: forgets whose key has vanished.
    """

    def __init__(
        self,
        client: OpenSearchClient,
        alias: str,
        records: Records,
        vanished: Tombstones,
        clearing: Clearing,
        archive: ArchiveIndex,
    ) -> None:
        self._client = client
        self._alias = alias
        self._records = records
        self._vanished = vanished
        self._clearing = clearing
        self._archive = archive
        self._swept: int | None = None
        self._wanted = trio.Event()
        self._is_hurried = False

    async def run(self) -> None:
        """Sweep now and then every half minute, and when a key has vanished elsewhere."""
        while True:
            try:
                await self.sweep()
            except StoreError as error:
                log.warning("not swept", error=str(error))
            with trio.move_on_after(SWEEP_SECONDS):
                await self._wanted.wait()
            self._is_hurried, self._wanted = self._wanted.is_set(), trio.Event()

    def hurry(self) -> None:
        """Sweep soon."""
        self._wanted.set()

    async def sweep(self) -> int:
        """Remove stored events that were deleted or have vanished; returns their number.

        Raises:
            StoreError: the cluster could not answer.
        """
        (now,) = self._records.arrivals(1)
        is_first = self._swept is None
        # From the last sweep that was completed, however many have failed since.
        since = (now if self._swept is None else self._swept) - LOOKS_BACK
        look = self._vanished.look_at_all if is_first else self._vanished.look
        left = await look(since)
        removed = await self._remove(*left, is_fresh=self._is_hurried)
        await self._archive.forget(*left)  # another relay may have kept some of it just before it learned of the key
        recent: Query = {
            "bool": {
                "filter": [{"exists": {"field": "grave"}}, {"range": {"arrived": {"gte": since}}}],
            }
        }
        async with aclosing(scan(self._client, self._alias, recent)) as pages:
            async for hits in pages:
                removed += await self._remove_deleted([hit.source.tombstone for hit in hits])
        self._swept = now
        return removed

    async def _remove(
        self, *meant: Query, is_fresh: bool = False, bars: bool = False, reason: Departure | None = None
    ) -> int:
        # Unless it is in a hurry, the next sweep finds what no search sees yet.
        removed = await self._clearing.empty(*meant, is_fresh=is_fresh and bool(meant), bars=bars, reason=reason)
        if removed:
            log.info("removed events whose deletion had crossed with them", events=removed)
        return removed

    async def _remove_deleted(self, tombstones: Sequence[str]) -> int:
        """Remove events that are stored although one of their claimants has deleted them."""
        removed = 0
        parts = (tombstone.partition(":") for tombstone in tombstones)
        for query in deletable((event_id, pubkey) for event_id, _, pubkey in parts):
            body: Query = {"query": query, "size": 0, "track_total_hits": True}
            # There is hardly ever any, and counting takes one request instead of three.
            if (await search_whole(self._client, self._alias, body, Counted)).hits.total.value:
                removed += await self._remove(query, bars=True, reason=Departure.DELETED)
        return removed
