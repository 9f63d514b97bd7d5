"""A relay whose index is away, or another one, says so before anybody publishes, and stops saying so by itself."""

from __future__ import annotations

from typing import Final

import pytest
import trio
from trio.testing import MockClock

from tests.opensearch.cluster import Asked, Reply, scripted
from trio_relay.store.opensearch import OpenSearchOptions, OpenSearchStore
from trio_relay.store.opensearch.mapping import VERSION

pytestmark = pytest.mark.usefixtures("inline_threads")

LAYOUT: Final = {"nostr-events-v1": {"mappings": {"_meta": {"version": VERSION}}}}
NEWER: Final = {"nostr-events-v2": {"mappings": {"_meta": {"version": VERSION + 1}}}}


@pytest.mark.parametrize(
    ("reply", "trouble"),
    [
        (503, "the relay's store is busy"),
        (None, "the relay's store takes too long"),
        (NEWER, f"nostr-events has layout {VERSION + 1}, this trio-relay knows layouts up to {VERSION}"),
    ],
    ids=["busy", "silent", "moved"],
)
async def test_it_is_found_out_within_seconds_and_forgotten_too(
    autojump_clock: MockClock, reply: object, trouble: str
) -> None:
    replies = {"mapping": reply}

    async def answer(asked: Asked) -> Reply:
        if not asked.path.startswith("/nostr-events/_mapping"):
            return {"_shards": {"failed": 0}, "pit_id": "x", "hits": {"hits": []}}
        if replies["mapping"] is None:
            await trio.sleep_forever()
        return replies["mapping"]

    async with scripted(answer) as cluster, trio.open_nursery() as nursery:
        store = OpenSearchStore(cluster.client, OpenSearchOptions(), lambda: 0.0)
        nursery.start_soon(store.run)
        await trio.sleep(11)
        assert store.statistics().trouble == trouble
        replies["mapping"] = LAYOUT
        await trio.sleep(11)
        assert store.statistics().trouble is None
        nursery.cancel_scope.cancel()
