"""How the cluster finds an answer, by its own profile of one search: Lucene's queries, and documents gone through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from trio_relay.store.insight import PlanStep
from trio_relay.store.opensearch.client import OpenSearchClient
from trio_relay.store.opensearch.pages import search_whole
from trio_relay.store.opensearch.query import Query, search_body
from trio_relay.store.opensearch.responses import Whole

_MOST_SHOWN: Final = 160
"""Characters of a query that are shown: one may name thousands of keys."""
_MOST_STEPS: Final = 40
_PROFILED: Final = 500
"""Hits of the search that is profiled, at most: as many as a page has."""


class _Breakdown(msgspec.Struct, gc=False):
    next_doc_count: int = 0
    advance_count: int = 0
    match_count: int = 0


class _Part(msgspec.Struct):
    type: str
    description: str
    breakdown: _Breakdown
    children: list[_Part] = []

    @property
    def documents(self) -> int:
        """Those that it was moved to, one after the other or by leaps."""
        return self.breakdown.next_doc_count + self.breakdown.advance_count


class _Searched(msgspec.Struct):
    query: list[_Part]


class _Shard(msgspec.Struct):
    searches: list[_Searched]


class _Profiling(msgspec.Struct):
    shards: list[_Shard]


class Profiled(Whole):
    """What the cluster tells of a search that it was to profile."""

    profile: _Profiling


def profiled_body(query: Query, order: list[Query], limit: int) -> Query:
    """Make the body of the search for the first page of an answer, without its events and with its profile."""
    return search_body(query, order, min(limit, _PROFILED)) | {"_source": False, "profile": True}


async def profile(
    client: OpenSearchClient, alias: str, query: Query, order: list[Query], limit: int
) -> tuple[tuple[PlanStep, ...], int]:
    """Have the first page of an answer searched for; returns what the cluster did, and documents gone through.

    Args:
        client: of the cluster.
        alias: what is searched.
        query: the condition.
        order: of the answer.
        limit: of the filter.

    Raises:
        StoreError: the cluster could not answer.
    """
    found = await search_whole(client, alias, profiled_body(query, order, limit), Profiled)
    return told(found)


def told(found: Profiled) -> tuple[tuple[PlanStep, ...], int]:
    """Put a profile into steps, equal ones of all shards together, and sum up the documents that they went through.

    A query leads its parts over the index and each to the next document that may match, so the documents of the whole
    are those that were looked at in full.
    """
    roots = [part for shard in found.profile.shards for searched in shard.searches for part in searched.query]
    documents: dict[str, int] = {}
    for step, number in (each for root in roots for each in _steps(root, 0)):
        documents[step] = documents.get(step, 0) + number
    plan = [PlanStep(None, f"{step} ({number} documents)") for step, number in documents.items()]
    return tuple(plan[:_MOST_STEPS]), sum(root.documents for root in roots)


def _steps(part: _Part, depth: int) -> Iterator[tuple[str, int]]:
    text = part.description
    shown = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
    yield f"{'· ' * depth}{part.type} {shown}", part.documents
    for child in part.children:
        yield from _steps(child, depth + 1)
