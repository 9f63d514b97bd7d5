"""The archive in an index of its own: a document for each event that has gone, by the event's id.

It is written before the record is: an event that goes is never in neither. What is written and then does not go, since
another relay was first or the cluster failed, stands in its record, and is left out of what is told.
Several relays may write the same document; the later departure stays. Only a cluster whose archive was ever switched on
has the index, so wherever something is only read or removed, there may be none.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
import trio
from msgspec.structs import asdict, replace

from trio_relay.nostr.event import Event, decode
from trio_relay.nostr.event_text import is_long
from trio_relay.nostr.filter import Filter
from trio_relay.store.archive import Archived, Archiving, Departure, DepartureCause
from trio_relay.store.base import StoreError
from trio_relay.store.opensearch.bulk import Bulk, Write, Wrote
from trio_relay.store.opensearch.cas import Records
from trio_relay.store.opensearch.client import ClusterRefusal, OpenSearchClient, encode, read
from trio_relay.store.opensearch.documents import Document, Record, document, slot_of
from trio_relay.store.opensearch.mapping import archive_alias_of
from trio_relay.store.opensearch.options import OpenSearchOptions
from trio_relay.store.opensearch.pages import search_whole
from trio_relay.store.opensearch.query import Query, condition
from trio_relay.store.opensearch.responses import ArchivedFound

_AT_A_TIME: Final = 64
"""Documents of one answer: each may have a megabyte."""
_FORGOTTEN_AT_A_TIME: Final = 1_000
_MOST_ROUNDS: Final = 50
_LAST_FIRST: Final[list[Query]] = [{"arrived": "desc"}, {"id": "asc"}]
_NEVER_READ: Final = Record()


class ArchivedDocument(Document, gc=False, omit_defaults=True):
    """An event as documents have it, with why it went (`DepartureCause`), and `at`, when: in seconds since 1970."""

    at: int = 0
    reason: str = ""
    cause: str = ""


class _ArchiveWrite(Write):
    """Replaces whatever an earlier departure has left."""

    def lines(self) -> bytes:
        action = {"_id": self.slot, "version": self.document.arrived, "version_type": "external_gte"}
        return encode({"index": action}) + b"\n" + encode(self.document)


class _Told(NamedTuple):
    """One hit: its place in the order, and what it holds."""

    sort: list[Any]
    event: Event
    archived: Archived


class ArchiveIndex:
    """Keeps what goes, and tells it.

    Args:
        client: of the cluster.
        options: the names.
        archiving: whether anything is kept.
        records: are read to see what stands, and give times of arrival.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        client: OpenSearchClient,
        options: OpenSearchOptions,
        archiving: Archiving,
        records: Records,
        clock: Callable[[], float],
    ) -> None:
        self.is_on = archiving.is_on
        self._seconds = archiving.seconds
        self._client = client
        self._alias = archive_alias_of(options)
        self._bulk = Bulk(client, self._alias, options.bulk_bytes, options.retry_seconds)
        self._records = records
        self._clock = clock

    @property
    def trouble(self) -> str | None:
        """Why nothing can be kept at the moment, or None."""
        return self._bulk.trouble

    async def keep(self, gone: Sequence[tuple[Event, DepartureCause]]) -> None:
        """Keep what is going to go, in this order; nothing if the archive is off.

        Raises:
            StoreError: not all of it is kept, so it must not go.
        """
        if not self.is_on or not gone:
            return
        make = partial(_documents, gone, self._records.arrivals(len(gone)), int(self._clock()))
        is_much = any(is_long(event) for event, _ in gone)
        made = await trio.to_thread.run_sync(make, abandon_on_cancel=True) if is_much else make()
        writes = [_ArchiveWrite(one.id, _NEVER_READ, one) for one in made]
        await self._bulk.carry_out(writes)
        # A conflict: another relay has seen it go later.
        if failed := [write for write in writes if write.wrote is Wrote.FAILED]:
            raise StoreError(failed[0].reason)

    async def forget(self, *meant: Query) -> None:
        """Remove everything that meets any of the conditions.

        Raises:
            StoreError: it failed; a part may be gone.
        """
        for query in meant:
            if not await self._is_there(partial(self._forget, query)):
                return

    async def sweep(self) -> None:
        """Remove what went longer ago than it is to be kept.

        Raises:
            StoreError: it failed; a part may be gone.
        """
        if self._seconds:
            await self.forget({"range": {"at": {"lt": int(self._clock()) - self._seconds}}})

    async def forget_matching(self, filters: Sequence[Filter]) -> None:
        """Remove what matches any of the filters; their limits and readers play no part.

        Raises:
            StoreError: it failed; a part may be gone.
        """
        await self.forget(*(query for filter_ in filters if (query := _condition(filter_)) is not None))

    async def archived(self, filter_: Filter) -> AsyncGenerator[list[Archived], None]:
        """See `Archive.archived`."""
        query, left = _condition(filter_), filter_.limit
        if query is None or left == 0 or not await self._is_there(self._refresh):
            return
        after: Sequence[object] = ()
        while left is None or left > 0:
            hits = await self._page(query, after)
            if not hits:
                return
            after = hits[-1].sort
            page = [hit.archived for hit in await self._gone(hits)][:left]
            if page:
                yield page
            left = None if left is None else left - len(page)

    async def _page(self, query: Query, after: Sequence[object]) -> list[_Told]:
        body: Query = {"query": query, "sort": _LAST_FIRST, "size": _AT_A_TIME, "track_total_hits": False}
        if after:
            body["search_after"] = list(after)
        found = await search_whole(self._client, self._alias, body, ArchivedFound)
        return [
            _Told(
                hit.sort,
                decode(hit.source.event),
                Archived(hit.source.event.encode(), Departure(hit.source.reason), hit.source.at, hit.source.cause),
            )
            for hit in found.hits.hits
        ]

    async def _gone(self, hits: list[_Told]) -> list[_Told]:
        """Leave out what stands in its record."""
        known = await self._records.read(slot_of(hit.event) for hit in hits)
        standing = {record.event.id for record in known.values() if record.event is not None}
        return [hit for hit in hits if hit.event.id not in standing]

    async def _forget(self, query: Query) -> None:
        await self._refresh()
        path = f"/{self._alias}/_delete_by_query?conflicts=proceed&refresh=true&max_docs={_FORGOTTEN_AT_A_TIME}"
        rounds = 0  # that have met another writer, one after the other
        while rounds < _MOST_ROUNDS:
            answer = read(_decode_forgotten, await self._client.ask("POST", path, {"query": query}))
            if answer.failures:
                raise StoreError("the relay's store could not forget all that it has to")
            if answer.total < _FORGOTTEN_AT_A_TIME and not answer.version_conflicts:
                return
            rounds = rounds + 1 if answer.version_conflicts else 0
        raise StoreError("the relay's store has too many writers at a time")

    async def _refresh(self) -> None:
        await self._client.ask("POST", f"/{self._alias}/_refresh")

    async def _is_there(self, ask: Callable[[], Awaitable[None]]) -> bool:
        """Ask; returns False if there is no archive."""
        try:
            await ask()
        except ClusterRefusal as refusal:
            if refusal.status == 404:
                return False
            raise
        return True


def _documents(gone: Sequence[tuple[Event, DepartureCause]], arrivals: range, at: int) -> list[ArchivedDocument]:
    return [
        ArchivedDocument(**asdict(document(event, arrived)), at=at, reason=cause.reason.value, cause=cause.by)
        for (event, cause), arrived in zip(gone, arrivals, strict=True)
    ]


def _condition(filter_: Filter) -> Query | None:
    """Make the condition of a filter; None if nothing can match: nobody looks up who is of a domain."""
    if filter_.is_hopeless or (filter_.search is not None and filter_.search.domain is not None):
        return None
    return condition(replace(filter_, reader=None))


class _Forgotten(msgspec.Struct, gc=False):
    total: int
    version_conflicts: int = 0
    failures: list[Any] = []


_decode_forgotten: Final = msgspec.json.Decoder(_Forgotten).decode
