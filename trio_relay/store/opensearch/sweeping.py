"""Deletions that crossed on their way with what they delete: found afterwards, and carried out.

A request to delete a version of an address by its id writes a grave, and then removes the version that a search finds.
Another relay may have looked for a grave just before, and written the version just after. Both are there then, and what
neither could see, a look at all graves of late does. So it is with a gift wrap and its recipient's request, and with
the events of a key that has vanished.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

import structlog
import trio

from trio_relay.store.base import StoreError
from trio_relay.store.opensearch.cas import Registers
from trio_relay.store.opensearch.clear import Emptying
from trio_relay.store.opensearch.client import Client
from trio_relay.store.opensearch.pages import search_whole
from trio_relay.store.opensearch.query import Query, deletable
from trio_relay.store.opensearch.responses import Counted
from trio_relay.store.opensearch.scan import scan
from trio_relay.store.opensearch.tombstones import LOOKS_BACK, Vanishing

log = structlog.get_logger("trio_relay.store")

_SECONDS: Final = 30.0


class Sweeping:
    """Looks for what stands although it was deleted or its key has vanished; `run` does so for as long as it does.

    Args:
        client: of the cluster.
        alias: what is looked through.
        registers: tells the time.
        vanishing: learns which keys have vanished.
        emptying: removes what is found.
    """

    def __init__(
        self, client: Client, alias: str, registers: Registers, vanishing: Vanishing, emptying: Emptying
    ) -> None:
        self._client = client
        self._alias = alias
        self._registers = registers
        self._vanishing = vanishing
        self._emptying = emptying
        self._swept: int | None = None

    async def run(self) -> None:
        """Sweep now and every half minute."""
        while True:
            try:
                await self.sweep()
            except StoreError as error:
                log.warning("not swept", error=str(error))
            await trio.sleep(_SECONDS)

    async def sweep(self) -> int:
        """Remove what was deleted or has vanished, and stands; gives how many events that were.

        Raises:
            StoreError: the cluster could not answer.
        """
        (now,) = self._registers.arrivals(1)
        is_first = self._swept is None
        # What came since the last sweep that was carried through, however many have failed meanwhile.
        since = (now if self._swept is None else self._swept) - LOOKS_BACK
        look = self._vanishing.look_at_all if is_first else self._vanishing.look
        removed = await self._remove(*await look(since))
        recent: Query = {
            "bool": {
                "filter": [{"exists": {"field": "grave"}}, {"range": {"arrived": {"gte": since}}}],
            }
        }
        async with aclosing(scan(self._client, self._alias, recent)) as pages:
            async for hits in pages:
                removed += await self._remove_deleted([hit.source.grave for hit in hits])
        self._swept = now
        return removed

    async def _remove(self, *meant: Query) -> int:
        # What no search sees yet the next sweep finds.
        removed = await self._emptying.empty(*meant, is_fresh=False)
        if removed:
            log.info("removed events whose deletion had crossed with them", events=removed)
        return removed

    async def _remove_deleted(self, graves: Sequence[str]) -> int:
        """Remove what stands although one of those to whom it belongs has deleted it."""
        removed = 0
        for query in deletable((event_id, pubkey) for event_id, _, pubkey in (one.partition(":") for one in graves)):
            body: Query = {"query": query, "size": 0, "track_total_hits": True}
            # There is hardly ever any, and to number them takes one request rather than three.
            if (await search_whole(self._client, self._alias, body, Counted)).hits.total.value:
                removed += await self._remove(query)
        return removed
