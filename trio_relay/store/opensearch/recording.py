"""What matches as records of 40 bytes, for sync: nothing but times and ids leaves the cluster."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Final

from trio_relay.store.opensearch.client import Client
from trio_relay.store.opensearch.pages import search_whole
from trio_relay.store.opensearch.query import NEWEST_FIRST, Query, search_body
from trio_relay.store.opensearch.responses import Placed

_PAGE: Final = 10_000
"""The most that OpenSearch gives at a time."""
_NOTHING_ELSE: Final[Query] = {"version": False, "stored_fields": "_none_"}
"""Places come from columns; to read an `_id` as well costs more than all else."""


async def records(client: Client, alias: str, query: Query, limit: int | None) -> AsyncGenerator[bytes, None]:
    """The records of what meets a condition, newest first, in pages; see `Queryable.records`.

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
        size = _PAGE if left is None else min(left, _PAGE)
        body = search_body(query, NEWEST_FIRST, size, after) | _NOTHING_ELSE
        hits = (await search_whole(client, alias, body, Placed, "hits.hits.sort")).hits.hits
        if hits:
            yield b"".join(_record(*hit.sort) for hit in hits)
            after = hits[-1].sort
        if len(hits) < size:
            return
        if left is not None:
            left -= size


def _record(created_at: int, event_id: str) -> bytes:
    return created_at.to_bytes(8, "big") + bytes.fromhex(event_id)
