"""Trends by aggregation: the cluster counts, so that no event leaves it."""

from __future__ import annotations

from typing import Final

from trio_relay.nostr.trends import SILENT_KINDS, Trend, Trends
from trio_relay.store.opensearch.client import Client
from trio_relay.store.opensearch.pages import search_whole
from trio_relay.store.opensearch.query import Query, expired
from trio_relay.store.opensearch.responses import Buckets, Trended

_PRECISION: Final = 3_000
"""Up to so many keys are counted exactly, more with an error of some percent."""
_HEX: Final = "[0-9a-f]{64}"
_TERMS: Final = {"notes": f"e:{_HEX}", "tags": "t:.+", "authors": f"p:{_HEX}"}
"""Which terms of `tags` are counted, as regular expressions of Lucene's; long values, kept as a hash, are not."""


async def trends(client: Client, alias: str, since: int, until: int, limit: int, now: int) -> Trends:
    """What was most spoken of in a window, but for what has expired by `now`; see `Trends`.

    Raises:
        StoreError: the cluster could not answer.
    """
    answer = await search_whole(client, alias, _body(since, until, limit, now), Trended)
    found = answer.aggregations
    notes, tags, authors = (_trends(one) for one in (found.notes, found.tags, found.authors))
    return Trends(since, until, answer.hits.total.value, notes, tags, authors)


def _body(since: int, until: int, limit: int, now: int) -> Query:
    keys: Query = {"keys": {"cardinality": {"field": "pubkey", "precision_threshold": _PRECISION}}}
    order = [{"keys": "desc"}, {"_key": "asc"}]
    return {
        "size": 0,
        "track_total_hits": True,
        "query": {
            "bool": {
                "filter": [{"range": {"created_at": {"gte": since, "lte": until}}}],
                "must_not": [{"regexp": {"kind": SILENT_KINDS}}, expired(now)],
            }
        },
        "aggs": {
            name: {"terms": {"field": "tags", "include": include, "size": limit, "order": order}, "aggs": keys}
            for name, include in _TERMS.items()
        },
    }


def _trends(found: Buckets) -> list[Trend]:
    return [Trend(bucket.key[2:], bucket.keys.value) for bucket in found.buckets]
