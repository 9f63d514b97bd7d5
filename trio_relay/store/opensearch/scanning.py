"""All documents of an index as it stood at one moment, in the order in which they were written."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import structlog
import trio

from trio_relay.store.base import StoreError
from trio_relay.store.opensearch.client import Client, read
from trio_relay.store.opensearch.query import Query
from trio_relay.store.opensearch.reading import Appetite, Hit, Response

log = structlog.get_logger("trio_relay.store")

_KEPT: Final = "5m"
"""How long a moment is kept between two pages; who reads more slowly has lost it."""
_CLOSE_SECONDS: Final = 5
_IN_ORDER: Final[list[Query]] = [{"arrived": "asc"}, {"id": "asc"}, {"grave": "asc"}]
"""Two relays may have written at the same nanosecond: no two documents may have the same place."""

_decode: Final = msgspec.json.Decoder(Response).decode


async def scan(client: Client, index: str, query: Query) -> AsyncGenerator[list[Hit], None]:
    """The documents that meet a condition, with their versions, in pages.

    Raises:
        StoreError: from a step, when the cluster could not answer.
    """
    after: list[Any] = []
    appetite = Appetite()
    async with _moment(client, index) as pit:
        while True:
            body: Query = {
                "query": query,
                "sort": _IN_ORDER,
                "size": appetite.hits,
                "version": True,
                "track_total_hits": False,
            }
            body["pit"] = {"id": pit, "keep_alive": _KEPT}
            if after:
                body["search_after"] = after
            hits = read(_decode, await client.ask("POST", "/_search?allow_partial_search_results=false", body)).check()
            if not hits:
                return
            appetite.learn([hits])
            yield hits
            after = hits[-1].sort


@asynccontextmanager
async def _moment(client: Client, index: str) -> AsyncIterator[str]:
    opened = await client.decoded("POST", f"/{index}/_search/point_in_time?keep_alive={_KEPT}")
    try:
        yield opened["pit_id"]
    finally:
        with trio.move_on_after(_CLOSE_SECONDS, shield=True):
            try:
                await client.ask("DELETE", "/_search/point_in_time", {"pit_id": [opened["pit_id"]]})
            except StoreError as error:
                log.warning("a point in time was not closed; it will end by itself", error=str(error))
