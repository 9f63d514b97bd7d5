"""The gate of retention: what would be forgotten at once does not come in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.test_forgetting import (
    ADMIN,
    DAY,
    MEMBER,
    RELAY,
    STRANGER,
    TRUSTED,
    Stored,
    keeping,
    rule,
    rules_made,
    stored,
)
from tests.policy.verdicts import rules_of, verdict
from tests.support.keys import ALICE, NOW
from trio_relay import Rules
from trio_relay.policy import event_checks, forgetting, identity, retention, retention_checks

KEPT = "invalid: this relay keeps kind {} for 1 day (retention.max_age_seconds)"


def refusal(event: Any, rules: Rules) -> str | None:
    """Why an event is refused by this check alone; it need have no id and no signature."""
    if not retention_checks.is_bounded(event.kind, rules):
        return None
    found = retention_checks.check_retention(event, identity.Identity(), rules, NOW)
    return None if found is None else str(found)


def after_a_round(rules: Rules, events: list[Stored]) -> dict[int, int]:
    """Go through these as a round does; returns what goes, by id, and why."""
    ordered = sorted(events, key=lambda event: (-event.created_at, event.id))
    census = forgetting.Walk(rules, NOW)
    for event in ordered:
        census.goes(event)
    bounds = rules.retention
    walk = forgetting.Walk(rules, NOW, forgetting.rooms_of(census.kept, bounds.max_events, bounds.max_bytes))
    gone, counts = dict[int, int](), dict[int, int]()
    for event in ordered:
        if walk.goes(event):
            (gone[event.id],) = (why for why, one in walk.forgotten.items() if one.events > counts.get(why, 0))
            counts[gone[event.id]] = counts.get(gone[event.id], 0) + 1
    rules.take_floors(walk.floors())
    return gone


@given(
    st.lists(rules_made, max_size=3),
    st.lists(stored, max_size=25, unique_by=lambda event: event.id),
    st.sampled_from([0, 1, 5, 12]),
    st.sampled_from([0, 50, 500, 1_204]),
)
def test_what_a_round_has_left_may_come_again_and_what_it_took_may_not(
    rules: list[retention.RetentionRule], events: list[Stored], max_events: int, max_bytes: int
) -> None:
    """But for what shares its second with something that is kept."""
    made = keeping(*rules, max_events=max_events, max_bytes=max_bytes)
    gone = after_a_round(made, events)
    left = {event.created_at for event in events if event.id not in gone}
    for event in events:
        if event.id not in gone:
            assert refusal(event, made) is None
        elif event.created_at not in left:
            assert refusal(event, made) is not None


def test_what_its_rule_would_remove_at_once_is_refused() -> None:
    rules = rules_of()
    rules.retention = retention.Retention((rule(kinds=(0,)), rule(max_age_seconds=DAY)))
    assert verdict(ALICE.event(created_at=NOW - DAY - 1), rules) == KEPT.format(1)
    assert verdict(ALICE.event(created_at=NOW - DAY), rules) is None
    assert verdict(ALICE.event(kind=0, created_at=NOW - 2 * DAY), rules) is None


def test_a_rule_for_some_authors_alone_says_so() -> None:
    rules = keeping(rule(authors="others", max_age_seconds=DAY))
    said = "invalid: this relay keeps kind 1 of this author for 1 day (retention.max_age_seconds)"
    assert refusal(Stored(1, NOW - 2 * DAY, STRANGER), rules) == said
    assert refusal(Stored(1, NOW - 2 * DAY, TRUSTED), rules) is None


def test_what_there_was_no_more_room_for_is_refused_from_then_on() -> None:
    rules = keeping(rule(kinds=(7,), max_events=2))
    after_a_round(rules, [Stored(age, NOW - age, kind=7) for age in range(4)])
    said = "invalid: this relay has no more room for kind 7 that is so old (retention.max_events)"
    assert refusal(Stored(9, NOW - 2, kind=7), rules) == said
    assert refusal(Stored(9, NOW - 1, kind=7), rules) is None
    assert refusal(Stored(9, NOW - 2), rules) is None


def test_of_an_author_who_has_enough_nothing_older_is_taken() -> None:
    rules = keeping(rule(kinds=(7,), max_per_key=2))
    after_a_round(rules, [Stored(age, NOW - age, STRANGER, 7) for age in range(4)] + [Stored(9, pubkey=MEMBER, kind=7)])
    said = "invalid: this relay keeps the newest 2 events of each author, and this one is older (retention.max_per_key)"
    assert refusal(Stored(9, NOW - 2, STRANGER, 7), rules) == said
    assert refusal(Stored(9, NOW - 1, STRANGER, 7), rules) is None
    assert refusal(Stored(9, NOW - 9, MEMBER, 7), rules) is None
    assert refusal(Stored(9, NOW - 9, STRANGER, 1), rules) is None


def test_of_too_many_authors_those_are_remembered_who_wrote_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "MOST_KEYS", 2)
    rules = keeping(rule(max_per_key=1))
    after_a_round(rules, [Stored(n, NOW - n, key) for n, key in enumerate((STRANGER, MEMBER, TRUSTED))])
    barred = [refusal(Stored(9, NOW - 9, key), rules) is not None for key in (STRANGER, MEMBER, TRUSTED)]
    assert barred == [True, True, False]


def test_where_the_whole_store_is_full_the_older_ones_of_the_same_standing_are_refused() -> None:
    rules = keeping(rule(kinds=(0,)), max_events=4)
    after_a_round(rules, [Stored(age, NOW - age) for age in range(4)] + [Stored(9, pubkey=MEMBER)])
    said = "invalid: this relay has no more room for what is so old (store.max_events)"
    assert refusal(Stored(9, NOW - 3), rules) == said
    assert refusal(Stored(9, NOW - 2), rules) is None
    for key in (MEMBER, TRUSTED, ADMIN, RELAY):
        assert refusal(Stored(9, 0, pubkey=key), rules) is None
    assert refusal(Stored(9, 0, kind=0), rules) is None


def test_a_store_that_is_full_to_the_brim_takes_nothing_older_than_it_has() -> None:
    """Else what a sync brings would go with the next round, and come again."""
    rules = keeping(max_bytes=1_000)
    assert after_a_round(rules, [Stored(1, NOW - 5, pubkey=MEMBER, bytes=995)]) == {}
    assert refusal(Stored(9, NOW - 6, pubkey=MEMBER), rules) is not None
    assert refusal(Stored(9, NOW - 5, pubkey=MEMBER), rules) is None


def test_requests_to_delete_and_to_vanish_are_let_in_however_old() -> None:
    rules = keeping(rule(max_age_seconds=DAY), max_events=1)
    after_a_round(rules, [Stored(1), Stored(2, NOW - 1)])
    for kind in (5, 62, 20_000):
        assert refusal(Stored(9, 0, kind=kind), rules) is None


def test_what_comes_back_from_a_backup_is_not_asked() -> None:
    rules = rules_of()
    rules.retention = retention.Retention((rule(max_age_seconds=DAY),))
    assert event_checks.check_restored(ALICE.event(created_at=NOW - 2 * DAY), rules, NOW) is None


def test_without_bounds_the_gate_costs_no_check() -> None:
    assert not retention_checks.is_bounded(1, keeping(rule(kinds=(1,))))
    assert not retention_checks.is_bounded(1, keeping(rule(kinds=(7,), max_age_seconds=DAY)))
