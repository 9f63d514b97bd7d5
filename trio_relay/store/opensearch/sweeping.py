"""Deletions that crossed on their way with what they delete: found afterwards, and carried out.

A request to delete a version of an address by its id writes a grave, and then removes the version that a search finds.
Another relay may have looked for a grave just before, and written the version just after. Both are there then, and what
neither could see, a look at all graves of late does.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, Final

import structlog
import trio

from trio_relay.nostr.event import Event, address_of, decode
from trio_relay.store.base import StoreError
from trio_relay.store.opensearch.bulk import Bulk, Write, Wrote
from trio_relay.store.opensearch.client import Client
from trio_relay.store.opensearch.documents import Document, address_slot
from trio_relay.store.opensearch.query import Query
from trio_relay.store.opensearch.scanning import scan
from trio_relay.store.opensearch.writing import Writing

log = structlog.get_logger("trio_relay.store")

_SECONDS: Final = 30.0
_LOOKS_BACK: Final = 600
"""Seconds: longer than a write can be under way, a relay can be away for a restart, or two clocks can differ."""


class Sweeping:
    """Looks for graves whose event stands nevertheless; `run` does so for as long as it does.

    Args:
        client: of the cluster.
        bulk: carries writes out.
        alias: what is looked through.
        writing: holds what no other writer of this relay may do meanwhile.
    """

    def __init__(self, client: Client, bulk: Bulk, alias: str, writing: Writing) -> None:
        self._client = client
        self._bulk = bulk
        self._alias = alias
        self._writing = writing

    async def run(self) -> None:
        """Sweep now and every half minute."""
        while True:
            try:
                await self.sweep()
            except StoreError as error:
                log.warning("not swept", error=str(error))
            await trio.sleep(_SECONDS)

    async def sweep(self) -> int:
        """Remove what was deleted and stands; gives how many versions that were.

        Raises:
            StoreError: the cluster could not answer.
        """
        (now,) = self._writing.arrivals(1)
        recent: Query = {
            "bool": {
                "filter": [
                    {"exists": {"field": "grave"}},
                    {"range": {"arrived": {"gte": now - _LOOKS_BACK * 10**9}}},
                ]
            }
        }
        removed = 0
        async with aclosing(scan(self._client, self._alias, recent)) as pages:
            async for hits in pages:
                for event in await self._standing({hit.source.grave for hit in hits}):
                    removed += await self._remove(event)
        return removed

    async def _standing(self, graves: set[str]) -> list[Event]:
        ids = [grave.partition(":")[0] for grave in graves]
        body: Query = {"query": {"bool": {"filter": [{"terms": {"id": ids}}]}}, "size": len(ids), "_source": ["event"]}
        path = f"/{self._alias}/_search?allow_partial_search_results=false"
        found: Any = await self._client.decoded("POST", path, body)
        events = [decode(hit["_source"]["event"]) for hit in found["hits"]["hits"]]
        return [event for event in events if f"{event.id}:{event.pubkey}" in graves]

    async def _remove(self, event: Event) -> int:
        if (address := address_of(event)) is None:
            return 0  # a request, which no request deletes
        slot = address_slot(address)
        async with self._writing.judging:
            register = (await self._writing.read([slot]))[slot]
            if register.event is None or register.event.id != event.id:
                return 0
            write = Write(slot, register, Document(self._writing.arrivals(1)[0], until=register.until))
            await self._bulk.carry_out([write])
            self._writing.note(write, register, None)
        if write.wrote is not Wrote.DONE:
            return 0  # the next sweep finds it again
        log.info("removed a version whose deletion had crossed with it", id=event.id)
        return 1
