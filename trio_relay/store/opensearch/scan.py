"""Scans an index: whole documents in the order in which they were written, sync records, or what retention looks at.

Whole documents come as they were at one moment. A sync record is 40 bytes, time and id (NIP-77); nothing else is
fetched for it. A survey goes on for as long as whoever makes it rests, so no moment is kept for it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing, asynccontextmanager
from typing import Final

import msgspec
import structlog
import trio

from trio_relay.nostr.event import Event, decode
from trio_relay.nostr.filter import Filter
from trio_relay.store.base import StoreError
from trio_relay.store.opensearch.client import OpenSearchClient, read
from trio_relay.store.opensearch.pages import Appetite, Columns, Hit, SearchResponse, search_whole
from trio_relay.store.opensearch.query import AN_EVENT, NEWEST_FIRST, Query, condition, search_body
from trio_relay.store.opensearch.responses import Looked, LookedAt, Placed
from trio_relay.store.surveyed import Surveyed

log = structlog.get_logger("trio_relay.store")

_KEPT: Final = "5m"
"""How long the cluster keeps a moment between two pages; a slower reader loses it."""
_BARE_PAGE: Final = 1_000
_CLOSE_SECONDS: Final = 5
_IN_ORDER: Final[list[Query]] = [{"arrived": "asc"}, {"id": "asc"}, {"grave": "asc"}]
"""A total order: two relays may have written in the same nanosecond."""


class _Opened(msgspec.Struct, gc=False):
    pit_id: str


_decode: Final = msgspec.json.Decoder(SearchResponse).decode
_decode_opened: Final = msgspec.json.Decoder(_Opened).decode


async def scan(client: OpenSearchClient, index: str, query: Query) -> AsyncGenerator[list[Hit], None]:
    """Yield the documents that meet a condition, with their versions, in pages.

    Raises:
        StoreError: from a step, when the cluster could not answer.
    """
    appetite = Appetite()
    async with aclosing(_pages(client, index, {"query": query, "version": True}, appetite)) as pages:
        async for hits in pages:
            yield hits


async def bare_scan(
    client: OpenSearchClient, index: str, query: Query, *, has_events: bool = False
) -> AsyncGenerator[list[Hit], None]:
    """Yield the same with all that a write needs to replace them; without the events if not asked for: larger pages.

    Raises:
        StoreError: from a step, when the cluster could not answer.
    """
    body: Query = {
        "query": query,
        "version": True,
        "seq_no_primary_term": True,
        "_source": ["until", "event"] if has_events else ["until"],
        "docvalue_fields": ["kind", "created_at"],
    }
    async with aclosing(_pages(client, index, body, Appetite() if has_events else None)) as pages:
        async for hits in pages:
            yield hits


async def column_scan(client: OpenSearchClient, index: str) -> AsyncGenerator[list[Hit], None]:
    """Yield all events with what the columns of the index have of them, and all that a write needs to replace them.

    Raises:
        StoreError: from a step, when the cluster could not answer.
    """
    body: Query = {
        "query": AN_EVENT,
        "version": True,
        "seq_no_primary_term": True,
        "docvalue_fields": list(Columns.__struct_fields__),
    }
    async with aclosing(_pages(client, index, body, Appetite())) as pages:
        async for hits in pages:
            yield hits


async def _pages(
    client: OpenSearchClient, index: str, body: Query, appetite: Appetite | None = None
) -> AsyncGenerator[list[Hit], None]:
    common: Query = {"sort": _IN_ORDER, "track_total_hits": False}
    async with _moment(client, index) as pit:
        while True:
            size = _BARE_PAGE if appetite is None else appetite.hits
            body = body | common | {"size": size, "pit": {"id": pit, "keep_alive": _KEPT}}
            hits = read(_decode, await client.ask("POST", "/_search?allow_partial_search_results=false", body)).check()
            if not hits:
                return
            if appetite is not None:
                appetite.learn([hits])
            yield hits
            body["search_after"] = hits[-1].sort


@asynccontextmanager
async def _moment(client: OpenSearchClient, index: str) -> AsyncIterator[str]:
    answer = await client.ask("POST", f"/{index}/_search/point_in_time?keep_alive={_KEPT}")
    opened = read(_decode_opened, answer).pit_id
    try:
        yield opened
    finally:
        with trio.move_on_after(_CLOSE_SECONDS, shield=True):
            try:
                await client.ask("DELETE", "/_search/point_in_time", {"pit_id": [opened]})
            except StoreError as error:
                log.warning("a point in time was not closed; it will end by itself", error=str(error))


PAGE_HITS: Final = 10_000
"""The most hits that OpenSearch gives at a time."""
_NOTHING_ELSE: Final[Query] = {"version": False, "stored_fields": "_none_"}
"""Sort values come from columns; reading an `_id`, too, would cost more than everything else."""


async def records(client: OpenSearchClient, alias: str, query: Query, limit: int | None) -> AsyncGenerator[bytes, None]:
    """Yield the sync records of what meets a condition, newest first, in pages; see `Queryable.records`.

    Args:
        client: of the cluster.
        alias: what is searched.
        query: the condition; nothing but events may meet it.
        limit: how many at most; None for all.

    Raises:
        StoreError: from a step, when the cluster could not answer.
    """
    left = limit
    after: Sequence[object] = ()
    while left is None or left > 0:
        size = PAGE_HITS if left is None else min(left, PAGE_HITS)
        body = search_body(query, NEWEST_FIRST, size, after) | _NOTHING_ELSE
        hits = (await search_whole(client, alias, body, Placed, "hits.hits.sort")).hits.hits
        if hits:
            yield b"".join(_record(*hit.sort) for hit in hits)
            after = hits[-1].sort
        if len(hits) < size:
            return
        if left is not None:
            left -= size


async def survey(
    client: OpenSearchClient, alias: str, until: int | None, tagged: AbstractSet[int] | None, *, weighs: bool
) -> AsyncGenerator[list[Surveyed], None]:
    """Yield what is stored, newest first; see `Surveyable.survey`.

    Events themselves are fetched where all their sizes or tags are wanted; else columns alone, and the events of kinds
    whose tags are wanted.

    Raises:
        StoreError: from a step, when the cluster could not answer.
    """
    is_whole = weighs or tagged is None
    query = AN_EVENT if until is None else condition(Filter(until=until))
    only = _SOURCES if is_whole else _COLUMNS
    size, after = _SURVEYED_HITS if is_whole else _BARE_PAGE, list[object]()
    while True:
        body = search_body(query, NEWEST_FIRST, size, after) | only
        hits = (await search_whole(client, alias, body, Looked, _LOOKED_AT)).hits.hits
        if not hits:
            return
        if is_whole or tagged is None:
            yield [_whole(decode(hit.source.event), tagged, hit) for hit in hits]
        else:
            portion = list(map(_bare, hits))
            await _add_tags(client, alias, [one for one in portion if one.kind in tagged])
            yield portion
        after = list(hits[-1].sort)


async def _add_tags(client: OpenSearchClient, alias: str, wanted: Sequence[Surveyed]) -> None:
    """Put tags to events that were found without; of those that are gone meanwhile there are none."""
    for start in range(0, len(wanted), _SURVEYED_HITS):
        part = {one.id: one for one in wanted[start : start + _SURVEYED_HITS]}
        body = search_body(condition(Filter(ids=frozenset(part))), NEWEST_FIRST, _SURVEYED_HITS) | _SOURCES
        for hit in (await search_whole(client, alias, body, Looked, _LOOKED_AT)).hits.hits:
            part[hit.sort[1]].tags = decode(hit.source.event).tags


_SURVEYED_HITS: Final = 200
"""Whole events, of up to a megabyte each."""
_SOURCES: Final[Query] = {"_source": ["event"], "version": False}
_COLUMNS: Final[Query] = _NOTHING_ELSE | {"docvalue_fields": ["pubkey", "kind"]}
_LOOKED_AT: Final = "hits.hits.sort,hits.hits.fields,hits.hits._source"


def _whole(event: Event, tagged: AbstractSet[int] | None, hit: LookedAt) -> Surveyed:
    tags = event.tags if tagged is None or event.kind in tagged else []
    return Surveyed(event.created_at, event.id, event.pubkey, event.kind, len(hit.source.event.encode()), tags)


def _bare(hit: LookedAt) -> Surveyed:
    created_at, event_id = hit.sort
    return Surveyed(created_at, event_id, hit.fields.pubkey[0], int(hit.fields.kind[0]))


def _record(created_at: int, event_id: str) -> bytes:
    return created_at.to_bytes(8, "big") + bytes.fromhex(event_id)
