"""The parts of a store on OpenSearch, for tests that drive one of them, or let it fail: nobody else looks into it."""

from __future__ import annotations

from dataclasses import dataclass

from trio_relay.store.opensearch import (
    OpenSearchOptions,
    OpenSearchStore,
    bulk,
    cas,
    clear,
    client,
    following,
    mapping,
    others,
    recent,
    refresh,
    search,
)
from trio_relay.store.opensearch import tombstones as vanishing


@dataclass(frozen=True, slots=True)
class Inside:
    """What a store is made of, as it is now."""

    client: client.OpenSearchClient
    alias: str
    options: OpenSearchOptions
    bulk: bulk.Bulk
    records: cas.Records
    clearing: clear.Clearing
    tombstones: vanishing.Tombstones
    deletions: vanishing.CrossedDeletions
    searcher: search.Searcher
    refresher: refresh.Refresher
    overlay: recent.Overlay
    others: others.Others
    follower: following.Follower


def inside(store: OpenSearchStore) -> Inside:
    """Look into a store."""
    options, others = store._options, store._others
    return Inside(
        store._client,
        mapping.alias_of(options),
        options,
        store._bulk,
        store._records,
        store._clearing,
        store._vanished,
        store._crossed_deletions,
        store._searcher,
        store._refresher,
        others.overlay,
        others,
        store._follower,
    )
