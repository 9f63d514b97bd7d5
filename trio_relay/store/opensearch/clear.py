"""Empties records without leaving a tombstone: of vanished and expired events, and of what an operator removes.

The archive has what expires before its record is emptied.

A condition says which. Each record that a search finds is emptied if nobody has written it since; if somebody has, the
search is repeated.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

from trio_relay.nostr.event import decode
from trio_relay.store.archive import Departure, DepartureCause
from trio_relay.store.base import StoreError
from trio_relay.store.opensearch.archive import ArchiveIndex
from trio_relay.store.opensearch.bulk import Bulk, Write, Wrote
from trio_relay.store.opensearch.cas import Records
from trio_relay.store.opensearch.client import OpenSearchClient
from trio_relay.store.opensearch.documents import Document, Record
from trio_relay.store.opensearch.pages import Hit
from trio_relay.store.opensearch.query import Query
from trio_relay.store.opensearch.refresh import Refresher
from trio_relay.store.opensearch.scan import bare_scan

_MOST_ROUNDS: Final = 50


class Clearing:
    """Empties the records whose events meet a condition.

    Args:
        client: of the cluster.
        bulk: sends writes.
        alias: what is searched.
        records: shows the overlay what was written.
        refresher: makes searchable what was written.
        archive: keeps what goes.
    """

    def __init__(
        self,
        client: OpenSearchClient,
        bulk: Bulk,
        alias: str,
        records: Records,
        refresher: Refresher,
        archive: ArchiveIndex,
    ) -> None:
        self._client = client
        self._bulk = bulk
        self._alias = alias
        self._records = records
        self._refresher = refresher
        self._archive = archive

    async def empty(
        self, *meant: Query, is_fresh: bool = True, bars: bool = False, reason: Departure | None = None
    ) -> int:
        """Empty all records whose event meets any of the conditions; returns their number.

        Args:
            meant: the conditions; nothing but events may meet them.
            is_fresh: refresh first, so that all that anyone has written is looked at.
            bars: let nothing come back at the addresses of these events that is as old as they are, or older.
            reason: of which the archive keeps them, if it is on; None: they are to be nowhere.

        Raises:
            StoreError: it failed; a part may be empty.
        """
        emptied = 0
        for _ in range(_MOST_ROUNDS):
            if is_fresh:
                await self._refresher.cover(of_others=True)
            outcomes = [wrote for query in meant for wrote in await self._empty_all(query, bars, reason)]
            emptied += sum(wrote is Wrote.DONE for wrote in outcomes)
            if Wrote.CONFLICT not in outcomes:
                return emptied
            is_fresh = True
        raise StoreError("the relay's store has too many writers at a time")

    async def _empty_all(self, meant: Query, bars: bool, reason: Departure | None) -> list[Wrote | None]:
        kept = reason if self._archive.is_on else None
        outcomes: list[Wrote | None] = []
        async with aclosing(bare_scan(self._client, self._alias, meant, has_events=kept is not None)) as pages:
            async for hits in pages:
                if kept is not None:
                    await self._archive.keep([(decode(hit.source.event), DepartureCause(kept)) for hit in hits])
                outcomes += [write.wrote for write in await self._empty(hits, bars)]
        return outcomes

    async def _empty(self, hits: list[Hit], bars: bool) -> list[Write]:
        arrivals = self._records.arrivals(len(hits))
        writes = [
            Write(hit.slot, state_of(hit), Document(arrived, until=_until(hit, bars)))
            for hit, arrived in zip(hits, arrivals, strict=True)
        ]
        await self._bulk.carry_out(writes)
        for hit, write in zip(hits, writes, strict=True):
            self._records.note(write, hit.sort[1], None)
        if failed := [write for write in writes if write.wrote is Wrote.FAILED]:
            raise StoreError(failed[0].reason)
        return writes


def _until(hit: Hit, bars: bool) -> int:
    return max(hit.source.until, hit.versions_until) if bars else hit.source.until


def state_of(hit: Hit) -> Record:
    """Return the state of a record as a search has found it, without its event."""
    return Record(seq_no=hit.seq_no, primary_term=hit.primary_term, version=hit.version, index_name=hit.index)
