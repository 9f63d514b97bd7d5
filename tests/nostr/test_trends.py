"""Whom and what many keys speak of: each key once, and only what speaks at its time."""

from __future__ import annotations

import re

import pytest

from tests.support.keys import ALICE, BOB, CAROL, NOW
from trio_relay import Event
from trio_relay.nostr.trends import SILENT_KINDS, Tally, Trend, Trends, speaks

NOTE, OTHER = ALICE.event("note"), BOB.event("other")


def _tallied(*events: Event, limit: int = 10) -> Trends:
    tally = Tally()
    for event in events:
        tally.add(event)
    return tally.trends(NOW, NOW + 9, limit)


def test_a_key_counts_once_however_often_it_speaks() -> None:
    many = [BOB.event(str(number), tags=[["e", NOTE.id], ["t", "sea"], ["p", ALICE.pubkey]]) for number in range(5)]
    carol = CAROL.event(tags=[["e", OTHER.id], ["e", NOTE.id], ["t", "sky"], ["t", "sea"], ["p", BOB.pubkey]])
    assert _tallied(*many, carol) == Trends(
        NOW,
        NOW + 9,
        6,
        [Trend(NOTE.id, 2), Trend(OTHER.id, 1)],
        [Trend("sea", 2), Trend("sky", 1)],
        sorted([Trend(ALICE.pubkey, 1), Trend(BOB.pubkey, 1)], key=lambda trend: trend.name),
    )


def test_equals_come_by_name_and_only_so_many() -> None:
    events = [ALICE.event(tags=[["t", tag] for tag in "cab"]), BOB.event(tags=[["t", "c"]])]
    assert _tallied(*events, limit=2).tags == [Trend("c", 2), Trend("a", 1)]


def test_what_is_no_id_no_key_and_no_tag_is_not_counted() -> None:
    assert _tallied(ALICE.event(tags=[["e", "x"], ["e"], ["p", "y"], ["t", ""], ["t"], [], ["T", "z"]])) == Trends(
        NOW, NOW + 9, 1, [], [], []
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (0, False),
        (1, True),
        (3, False),
        (4, False),
        (5, False),
        (7, True),
        (30, True),
        (1_058, True),
        (1_059, False),
        (1_060, True),
        (9_735, True),
        (10_002, False),
        (19_999, False),
        (20_001, True),
        (21_059, False),
        (30_000, False),
        (30_023, True),
        (31_000, True),
    ],
)
def test_lists_deletions_and_what_is_private_say_nothing(kind: int, expected: bool) -> None:
    event = ALICE.event(kind=kind, tags=[["d", ""], ["p", BOB.pubkey]])
    assert speaks(event) is expected
    assert bool(_tallied(event).authors) is expected
    # The same rule, as an index of texts is asked.
    assert (re.fullmatch(SILENT_KINDS, str(kind)) is None) is expected
