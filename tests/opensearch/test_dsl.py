"""A filter as OpenSearch is asked: each part, where it stands, and what is sent around it."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.support.keys import ALICE, NOW
from trio_relay import Filter
from trio_relay.nostr.access import NOBODY, Reader
from trio_relay.nostr.search import parse_search
from trio_relay.store.opensearch.documents import tag_term
from trio_relay.store.opensearch.query import (
    AN_EVENT,
    BEST_FIRST,
    NEWEST_FIRST,
    Query,
    belonging_to,
    condition,
    either,
    phrase,
    search_body,
)

A, B = "a" * 64, "b" * 64


def filtered(*clauses: Query) -> Query:
    """What stands in filter context alone."""
    return {"bool": {"filter": list(clauses)}}


def searching(text: str, **others: Any) -> Filter:
    return Filter(search=parse_search(text), **others)


PARTS: Final = {
    "nothing": (Filter(), filtered({"exists": {"field": "id"}})),
    "a limit": (Filter(limit=7), filtered(AN_EVENT)),
    "ids": (Filter(ids=frozenset([B, A])), filtered({"terms": {"id": [A, B]}})),
    "authors": (Filter(authors=frozenset([B, A])), filtered({"terms": {"pubkey": [A, B]}})),
    "kinds": (Filter(kinds=frozenset([7, 10_002])), filtered({"terms": {"kind": ["10002", "7"]}})),
    "since": (Filter(since=0), filtered({"range": {"created_at": {"gte": 0}}})),
    "until": (Filter(until=NOW), filtered({"range": {"created_at": {"lte": NOW}}})),
    "both": (Filter(since=1, until=2), filtered({"range": {"created_at": {"gte": 1, "lte": 2}}})),
    "a tag": (Filter(tags=(("t", frozenset(["y:z", ""])),)), filtered({"terms": {"tags": ["t:", "t:y:z"]}})),
    "a long tag": (
        Filter(tags=(("t", frozenset(["x" * 600])),)),
        filtered({"terms": {"tags": [tag_term("t", "x" * 600)]}}),
    ),
    "two tags": (
        Filter(tags=(("e", frozenset([A])), ("p", frozenset([B])))),
        filtered({"terms": {"tags": [f"e:{A}"]}}, {"terms": {"tags": [f"p:{B}"]}}),
    ),
    "all together": (
        Filter(frozenset([A]), frozenset([B]), frozenset([1]), (("t", frozenset(["x"])),), 1, 2, 3),
        filtered(
            {"terms": {"id": [A]}},
            {"terms": {"pubkey": [B]}},
            {"terms": {"kind": ["1"]}},
            {"terms": {"tags": ["t:x"]}},
            {"range": {"created_at": {"gte": 1, "lte": 2}}},
        ),
    ),
}


@pytest.mark.parametrize(("one", "query"), PARTS.values(), ids=PARTS)
def test_each_part_of_a_filter_is_a_condition_in_filter_context(one: Filter, query: Query) -> None:
    assert condition(one) == query


SEARCHES: Final = {
    "a word": (searching("Nostr"), {"must": [{"term": {"words": "nostr"}}], "filter": [AN_EVENT]}),
    "two words": (
        searching("nostr relay"),
        {"must": [{"term": {"words": "nostr"}}, {"term": {"words": "relay"}}], "filter": [AN_EVENT]},
    ),
    "a phrase": (
        searching('"nostr relay"'),
        {"must": [{"match_phrase": {"words": "nostr relay"}}], "filter": [AN_EVENT]},
    ),
    "what must not be": (
        searching('nostr -spam -"buy now"'),
        {
            "must": [{"term": {"words": "nostr"}}],
            "must_not": [{"term": {"words": "spam"}}, {"match_phrase": {"words": "buy now"}}],
            "filter": [AN_EVENT],
        },
    ),
    "a language": (searching("language:en"), {"filter": [{"term": {"marks": "language:en"}}]}),
    "safe for work": (
        searching("nsfw:false"),
        {"must_not": [{"term": {"marks": "nsfw"}}], "filter": [AN_EVENT]},
    ),
    "words of an author": (
        searching("nostr", authors=frozenset([A])),
        {"must": [{"term": {"words": "nostr"}}], "filter": [{"terms": {"pubkey": [A]}}]},
    ),
}


@pytest.mark.parametrize(("one", "parts"), SEARCHES.values(), ids=SEARCHES)
def test_only_the_words_of_a_search_count_for_relevance(one: Filter, parts: Query) -> None:
    assert condition(one) == {"bool": parts}


def test_authors_of_a_domain_are_a_second_condition_beside_those_asked_for() -> None:
    one = searching("domain:example.com", authors=frozenset([A]))
    assert condition(one, [B]) == filtered({"terms": {"pubkey": [A]}}, {"terms": {"pubkey": [B]}})
    # A domain in which nobody is matches nothing.
    assert condition(one, []) == filtered({"terms": {"pubkey": [A]}}, {"terms": {"pubkey": []}})


PUBLIC: Final[Query] = {"bool": {"must_not": [{"terms": {"kind": ["1059", "21059", "4"]}}]}}


def test_who_has_not_authenticated_finds_public_events_alone_and_no_other_document() -> None:
    assert condition(Filter(reader=NOBODY)) == filtered(AN_EVENT, PUBLIC)
    assert condition(Filter(kinds=frozenset([4]), reader=NOBODY)) == filtered({"terms": {"kind": ["4"]}}, PUBLIC)


def test_who_has_finds_what_he_wrote_and_what_is_addressed_to_him_and_of_wraps_only_that() -> None:
    reader = Reader(frozenset([B, A]))
    own = {
        "bool": {"filter": [{"terms": {"pubkey": [A, B]}}], "must_not": [{"terms": {"kind": ["1059", "21059"]}}]},
    }
    addressed = {"terms": {"tags": [f"p:{A}", f"p:{B}"]}}
    assert condition(Filter(reader=reader)) == filtered(AN_EVENT, {"bool": {"should": [PUBLIC, own, addressed]}})


def test_what_has_expired_is_left_out_at_a_time_alone() -> None:
    over = {"range": {"expires": {"lte": NOW}}}
    assert condition(Filter(), now=NOW) == {"bool": {"filter": [AN_EVENT], "must_not": [over]}}
    assert condition(searching("-spam"), now=NOW)["bool"]["must_not"] == [{"term": {"words": "spam"}}, over]


def test_what_belongs_to_a_key_is_what_it_wrote_and_the_gift_wraps_that_are_for_it() -> None:
    wraps = {"bool": {"filter": [{"term": {"kind": "1059"}}, {"term": {"tags": f"p:{A}"}}]}}
    assert belonging_to(A, NOW) == filtered(
        {"range": {"created_at": {"lte": NOW}}}, {"bool": {"should": [{"term": {"pubkey": A}}, wraps]}}
    )


def test_values_that_are_all_asked_for_are_conditions_of_their_own() -> None:
    one = Filter(tags=(("t", frozenset(["a"])), ("t", frozenset(["b"]))))
    assert condition(one) == filtered({"terms": {"tags": ["t:a"]}}, {"terms": {"tags": ["t:b"]}})


def test_one_word_is_a_term_and_several_are_a_phrase() -> None:
    assert phrase(("a",)) == {"term": {"words": "a"}}
    assert phrase(("a", "b")) == {"match_phrase": {"words": "a b"}}


def test_of_a_last_word_the_beginning_is_enough_and_the_whole_word_is_better() -> None:
    beginning = {"prefix": {"words": {"value": "sa"}}}
    assert phrase(("sa*",)) == {"bool": {"should": [{"term": {"words": "sa"}}, beginning]}}
    begun = {"match_phrase_prefix": {"words": {"query": "a sa", "max_expansions": 4_096}}}
    assert phrase(("a", "sa*")) == {"bool": {"should": [{"match_phrase": {"words": "a sa"}}, begun]}}


def test_what_meets_either_condition_is_found_without_relevance() -> None:
    one, other = condition(Filter(since=1)), condition(Filter(until=2))
    assert either([one]) == one
    assert either([one, other]) == {"bool": {"filter": [{"bool": {"should": [one, other]}}]}}


@pytest.mark.parametrize(
    ("after", "more"),
    [((), {}), ((NOW, ALICE.pubkey), {"search_after": [NOW, ALICE.pubkey]})],
    ids=["the first page", "a later one"],
)
def test_a_search_asks_for_a_page_in_order_with_versions_and_without_a_total(
    after: tuple[object, ...], more: Query
) -> None:
    assert search_body(AN_EVENT, NEWEST_FIRST, 7, after) == {
        "query": {"exists": {"field": "id"}},
        "sort": [{"created_at": "desc"}, {"id": "asc"}],
        "size": 7,
        "track_total_hits": False,
        "version": True,
        **more,
    }


def test_of_equal_relevance_the_newest_comes_first() -> None:
    assert BEST_FIRST == [{"_score": "desc"}, {"created_at": "desc"}, {"id": "asc"}]
