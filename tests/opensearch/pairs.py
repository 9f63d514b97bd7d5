"""Two relays on one index, each of which has swept once: what a test does next, no sweep of theirs comes before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import trio

from tests.opensearch.inside import inside
from tests.support.indices import made, options_for
from trio_relay.store.opensearch import OpenSearchStore, open_opensearch

Relays: TypeAlias = tuple[OpenSearchStore, OpenSearchStore]


@asynccontextmanager
async def two_relays(node: str, prefix: str) -> AsyncIterator[Relays]:
    """Two stores on an index of their own."""
    options = options_for(node, prefix)
    with trio.fail_after(60):
        async with made(options) as one, open_opensearch(options) as other:
            await swept(one)
            await swept(other)
            yield one, other


async def swept(store: OpenSearchStore) -> None:
    """Wait for the sweep with which a relay starts."""
    while inside(store).deletions._swept is None:
        await trio.lowlevel.checkpoint()
