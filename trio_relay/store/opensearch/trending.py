"""Trends by aggregation: the cluster counts, so that no event leaves it."""

from __future__ import annotations

from typing import Any, Final

from trio_relay.nostr.trends import SILENT_KINDS, Trend, Trends
from trio_relay.store.base import StoreError
from trio_relay.store.opensearch.client import Client
from trio_relay.store.opensearch.query import Query

_PRECISION: Final = 3_000
"""Up to so many keys are counted exactly, more with an error of some percent."""
_HEX: Final = "[0-9a-f]{64}"
_TERMS: Final = {"notes": f"e:{_HEX}", "tags": "t:.+", "authors": f"p:{_HEX}"}
"""Which terms of `tags` are counted, as regular expressions of Lucene's; long values, kept as a hash, are not."""


async def trends(client: Client, alias: str, since: int, until: int, limit: int) -> Trends:
    """What was most spoken of in a window; see `Trends`.

    Raises:
        StoreError: the cluster could not answer.
    """
    answer: Any = await client.decoded(
        "POST", f"/{alias}/_search?allow_partial_search_results=false", _body(since, until, limit)
    )
    if answer["timed_out"] or answer["_shards"]["failed"]:
        raise StoreError("the relay's store could not search (in part)")
    found = {name: _trends(answer["aggregations"][name]["buckets"]) for name in _TERMS}
    return Trends(since, until, answer["hits"]["total"]["value"], **found)


def _body(since: int, until: int, limit: int) -> Query:
    keys: Query = {"keys": {"cardinality": {"field": "pubkey", "precision_threshold": _PRECISION}}}
    order = [{"keys": "desc"}, {"_key": "asc"}]
    return {
        "size": 0,
        "track_total_hits": True,
        "query": {
            "bool": {
                "filter": [{"range": {"created_at": {"gte": since, "lte": until}}}],
                "must_not": [{"regexp": {"kind": SILENT_KINDS}}],
            }
        },
        "aggs": {
            name: {"terms": {"field": "tags", "include": include, "size": limit, "order": order}, "aggs": keys}
            for name, include in _TERMS.items()
        },
    }


def _trends(buckets: Any) -> list[Trend]:
    return [Trend(bucket["key"][2:], bucket["keys"]["value"]) for bucket in buckets]
