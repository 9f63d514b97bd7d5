"""All documents of an index as it stood at one moment, in the order in which they were written."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final

import msgspec
import structlog
import trio

from trio_relay.store.base import StoreError
from trio_relay.store.opensearch.client import Client, read
from trio_relay.store.opensearch.pages import Appetite, Hit, Response
from trio_relay.store.opensearch.query import Query

log = structlog.get_logger("trio_relay.store")

_KEPT: Final = "5m"
"""How long a moment is kept between two pages; who reads more slowly has lost it."""
_BARE_PAGE: Final = 1_000
_CLOSE_SECONDS: Final = 5
_IN_ORDER: Final[list[Query]] = [{"arrived": "asc"}, {"id": "asc"}, {"grave": "asc"}]
"""Two relays may have written at the same nanosecond: no two documents may have the same place."""


class _Opened(msgspec.Struct, gc=False):
    pit_id: str


_decode: Final = msgspec.json.Decoder(Response).decode
_decode_opened: Final = msgspec.json.Decoder(_Opened).decode


async def scan(client: Client, index: str, query: Query) -> AsyncGenerator[list[Hit], None]:
    """The documents that meet a condition, with their versions, in pages.

    Raises:
        StoreError: from a step, when the cluster could not answer.
    """
    appetite = Appetite()
    async with aclosing(_pages(client, index, {"query": query, "version": True}, appetite)) as pages:
        async for hits in pages:
            yield hits


async def bare_scan(client: Client, index: str, query: Query) -> AsyncGenerator[list[Hit], None]:
    """The same without their events, but with all that it takes to write them anew: larger pages.

    Raises:
        StoreError: from a step, when the cluster could not answer.
    """
    body: Query = {"query": query, "version": True, "seq_no_primary_term": True, "_source": ["until"]}
    async with aclosing(_pages(client, index, body)) as pages:
        async for hits in pages:
            yield hits


async def _pages(
    client: Client, index: str, body: Query, appetite: Appetite | None = None
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
async def _moment(client: Client, index: str) -> AsyncIterator[str]:
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
