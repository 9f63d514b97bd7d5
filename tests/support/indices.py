"""Stores on a real OpenSearch: on an index of a test's own, or on one that is emptied for each, which is quicker."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio
from msgspec.structs import replace

from trio_relay import Event, Saved
from trio_relay.store import archive
from trio_relay.store.opensearch import OpenSearchOptions, OpenSearchStore, documents, migrate, open_opensearch
from trio_relay.store.opensearch.client import OpenSearchClient, open_client

SELDOM = 3_600.0
"""Seconds between two refreshes, so that none comes unasked."""
_shared: list[OpenSearchOptions] = []


def options_for(url: str, prefix: str, **changes: Any) -> OpenSearchOptions:
    """Options of a store that refreshes only when asked, and fails soon."""
    own: dict[str, Any] = {"refresh_seconds": SELDOM, "durability": "async", "retry_seconds": 5.0}
    return OpenSearchOptions(urls=(url,), prefix=prefix, **own | changes)


def use(url: str, prefix: str) -> None:
    """Make the index that `emptied` opens stores on."""
    _shared[:] = [options_for(url, prefix)]
    trio.run(make, _shared[0])


async def make(options: OpenSearchOptions) -> None:
    """What `trio-relay migrate` does for a relay with an archive."""
    await migrate(options, lambda line: None, has_archive=True)


@asynccontextmanager
async def made(options: OpenSearchOptions) -> AsyncIterator[OpenSearchStore]:
    """A store on an index of its own."""
    await make(options)
    async with open_opensearch(options) as store:
        yield store


@asynccontextmanager
async def emptied(
    archiving: archive.Archiving = archive.NOTHING_KEPT,
    clock: Callable[[], float] = time.time,
    *,
    is_refreshed: bool = False,
    **changes: Any,
) -> AsyncIterator[OpenSearchStore]:
    """An empty store on the shared index; `is_refreshed`, each batch is made searchable before it is answered."""
    options = replace(_shared[0], **changes)
    async with open_client(options) as client:
        await empty(client, options.prefix)
    async with open_opensearch(options, clock=clock, archiving=archiving) as store:
        if is_refreshed:
            _refresh_after_each(store)
        yield store


async def empty(client: OpenSearchClient, prefix: str) -> None:
    """Delete all documents."""
    body: dict[str, Any] = {"query": {"match_all": {}}}
    both = f"{prefix}-events,{prefix}-archive"
    await client.ask("POST", f"/{both}/_refresh?ignore_unavailable=true")
    wanted = "refresh=true&conflicts=proceed&ignore_unavailable=true"
    await client.ask("POST", f"/{both}/_delete_by_query?{wanted}", body)


def _refresh_after_each(store: OpenSearchStore) -> None:
    save = store.save_many

    async def save_and_refresh(events: Sequence[Event]) -> list[Saved]:
        outcomes = await save(events)
        await store.refresh()
        return outcomes

    store.save_many = save_and_refresh  # type: ignore[method-assign]  # of this one alone


def place_of(event: Event) -> str:
    """Where the document of an event stands."""
    return documents.slot_of(event)


def json_of(event: Event) -> str:
    """An event as its document has it."""
    return documents.document(event, 0).event


async def put_document(url: str, prefix: str, place: str, of: Event, /, **changes: Any) -> None:
    """Put the document of an event somewhere, some of its fields wrong, behind the back of all stores."""
    body = msgspec.to_builtins(documents.document(of, 5)) | changes
    async with open_client(options_for(url, prefix)) as client:
        await client.ask("PUT", f"/{prefix}-events/_doc/{place}?refresh=true", body)
