"""The parts of a store on OpenSearch, for tests that drive one of them, or let it fail: nobody else looks into it."""

from __future__ import annotations

from dataclasses import dataclass

from trio_relay.store.opensearch import OpenSearchOptions, OpenSearchStore
from trio_relay.store.opensearch.bulk import Bulk
from trio_relay.store.opensearch.cas import Records
from trio_relay.store.opensearch.clear import Clearing
from trio_relay.store.opensearch.client import OpenSearchClient
from trio_relay.store.opensearch.recent import Overlay
from trio_relay.store.opensearch.refresh import Refresher
from trio_relay.store.opensearch.search import Searcher
from trio_relay.store.opensearch.tombstones import CrossedDeletions, Tombstones


@dataclass(frozen=True, slots=True)
class Inside:
    """What a store is made of, as it is now."""

    client: OpenSearchClient
    alias: str
    options: OpenSearchOptions
    bulk: Bulk
    records: Records
    clearing: Clearing
    tombstones: Tombstones
    deletions: CrossedDeletions
    searcher: Searcher
    refresher: Refresher
    overlay: Overlay


def inside(store: OpenSearchStore) -> Inside:
    """Look into a store."""
    return Inside(
        store._client,
        store._alias,
        store._options,
        store._bulk,
        store._records,
        store._clearing,
        store._vanished,
        store._crossed_deletions,
        store._searcher,
        store._refresher,
        store._overlay,
    )
