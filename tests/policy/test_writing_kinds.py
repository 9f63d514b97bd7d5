"""Which kinds are taken, and what events of some kinds are held to."""

from __future__ import annotations

import pytest

from tests.policy.verdicts import URL, listed, rules_of, verdict
from tests.support.keys import ALICE, NOW
from trio_relay import Event, Rules
from trio_relay.policy.lists import ListName
from trio_relay.policy.options import KindRule

PRIVATE = "restricted: private events cannot be served here: clients cannot authenticate (relay.url)"


def of_kind(kind: int) -> Event:
    """An event with which nothing else is wrong."""
    return ALICE.event(kind=kind, tags=[["p", ALICE.pubkey], ["relay", "ALL_RELAYS"]])


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (22_242, "invalid: kind 22242 must be sent in an AUTH message (NIP-42)"),
        (13, "invalid: kind 13, a seal, must come in a gift wrap (NIP-59)"),
        (14, "invalid: kind 14, a chat message, must come in a gift wrap (NIP-59)"),
        (15, "invalid: kind 15, a file message, must come in a gift wrap (NIP-59)"),
    ],
)
@pytest.mark.parametrize("url", ["", URL])
def test_some_kinds_are_never_events_of_their_own(kind: int, reason: str, url: str) -> None:
    assert verdict(of_kind(kind), rules_of(url=url)) == reason


@pytest.mark.parametrize("kind", [0, 1, 3, 5, 12, 16, 62, 10_050, 22_241, 22_243, 27_235, 65_535])
def test_all_others_are_taken(kind: int) -> None:
    assert verdict(of_kind(kind), rules_of()) is None


@pytest.mark.parametrize("kind", [4, 1_059, 21_059])
def test_what_could_be_served_to_nobody_is_not_taken(kind: int) -> None:
    assert verdict(of_kind(kind), rules_of()) is None
    assert verdict(of_kind(kind), rules_of(url="")) == PRIVATE
    assert verdict(of_kind(kind), rules_of(url="", private_kinds=())) is None


def test_a_kind_that_an_operator_made_private_is_private() -> None:
    assert verdict(of_kind(30_078), rules_of(url="", private_kinds=(30_078,))) == PRIVATE
    assert verdict(of_kind(4), rules_of(url="", private_kinds=(30_078,))) is None


@pytest.mark.parametrize(
    "rules",
    [
        rules_of(denied_kinds=(7, 1)),
        rules_of(denied_kinds=(1,), allowed_kinds=(1,)),
        listed(rules_of(), ListName.DISALLOWED_KINDS, "1"),
        listed(rules_of(), ListName.DISALLOWED_KINDS, "1", until=NOW + 1),
        listed(rules_of(allowed_kinds=(1,)), ListName.DISALLOWED_KINDS, "1"),
    ],
)
def test_a_denied_kind_is_blocked_though_it_be_allowed_elsewhere(rules: Rules) -> None:
    assert verdict(of_kind(1), rules) == "blocked: kind 1 is not accepted here"


@pytest.mark.parametrize(
    "rules",
    [
        rules_of(allowed_kinds=(0, 7)),
        listed(rules_of(), ListName.ALLOWED_KINDS, "7"),
        listed(rules_of(allowed_kinds=(0,)), ListName.ALLOWED_KINDS, "7"),
        listed(listed(rules_of(), ListName.ALLOWED_KINDS, "1", until=NOW), ListName.ALLOWED_KINDS, "7"),
    ],
)
def test_where_kinds_are_allowed_by_name_others_are_not_taken(rules: Rules) -> None:
    assert verdict(of_kind(7), rules) is None
    assert verdict(of_kind(1), rules) == "blocked: kind 1 is not among the kinds that are accepted here"
    assert verdict(of_kind(62), rules) is None  # whoever asks to vanish (NIP-62)


def test_a_kind_is_denied_no_more_once_its_time_is_over() -> None:
    assert verdict(of_kind(1), listed(rules_of(), ListName.DISALLOWED_KINDS, "1", until=NOW)) is None


def test_requests_to_vanish_can_be_denied_by_name() -> None:
    assert verdict(of_kind(62), rules_of(denied_kinds=(62,))) == "blocked: kind 62 is not accepted here"


SHORT = rules_of(rules=(KindRule(kinds=(1, 7), max_content_length=4),))
FRESH = rules_of(rules=(KindRule(kinds=(1,), max_age=60),))
TAGGED = rules_of(rules=(KindRule(kinds=(1,), required_tags=("h", "topic")),))
SEVERAL = rules_of(rules=(KindRule(kinds=(1,), max_content_length=4), KindRule(kinds=(1, 7), required_tags=("h",))))


@pytest.mark.parametrize(
    ("rules", "event", "reason"),
    [
        (SHORT, ALICE.event("éé😀😀"), None),
        (SHORT, ALICE.event("éé😀😀x"), "invalid: content is longer than 4 characters, for kind 1"),
        (SHORT, ALICE.event("abcde", kind=7), "invalid: content is longer than 4 characters, for kind 7"),
        (SHORT, ALICE.event("abcde", kind=0), None),
        (FRESH, ALICE.event(created_at=NOW - 60), None),
        (FRESH, ALICE.event(created_at=NOW - 61), "invalid: created_at is more than 60 seconds ago, for kind 1"),
        (FRESH, ALICE.event(kind=7, created_at=0), None),
        (TAGGED, ALICE.event(tags=[["topic", ""], ["h", "x"]]), None),
        (TAGGED, ALICE.event(tags=[["topic", "x"]]), "invalid: kind 1 needs a tag 'h' here"),
        (TAGGED, ALICE.event(tags=[["h", "x"], ["topic"], []]), "invalid: kind 1 needs a tag 'topic' here"),
        (TAGGED, ALICE.event(), "invalid: kind 1 needs a tag 'h' here"),
        (SEVERAL, ALICE.event("abcd", tags=[["h", "x"]]), None),
        (SEVERAL, ALICE.event("abcde", tags=[["h", "x"]]), "invalid: content is longer than 4 characters, for kind 1"),
        (SEVERAL, ALICE.event("abcd"), "invalid: kind 1 needs a tag 'h' here"),
        (SEVERAL, ALICE.event("abcde", kind=7), "invalid: kind 7 needs a tag 'h' here"),
    ],
)
def test_a_rule_holds_for_its_kinds_at_its_edge(rules: Rules, event: Event, reason: str | None) -> None:
    assert verdict(event, rules) == reason


@pytest.mark.parametrize(
    ("rule", "event"),
    [(KindRule(kinds=(1,), max_content_length=0), ALICE.event("")), (KindRule(kinds=(1,), max_age=0), ALICE.event())],
)
def test_a_rule_of_nothing_is_a_rule(rule: KindRule, event: Event) -> None:
    rules = rules_of(rules=(rule,))
    assert verdict(event, rules) is None
    assert verdict(ALICE.event("x", created_at=NOW - 1), rules) is not None
