"""What a cluster's profile of a search is told as; pure, with answers as OpenSearch 2.19 gives them."""

from __future__ import annotations

from typing import Any

import msgspec

from trio_relay.store import insight, opensearch


def part(kind: str, description: str, steps: int, leaps: int = 0, children: list[Any] | None = None) -> dict[str, Any]:
    breakdown = {"next_doc_count": steps, "advance_count": leaps, "score_count": 3, "match": 17}
    found = {"type": kind, "description": description, "time_in_nanos": 5, "breakdown": breakdown}
    return found | ({"children": children} if children else {})


def told(*shards: list[dict[str, Any]]) -> tuple[tuple[insight.PlanStep, ...], int]:
    answer = {
        "timed_out": False,
        "_shards": {"failed": 0},
        "hits": {"hits": []},
        "profile": {"shards": [{"id": "x", "searches": [{"query": roots, "rewrite_time": 1}]} for roots in shards]},
    }
    return opensearch.explain.told(msgspec.convert(answer, opensearch.explain.Profiled))


def test_equal_steps_of_all_shards_are_one_and_those_of_the_whole_query_are_summed_up() -> None:
    one = part("BooleanQuery", "#kind:1 #*:*", 3, 1, [part("TermQuery", "kind:1", 5)])
    other = part("BooleanQuery", "#kind:1 #*:*", 2, 0, [part("TermQuery", "kind:1", 1)])
    assert told([one], [other]) == (
        (
            insight.PlanStep(None, "BooleanQuery #kind:1 #*:* (6 documents)"),
            insight.PlanStep(None, "· TermQuery kind:1 (6 documents)"),
        ),
        6,
    )


def test_a_query_of_many_values_and_one_of_many_parts_are_cut() -> None:
    (step, *_), _ = told([part("TermQuery", "x" * 10_000, 1)])
    assert len(step.detail) < 200
    steps, _ = told([part("BooleanQuery", "", 1, 0, [part("TermQuery", f"kind:{n}", 1) for n in range(1_000)])])
    assert len(steps) == 40


def test_a_search_that_is_profiled_asks_for_one_page_and_for_no_event() -> None:
    body = opensearch.explain.profiled_body({"match_all": {}}, [{"created_at": "desc"}], 5_000)
    assert (body["size"], body["_source"], body["profile"]) == (500, False, True)
