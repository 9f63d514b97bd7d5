"""Aggregations that the cluster computes itself: sketches of authors (NIP-45), trends, and what is stored in numbers.

A script makes the registers of a sketch from the pubkeys, so that documents need no field for it and deleted events do
not count.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

import trio

from trio_relay.nostr.hyperloglog import REGISTERS, Sketch
from trio_relay.nostr.ranking import MUTE_KINDS
from trio_relay.nostr.trends import SILENT_KINDS, Trend, Trends
from trio_relay.store.base import StoreError
from trio_relay.store.insight import (
    DAY_SECONDS,
    MOST_AUTHORS,
    MOST_DAYS,
    MOST_KINDS,
    Expiring,
    Holdings,
    OfAuthor,
    OfDay,
    OfKind,
    day_of,
)
from trio_relay.store.inspection import Compacted, Space
from trio_relay.store.opensearch.client import OpenSearchClient
from trio_relay.store.opensearch.pages import search_whole
from trio_relay.store.opensearch.query import AN_EVENT, Query, expired, of_kinds
from trio_relay.store.opensearch.responses import Buckets, OfKinds, Sketched, Spaced, Tallied, Trended

# The twin of `hyperloglog.observation`: the seven bytes after the register's own, in a number of 64 bits. That has 8
# bits to spare, so it counts 8 zeros too many; 1 is to be added, so 7 are subtracted.
_MAP: Final = (
    "String key = doc['pubkey'].value; int at = 2 * params.offset;"
    " int place = Integer.parseInt(key.substring(at, at + 2), 16);"
    " int value = Long.numberOfLeadingZeros(Long.parseLong(key.substring(at + 2, at + 16), 16)) - 7;"
    " if (value > state.registers[place]) { state.registers[place] = value }"
)
_REDUCE: Final = (
    "int[] all = new int[params.size];"
    " for (registers in states) { if (registers != null) {"
    " for (int place = 0; place < params.size; place++) {"
    " if (registers[place] > all[place]) { all[place] = registers[place] } } } } return all"
)


async def sketch(client: OpenSearchClient, alias: str, query: Query, offset: int) -> Sketch:
    """Count the events that meet a condition, with the registers of their authors.

    Args:
        client: of the cluster.
        alias: what is searched.
        query: the condition; nothing but events may meet it.
        offset: where in a pubkey the sketch looks, 8 to 23.

    Raises:
        StoreError: the cluster could not answer.
    """
    found = await search_whole(client, alias, _sketch_body(query, offset), Sketched)
    return Sketch(found.hits.total.value, bytes(found.aggregations.sketch.value))


def _sketch_body(query: Query, offset: int) -> Query:
    script: Query = {
        "init_script": "state.registers = new int[params.size]",
        "map_script": _MAP,
        "combine_script": "return state.registers",
        "reduce_script": _REDUCE,
        "params": {"offset": offset, "size": REGISTERS},
    }
    return {"query": query, "size": 0, "track_total_hits": True, "aggs": {"sketch": {"scripted_metric": script}}}


_PRECISION: Final = 3_000
"""Up to so many keys are counted exactly, more with an error of a few percent."""
_HEX: Final = "[0-9a-f]{64}"
_TERMS: Final = {"notes": f"e:{_HEX}", "tags": "t:.+", "authors": f"p:{_HEX}"}
"""The terms of `tags` that are counted, as regular expressions for Lucene; long values, kept as hashes, are not."""


async def trends(
    client: OpenSearchClient,
    alias: str,
    since: int,
    until: int,
    limit: int,
    now: int,
    mute: AbstractSet[int] = MUTE_KINDS,
) -> Trends:
    """Count what most keys refer to in a window, without these kinds and what has expired by `now`; see `Trends`.

    Raises:
        StoreError: the cluster could not answer.
    """
    answer = await search_whole(client, alias, _trends_body(since, until, limit, now, mute), Trended)
    found = answer.aggregations
    notes, tags, authors = (_trends(buckets) for buckets in (found.notes, found.tags, found.authors))
    return Trends(since, until, answer.hits.total.value, notes, tags, authors)


def _trends_body(since: int, until: int, limit: int, now: int, mute: AbstractSet[int]) -> Query:
    keys: Query = {"keys": {"cardinality": {"field": "pubkey", "precision_threshold": _PRECISION}}}
    order = [{"keys": "desc"}, {"_key": "asc"}]
    return {
        "size": 0,
        "track_total_hits": True,
        "query": {
            "bool": {
                "filter": [{"range": {"created_at": {"gte": since, "lte": until}}}],
                "must_not": [{"regexp": {"kind": SILENT_KINDS}}, of_kinds(mute), expired(now)],
            }
        },
        "aggs": {
            name: {"terms": {"field": "tags", "include": include, "size": limit, "order": order}, "aggs": keys}
            for name, include in _TERMS.items()
        },
    }


def _trends(found: Buckets) -> list[Trend]:
    return [Trend(bucket.key[2:], bucket.keys.value) for bucket in found.buckets]


async def tally(client: OpenSearchClient, alias: str) -> Holdings:
    """Count all events; see `base.Insight.tally`.

    Raises:
        StoreError: the cluster could not answer.
    """
    answer = await search_whole(client, alias, tally_body(), Tallied)
    found = answer.aggregations
    kinds = sorted((OfKind(int(one.key), one.doc_count) for one in found.kinds.buckets), key=_most_first)
    at = found.next.value
    return Holdings(
        answer.hits.total.value,
        tuple(kinds),
        tuple(OfDay(day_of(int(one.key.day) // DAY_SECONDS), one.doc_count) for one in found.days.buckets),
        tuple(OfAuthor(one.key, one.doc_count) for one in found.authors.buckets),
        Expiring(found.expiring.doc_count, None if at is None else int(at)),
    )


def tally_body() -> Query:
    """Make the body of the search that counts all events; expired ones are among them until they are swept."""
    day: Query = {"histogram": {"field": "created_at", "interval": DAY_SECONDS, "order": "desc"}}
    return {
        "size": 0,
        "track_total_hits": True,
        "query": {"bool": {"filter": [AN_EVENT]}},
        "aggs": {
            "kinds": {"terms": {"field": "kind", "size": MOST_KINDS}},
            "authors": {"terms": {"field": "pubkey", "size": MOST_AUTHORS}},  # of like size, the lower key comes first
            "days": {"composite": {"size": MOST_DAYS, "sources": [{"day": day}]}},
            "expiring": {"filter": {"exists": {"field": "expires"}}},
            "next": {"min": {"field": "expires"}},
        },
    }


def _most_first(counted: OfKind) -> tuple[int, int]:
    return -counted.events, counted.kind


_ALL_KINDS: Final = 65_536


async def kinds_of(client: OpenSearchClient, alias: str, query: Query) -> dict[int, int]:
    """Count the events that meet a condition by kind; nothing but events may meet it.

    Raises:
        StoreError: the cluster could not answer.
    """
    body: Query = {"query": query, "size": 0, "aggs": {"kinds": {"terms": {"field": "kind", "size": _ALL_KINDS}}}}
    found = await search_whole(client, alias, body, OfKinds)
    return dict(sorted((int(one.key), one.doc_count) for one in found.aggregations.kinds.buckets))


async def space(client: OpenSearchClient, alias: str, metadata_bytes: int) -> Space:
    """Tell the room that the index takes, all its copies together.

    Args:
        client: of the cluster.
        alias: of the index.
        metadata_bytes: what the relay's own values take, which only who reads them can tell.

    Raises:
        StoreError: the cluster could not answer.
    """
    answer = await client.decoded("GET", f"/{alias}/_stats/docs,store?filter_path=_all")
    found = (await search_whole(client, alias, _SPACE_BODY, Spaced)).aggregations
    copies = answer["_all"]
    return Space(
        int(copies["total"]["store"]["size_in_bytes"]),
        0,
        None,
        int(copies["primaries"]["docs"]["deleted"]),
        found.worded.doc_count,
        found.tombstones.doc_count,
        found.metadata.doc_count,
        metadata_bytes,
    )


async def compact(client: OpenSearchClient, alias: str) -> Compacted:
    """Have the cluster drop the documents of removed events, segment by segment, and wait until it has.

    Raises:
        StoreError: the cluster could not.
    """
    before = await _size(client, alias)
    started = await client.decoded("POST", f"/{alias}/_forcemerge?only_expunge_deletes=true&wait_for_completion=false")
    while True:
        task = await client.decoded("GET", f"/_tasks/{started['task']}")
        if task["completed"]:
            break
        await trio.sleep(_LOOK_SECONDS)
    if "error" in task:
        raise StoreError("the relay's store could not be compacted")
    return Compacted(before, await _size(client, alias))


async def _size(client: OpenSearchClient, alias: str) -> int:
    answer = await client.decoded("GET", f"/{alias}/_stats/store?filter_path=_all.total.store.size_in_bytes")
    return int(answer["_all"]["total"]["store"]["size_in_bytes"])


_LOOK_SECONDS: Final = 0.5
_SPACE_BODY: Final[Query] = {
    "size": 0,
    "aggs": {
        "worded": {"filter": {"exists": {"field": "words"}}},
        "tombstones": {
            "filter": {"bool": {"should": [{"exists": {"field": "grave"}}, {"exists": {"field": "vanished"}}]}}
        },
        "metadata": {"filter": {"exists": {"field": "name"}}},
    },
}
"""Until when versions of an address are deleted stands in the address's own document, and is no tombstone here."""
