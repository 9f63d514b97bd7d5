"""The four orders of `sort:`, by examples whose scores can be worked out by hand."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import ALICE, BOB, NOW
from trio_relay import Filter
from trio_relay.nostr.ranking import (
    HOUR,
    Reference,
    Voices,
    candidates,
    count_voices,
    ranked,
    ranked_by,
    reference_window,
    references_of,
)
from trio_relay.nostr.search import Search, Sort

DAY: Final = 24 * HOUR
SORTS: Final[list[Sort]] = ["top", "hot", "rising", "controversial"]
TEA: Final = (("tea",),)


def said(target: str, *pubkeys: str, vote: int = 0) -> list[Reference]:
    return [Reference(target, pubkey, vote) for pubkey in pubkeys]


@pytest.mark.parametrize(
    ("sort", "since"),
    [("top", None), ("hot", NOW - 7 * DAY), ("rising", NOW - 2 * DAY), ("controversial", NOW - 7 * DAY)],
)
def test_the_newest_of_a_window_are_candidates(sort: Sort, since: int | None) -> None:
    one = Filter(kinds=frozenset([1]), limit=5, search=Search(TEA, sort=sort))
    assert candidates(one, NOW) == Filter(kinds=frozenset([1]), since=since, limit=1_000, search=Search(TEA))
    assert reference_window(one) == (None, None)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize(("since", "until"), [(1, 2), (1, None), (None, 2), (0, None)])
def test_the_times_of_the_filter_hold_instead(sort: Sort, since: int | None, until: int | None) -> None:
    one = Filter(since=since, until=until, limit=5, search=Search(sort=sort))
    assert candidates(one, NOW) == Filter(since=since, until=until, limit=1_000, search=Search())
    assert reference_window(one) == (since, until)


@pytest.mark.parametrize(("limit", "expected"), [(1, 1_000), (100, 1_000), (101, 1_010), (500, 5_000), (5_000, 5_000)])
def test_there_are_ten_candidates_for_each_place_within_bounds(limit: int, expected: int) -> None:
    assert candidates(Filter(limit=limit, search=Search(sort="top")), NOW).limit == expected


def test_a_window_never_begins_before_time() -> None:
    assert candidates(Filter(limit=1, search=Search(sort="hot")), 5).since == 0


def test_top_counts_each_key_once_for_a_note() -> None:
    references = said("a", "k", "k", "k") + said("b", "k", "l") + said("other", "k", "l", "m")
    assert ranked("top", [("a", NOW), ("b", NOW), ("c", NOW)], references, NOW, 10) == ["b", "a"]


def test_hot_halves_in_a_day() -> None:
    voices = {"fresh": Voices(3), "old": Voices(5), "older": Voices(13), "ancient": Voices(1_000)}
    notes = [("ancient", NOW - 10_000 * DAY), ("old", NOW - DAY), ("older", NOW - 2 * DAY), ("fresh", NOW)]
    assert ranked_by("hot", notes, voices, NOW, 10) == ["older", "fresh", "old", "ancient"]


def test_rising_is_by_the_hour_and_a_note_of_this_moment_is_six_minutes_old() -> None:
    voices = {"now": Voices(1), "minutes": Voices(1), "hours": Voices(30), "ahead": Voices(2)}
    notes = [("hours", NOW - 2 * HOUR), ("minutes", NOW - 300), ("now", NOW), ("ahead", NOW + 900)]
    assert ranked_by("rising", notes, voices, NOW, 10) == ["ahead", "hours", "now", "minutes"]


def test_controversial_needs_both_sides_and_counts_a_key_once_for_each() -> None:
    references = said("even", "k", "l", vote=1) + said("even", "k", "m", vote=-1)
    references += said("loved", *"abcdefgh", vote=1) + said("loved", "k", "k", vote=-1)
    references += said("liked", *"abcdefgh", vote=1) + said("talked", *"abcdefgh")
    notes = [(note, NOW) for note in ("liked", "loved", "even", "talked")]
    # The scores: 2 sqrt(4) and 1 sqrt(9).
    assert ranked("controversial", notes, references, NOW, 10) == ["even", "loved"]


@pytest.mark.parametrize("sort", SORTS)
def test_of_equal_notes_the_newer_comes_first_then_the_lower_id(sort: Sort) -> None:
    now = NOW if sort in ("top", "controversial") else NOW - DAY  # from where all are of one age
    notes = [("b", NOW), ("c", NOW + 1), ("a", NOW)]
    voices = {note: Voices(2, 1, 1) for note, _ in notes}
    assert ranked_by(sort, notes, voices, now, 10) == ["c", "a", "b"]
    assert ranked_by(sort, notes, voices, now, 2) == ["c", "a"]


@given(
    st.sampled_from(SORTS),
    st.dictionaries(st.sampled_from("abcdef"), st.integers(NOW - 10 * DAY, NOW + 900)),
    st.lists(st.builds(Reference, st.sampled_from("abcdefg"), st.sampled_from("kl"), st.sampled_from([-1, 0, 1]))),
    st.integers(0, 5),
)
def test_only_what_is_spoken_of_is_ranked_and_more_places_only_add(
    sort: Sort, notes: dict[str, int], references: list[Reference], limit: int
) -> None:
    whole = ranked(sort, notes.items(), references, NOW, 10)
    heard = {note for note in notes if any(one.target == note for one in references)}
    if sort == "controversial":
        votes = {(one.target, one.vote) for one in references}
        heard = {note for note in heard if (note, 1) in votes and (note, -1) in votes}
    assert set(whole) == heard
    assert len(whole) == len(heard)
    assert ranked(sort, notes.items(), references[::-1], NOW, limit) == whole[:limit]


def test_an_event_speaks_once_of_each_note_that_its_e_tags_name() -> None:
    tags = [["e", "x"], ["e", "x", "", "reply"], ["e", "y"], ["e"], [], ["p", "z"], ["E", "z"]]
    expected = {Reference("x", ALICE.pubkey, 0), Reference("y", ALICE.pubkey, 0)}
    heard = list(references_of(ALICE.event(tags=tags)))
    assert len(heard) == 2
    assert set(heard) == expected


def test_a_deletion_says_nothing_and_a_reaction_votes() -> None:
    assert list(references_of(ALICE.event(kind=5, tags=[["e", "x"]]))) == []
    assert list(references_of(BOB.event("-", kind=7, tags=[["e", "x"]]))) == [Reference("x", BOB.pubkey, -1)]


def test_voices_are_keys() -> None:
    references = said("a", "k", "l") + said("a", "k", "m", vote=1) + said("a", "k", vote=-1)
    assert count_voices(references) == {"a": Voices(3, 2, 1)}
