"""Filters to OpenSearch's query language. Pure; the tests compare its answers with a naive twin's.

All conditions stand in filter context, where OpenSearch keeps and shares what they found; only the words of a search
count for relevance. A filter that can match nothing is not asked (`Filter.wants_stored`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from trio_relay.nostr.access import Reader
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import GIFT_WRAP, WRAPS
from trio_relay.store.opensearch.documents import REQUESTS, tag_term

Query: TypeAlias = dict[str, Any]

NEWEST_FIRST: Final[list[Query]] = [{"created_at": "desc"}, {"id": "asc"}]
"""NIP-01's order, and the one in which the index is sorted."""
BEST_FIRST: Final[list[Query]] = [{"_score": "desc"}, *NEWEST_FIRST]
AN_EVENT: Final[Query] = {"exists": {"field": "id"}}
TARGETS_AT_A_TIME: Final = 200
"""Where each is another key's, they are four clauses each, of which OpenSearch takes 1,024."""


def condition(filter_: Filter, authors: Collection[str] | None = None, *, now: int | None = None) -> Query:
    """What an event must be like to match a filter; nothing but events match it.

    Args:
        filter_: the filter; its limit plays no part.
        authors: those of the domain that its search names.
        now: seconds since 1970: what has expired by then does not match; None, where that plays no part.
    """
    clauses: list[Query] = [
        {"terms": {field: sorted(values)}} for field, values in _lists(filter_, authors) if values is not None
    ]
    times = {name: value for name, value in (("gte", filter_.since), ("lte", filter_.until)) if value is not None}
    if times:
        clauses.append({"range": {"created_at": times}})
    parts: dict[str, list[Query]] = {"must_not": []}
    if (search := filter_.search) is not None:
        parts["must"] = [phrase(words) for words in search.phrases]
        parts["must_not"] += [phrase(words) for words in search.excluded]
        clauses += [{"term": {"marks": mark}} for mark in search.marks]
        parts["must_not"] += [{"term": {"marks": mark}} for mark in search.unwanted_marks]
    clauses = clauses or [AN_EVENT]  # what follows only leaves out, and there is more than events in the index
    if filter_.reader is not None:
        clauses.append(readable(filter_.reader))
    if now is not None:
        parts["must_not"].append(expired(now))
    parts["filter"] = clauses
    return {"bool": {name: part for name, part in parts.items() if part}}


def _lists(filter_: Filter, authors: Collection[str] | None) -> Iterable[tuple[str, Collection[str] | None]]:
    yield "id", filter_.ids
    yield "pubkey", filter_.authors
    yield "pubkey", authors
    yield "kind", None if filter_.kinds is None else list(map(str, filter_.kinds))
    for letter, values in filter_.tags:
        yield "tags", [tag_term(letter, value) for value in values]


def expired(now: int) -> Query:
    """What is over at this time, in seconds since 1970 (NIP-40)."""
    return {"range": {"expires": {"lte": now}}}


def readable(reader: Reader) -> Query:
    """What somebody may read: `access.may_read` as a condition."""
    public: Query = {"bool": {"must_not": [{"terms": {"kind": _kinds(reader.private_kinds)}}]}}
    if not reader.keys:
        return public
    keys = sorted(reader.keys)
    own: Query = {
        "bool": {"filter": [{"terms": {"pubkey": keys}}], "must_not": [{"terms": {"kind": _kinds(WRAPS)}}]},
    }
    addressed: Query = {"terms": {"tags": [tag_term("p", key) for key in keys]}}
    return {"bool": {"should": [public, own, addressed]}}


def belonging_to(pubkey: str, until: int) -> Query:
    """What belongs to a key (`event.claimants`) and is as old as this or older, in seconds since 1970."""
    return {"bool": {"filter": [{"range": {"created_at": {"lte": until}}}, _owned_by(pubkey)]}}


def _owned_by(pubkey: str) -> Query:
    wraps = [{"term": {"kind": str(GIFT_WRAP)}}, {"term": {"tags": tag_term("p", pubkey)}}]
    owned: list[Query] = [{"term": {"pubkey": pubkey}}, {"bool": {"filter": wraps}}]
    return {"bool": {"should": owned}}


def deletable(targets: Iterable[tuple[str, str]]) -> Iterator[Query]:
    """What a deletion deletes of these ids, wherever it stands: no request, and nothing of anybody else's.

    Args:
        targets: (id, pubkey of who asks). Each condition is for so many of them as `TARGETS_AT_A_TIME`.
    """
    ordered = sorted({(pubkey, event_id) for event_id, pubkey in targets})
    for start in range(0, len(ordered), TARGETS_AT_A_TIME):
        ids: dict[str, list[str]] = {}
        for pubkey, event_id in ordered[start : start + TARGETS_AT_A_TIME]:
            ids.setdefault(pubkey, []).append(event_id)
        asked: list[Query] = [
            {"bool": {"filter": [{"terms": {"id": named}}, _owned_by(pubkey)]}} for pubkey, named in ids.items()
        ]
        requests: Query = {"terms": {"kind": _kinds(REQUESTS)}}
        yield {"bool": {"filter": [{"bool": {"should": asked}}], "must_not": [requests]}}


def _kinds(kinds: Iterable[int]) -> list[str]:
    return sorted(map(str, kinds))


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
