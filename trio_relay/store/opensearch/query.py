"""Filters to OpenSearch's query language. Pure; the tests compare its answers with a naive twin's.

All conditions stand in filter context, where OpenSearch keeps and shares what they found; only the words of a search
count for relevance. A filter that can match nothing is not asked (`Filter.wants_stored`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, TypeAlias

from trio_relay.nostr.filter import Filter
from trio_relay.store.opensearch.documents import tag_term

Query: TypeAlias = dict[str, Any]

NEWEST_FIRST: Final[list[Query]] = [{"created_at": "desc"}, {"id": "asc"}]
"""NIP-01's order, and the one in which the index is sorted."""
BEST_FIRST: Final[list[Query]] = [{"_score": "desc"}, *NEWEST_FIRST]
AN_EVENT: Final[Query] = {"exists": {"field": "id"}}


def condition(one: Filter, authors: Collection[str] | None = None) -> Query:
    """What an event must be like to match a filter; nothing but events match it.

    Args:
        one: the filter; its limit plays no part.
        authors: those of the domain that its search names.
    """
    clauses: list[Query] = [
        {"terms": {field: sorted(values)}} for field, values in _lists(one, authors) if values is not None
    ]
    times = {name: value for name, value in (("gte", one.since), ("lte", one.until)) if value is not None}
    if times:
        clauses.append({"range": {"created_at": times}})
    parts: dict[str, list[Query]] = {}
    if (search := one.search) is not None:
        parts["must"] = [phrase(words) for words in search.phrases]
        parts["must_not"] = [phrase(words) for words in search.excluded]
        clauses += [{"term": {"marks": mark}} for mark in search.marks]
        parts["must_not"] += [{"term": {"marks": mark}} for mark in search.unwanted_marks]
    parts["filter"] = clauses or [AN_EVENT]
    return {"bool": {name: part for name, part in parts.items() if part}}


def _lists(one: Filter, authors: Collection[str] | None) -> Iterable[tuple[str, Collection[str] | None]]:
    yield "id", one.ids
    yield "pubkey", one.authors
    yield "pubkey", authors
    yield "kind", None if one.kinds is None else list(map(str, one.kinds))
    for letter, values in one.tags:
        yield "tags", [tag_term(letter, value) for value in values]


def phrase(words: Sequence[str]) -> Query:
    """Words that follow one another."""
    if len(words) == 1:
        return {"term": {"words": words[0]}}
    return {"match_phrase": {"words": " ".join(words)}}


def either(conditions: Sequence[Query]) -> Query:
    """What meets any of the conditions."""
    return conditions[0] if len(conditions) == 1 else {"bool": {"filter": [{"bool": {"should": list(conditions)}}]}}


def search_body(query: Query, order: list[Query], size: int, after: Sequence[object] = ()) -> Query:
    """The body of a `_search` for what comes next in this order."""
    body: Query = {"query": query, "sort": order, "size": size, "track_total_hits": False, "version": True}
    if after:
        body["search_after"] = list(after)
    return body
