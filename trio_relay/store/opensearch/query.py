"""Translates filters to OpenSearch's query language. Pure; tests compare its answers with a naive twin's.

All conditions stand in filter context, whose results OpenSearch caches; only the words of a search count for relevance.
A filter that can match nothing is not asked (`Filter.wants_stored`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeAlias

from trio_relay.nostr.access import Reader
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import GIFT_WRAP, WRAPS
from trio_relay.nostr.ranking import hides_words
from trio_relay.nostr.tokenizer import ANY_END
from trio_relay.store.opensearch.documents import REQUESTS, tag_term

Query: TypeAlias = dict[str, Any]

NEWEST_FIRST: Final[list[Query]] = [{"created_at": "desc"}, {"id": "asc"}]
"""NIP-01's order, in which the index is sorted."""
BEST_FIRST: Final[list[Query]] = [{"_score": "desc"}, *NEWEST_FIRST]
AN_EVENT: Final[Query] = {"exists": {"field": "id"}}
_MOST_ENDINGS: Final = 4_096
TARGETS_AT_A_TIME: Final = 200
"""Targets in one condition: up to four clauses each, of which OpenSearch takes 1,024."""


def condition(filter_: Filter, authors: Collection[str] | None = None, *, now: int | None = None) -> Query:
    """Make the condition of a filter; only events match it.

    Args:
        filter_: the filter; its limit plays no part.
        authors: the authors of the domain that its search names.
        now: seconds since 1970: events that have expired by then do not match; None: expired ones match, too.
    """
    clauses: list[Query] = [
        {"terms": {field: sorted(values)}} for field, values in _lists(filter_, authors) if values is not None
    ]
    times = {name: value for name, value in (("gte", filter_.since), ("lte", filter_.until)) if value is not None}
    if times:
        clauses.append({"range": {"created_at": times}})
    parts: dict[str, list[Query]] = {"must_not": []}
    if (search := filter_.search) is not None:
        wanted = unweighed if hides_words(filter_.reader) else phrase
        parts["must"] = [wanted(words) for words in search.phrases]
        parts["must_not"] += [phrase(words) for words in search.excluded]
        clauses += [{"term": {"marks": mark}} for mark in search.marks]
        parts["must_not"] += [{"term": {"marks": mark}} for mark in search.unwanted_marks]
    clauses = clauses or [AN_EVENT]  # what follows only excludes, and the index holds more than events
    if filter_.reader is not None:
        clauses.append(readable(filter_.reader, filter_.kinds))
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
    """Make the condition of events that have expired at this time, in seconds since 1970 (NIP-40)."""
    return {"range": {"expires": {"lte": now}}}


def of_kinds(kinds: Iterable[int]) -> Query:
    """Make the condition of events of any of these kinds."""
    return {"terms": {"kind": _kinds(kinds)}}


def readable(reader: Reader, kinds: AbstractSet[int] | None = None) -> Query:
    """Make the condition of events that a reader may read, like `access.may_read`.

    Args:
        reader: whose keys count.
        kinds: what the events are of, if that is known: where all of them are private, the cluster looks at no event
            but those that concern the reader.
    """
    public: Query = {"bool": {"must_not": [of_kinds(reader.private_kinds)]}}
    if not reader.keys:
        return public
    keys = sorted(reader.keys)
    own: Query = {
        "bool": {"filter": [{"terms": {"pubkey": keys}}], "must_not": [of_kinds(WRAPS)]},
    }
    addressed: Query = {"terms": {"tags": [tag_term("p", key) for key in keys]}}
    concerning = [own, addressed]
    is_private = kinds is not None and kinds <= reader.private_kinds
    return {"bool": {"should": concerning if is_private else [public, *concerning]}}


def belonging_to(pubkey: str, until: int) -> Query:
    """Make the condition of events that belong to a key (`event.claimants`) and are as old as `until` or older."""
    return {"bool": {"filter": [{"range": {"created_at": {"lte": until}}}, _owned_by(pubkey)]}}


def _owned_by(pubkey: str) -> Query:
    wraps = [{"term": {"kind": str(GIFT_WRAP)}}, {"term": {"tags": tag_term("p", pubkey)}}]
    owned: list[Query] = [{"term": {"pubkey": pubkey}}, {"bool": {"filter": wraps}}]
    return {"bool": {"should": owned}}


def deletable(targets: Iterable[tuple[str, str]]) -> Iterator[Query]:
    """Yield conditions of the events of these ids that a deletion may delete: no requests, no events of others.

    Args:
        targets: (id, pubkey that asks); each condition is for up to `TARGETS_AT_A_TIME` of them.
    """
    ordered = sorted({(pubkey, event_id) for event_id, pubkey in targets})
    for start in range(0, len(ordered), TARGETS_AT_A_TIME):
        ids: dict[str, list[str]] = {}
        for pubkey, event_id in ordered[start : start + TARGETS_AT_A_TIME]:
            ids.setdefault(pubkey, []).append(event_id)
        asked: list[Query] = [
            {"bool": {"filter": [{"terms": {"id": named}}, _owned_by(pubkey)]}} for pubkey, named in ids.items()
        ]
        requests = of_kinds(REQUESTS)
        yield {"bool": {"filter": [{"bool": {"should": asked}}], "must_not": [requests]}}


def _kinds(kinds: Iterable[int]) -> list[str]:
    return sorted(map(str, kinds))


def phrase(words: Sequence[str]) -> Query:
    """Make the condition of words that follow one another; whole words count twice where a beginning is enough.

    A word alone is looked up among all that begin so; the last of a phrase among the first `_MOST_ENDINGS` of them.
    """
    joined = " ".join(words)
    if joined.endswith(ANY_END):
        joined = joined[:-1]
        begun: Query = {"prefix": {"words": {"value": joined}}}
        if len(words) > 1:
            begun = {"match_phrase_prefix": {"words": {"query": joined, "max_expansions": _MOST_ENDINGS}}}
        return {"bool": {"should": [phrase([*words[:-1], words[-1][:-1]]), begun]}}
    if len(words) == 1:
        return {"term": {"words": joined}}
    return {"match_phrase": {"words": joined}}


def unweighed(words: Sequence[str]) -> Query:
    """Make the same condition where words may be hidden from the reader (`ranking.hides_words`).

    It counts 1 for a match, and 1 more for a whole word where a beginning is enough, however rare that is. The last
    word of a phrase is whole: which words begin so would be looked up among the hidden ones too.
    """
    whole = [*words[:-1], words[-1].removesuffix(ANY_END)]
    found: list[Query] = [_counting_one(phrase(whole))]
    if words[-1].endswith(ANY_END) and len(words) == 1:
        found.append(_counting_one({"prefix": {"words": {"value": whole[0]}}}))
    return {"bool": {"should": found}}


def _counting_one(query: Query) -> Query:
    return {"constant_score": {"filter": query}}


def either(conditions: Sequence[Query]) -> Query:
    """Make the condition of what meets any of the conditions."""
    return conditions[0] if len(conditions) == 1 else {"bool": {"filter": [{"bool": {"should": list(conditions)}}]}}


def search_body(query: Query, order: list[Query], size: int, after: Sequence[object] = ()) -> Query:
    """Make the body of a `_search` for what comes next in this order."""
    body: Query = {"query": query, "sort": order, "size": size, "track_total_hits": False, "version": True}
    if after:
        body["search_after"] = list(after)
    return body
