"""Two stores synced by this relay as the client of another: equal in the end to the union that is plain to see."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any, NamedTuple

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.backends import everything
from tests.support.keys import ALICE, BOB, NOW, Author
from tests.support.marks import examples
from tests.support.synced_stores import store_of, synced
from trio_relay import Event, Limits, SyncOptions

POOL = [
    author.event(str(number), created_at=NOW - 40 + number // crowd, kind=kind)
    for author in (ALICE, BOB)
    for crowd, kind in ((1, 1), (20, 7), (7, 1_000))
    for number in range(40)
]


class Sample(NamedTuple):
    """Some of the pool."""

    seed: int
    share: float

    def events(self) -> list[Event]:
        random = Random(self.seed)
        return [event for event in POOL if random.random() < self.share]


some = st.builds(Sample, st.integers(0, 2**32), st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]))
directions = st.sampled_from(["down", "up", "both"])
filters: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {"kinds": [1]}, {"authors": [ALICE.pubkey]}, {"since": NOW - 30, "until": NOW - 10}]
)


def wanted(event: Event, filter_: dict[str, Any]) -> bool:
    return (
        event.kind in filter_.get("kinds", [event.kind])
        and event.pubkey in filter_.get("authors", [event.pubkey])
        and filter_.get("since", 0) <= event.created_at <= filter_.get("until", NOW)
    )


async def check(here: Sample, there: Sample, filter_: dict[str, Any], direction: str, **how: Any) -> None:
    ours, theirs = await store_of(here.events()), await store_of(there.events())
    report = await synced(ours, theirs, filter_, direction=direction, **how)
    down = [event for event in there.events() if wanted(event, filter_)] if direction != "up" else []
    up = [event for event in here.events() if wanted(event, filter_)] if direction != "down" else []
    assert {event.id for event in await everything(ours)} == {event.id for event in [*here.events(), *down]}
    assert {event.id for event in await everything(theirs)} == {event.id for event in [*there.events(), *up]}
    assert report.is_whole, report.remarks


@settings(max_examples=examples(60))
@given(some, some, filters, directions, st.integers(1, 60), st.sampled_from([1, 7, 50, 1_000_000]))
def test_by_comparing_sets_both_have_what_either_had(
    here: Sample, there: Sample, filter_: dict[str, Any], direction: str, most_items: int, cap: int
) -> None:
    how = {"most_items": most_items, "sync": SyncOptions(max_events=cap, frame_bytes=4_096)}
    trio.run(partial(check, here, there, filter_, direction, **how))


@settings(max_examples=examples(60))
@given(some, some, filters, directions, st.integers(1, 60), st.sampled_from([25, 60, 500]), st.booleans())
def test_by_paging_through_time_both_have_what_either_had(
    here: Sample,
    there: Sample,
    filter_: dict[str, Any],
    direction: str,
    most_items: int,
    limit: int,
    hints: bool,
) -> None:
    how = {"most_items": most_items, "has_sync": False, "has_hints": hints, "limits": Limits(max_limit=limit)}
    trio.run(partial(check, here, there, filter_, direction, **how))


async def test_a_second_that_holds_more_than_a_page_is_taken_apart() -> None:
    """By kinds, by authors where one kind is too much; of a kind and an author it has fewer than a page."""
    crowd = [
        author.event(str(number), created_at=NOW - 5, kind=kind)
        for author in (ALICE, BOB, Author("carol"))
        for kind in (1, 7, 1_000)
        for number in range(20)
    ]
    others = [author.event("met", created_at=NOW, kind=1_000) for author in (ALICE, BOB, Author("carol"))]
    here, there = await store_of([]), await store_of([*crowd, *others])
    report = await synced(here, there, direction="down", has_sync=False, limits=Limits(max_limit=25))
    assert {event.id for event in await everything(here)} == {event.id for event in [*crowd, *others]}
    assert report.is_whole
