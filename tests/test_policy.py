"""What this relay allows of an event, each limit at its edge."""

from __future__ import annotations

import msgspec
import pytest

from tests.keys import ALICE, NOW
from trio_relay.nostr.errors import Prefix
from trio_relay.nostr.event import Event
from trio_relay.nostr.limits import Limits
from trio_relay.policy import check_event

LIMITS = Limits(max_content_length=4, max_event_tags=2, created_at_ahead=10)

TOO_NEW = "invalid: created_at is more than 10 seconds ahead (created_at_ahead)"
TOO_MANY_TAGS = "invalid: more than 2 tags (max_event_tags)"
TOO_LONG = "invalid: content is longer than 4 characters (max_content_length)"
WRONG_ID = "invalid: id is not the hash of the event"


def verdict(event: Event, limits: Limits = LIMITS) -> str | None:
    refusal = check_event(event, limits, NOW)
    return None if refusal is None else str(refusal)


@pytest.mark.parametrize(
    "event",
    [
        ALICE.event("abcd"),
        ALICE.event("éé😀😀"),
        ALICE.event(""),
        ALICE.event(tags=[["t", "x"], ["t", "y"]]),
        ALICE.event(tags=[["t", *"many values"]]),
        ALICE.event(created_at=NOW + 10),
        ALICE.event(created_at=NOW),
        ALICE.event(created_at=0),
    ],
    ids=["4 characters", "4 of any size", "no content", "2 tags", "one long tag", "10 s ahead", "now", "the oldest"],
)
def test_an_event_at_the_edge_may_pass(event: Event) -> None:
    assert verdict(event) is None


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (ALICE.event("abcde"), TOO_LONG),
        (ALICE.event("éé😀😀é"), TOO_LONG),
        (ALICE.event(tags=[["t"], ["t"], []]), TOO_MANY_TAGS),
        (ALICE.event(created_at=NOW + 11), TOO_NEW),
        (ALICE.event(created_at=2**33 - 1), TOO_NEW),
        (msgspec.structs.replace(ALICE.event("abcd"), content="abce"), WRONG_ID),
        (msgspec.structs.replace(ALICE.event("abcd"), id="0" * 64), WRONG_ID),
    ],
    ids=["5 characters", "5 of any size", "3 tags", "11 s ahead", "ages ahead", "changed", "another id"],
)
def test_an_event_past_the_edge_is_refused_naming_the_limit(event: Event, reason: str) -> None:
    assert verdict(event) == reason


@pytest.mark.parametrize(
    ("allowed", "reason"),
    [
        ({}, TOO_NEW),
        ({"created_at_ahead": 11}, TOO_MANY_TAGS),
        ({"created_at_ahead": 11, "max_event_tags": 3}, TOO_LONG),
        ({"created_at_ahead": 11, "max_event_tags": 3, "max_content_length": 5}, WRONG_ID),
    ],
)
def test_the_cheapest_check_comes_first(allowed: dict[str, int], reason: str) -> None:
    """The id hashes the whole event, so it is looked at last."""
    event = ALICE.event("abcde", tags=[[], [], []], created_at=NOW + 11)
    wrong_in_all = msgspec.structs.replace(event, id="0" * 64)
    assert verdict(wrong_in_all, msgspec.structs.replace(LIMITS, **allowed)) == reason


def test_limits_of_nothing_allow_an_empty_event_of_now() -> None:
    none = Limits(max_content_length=0, max_event_tags=0, created_at_ahead=0)
    assert verdict(ALICE.event(), none) is None
    assert verdict(ALICE.event("a"), none) == "invalid: content is longer than 0 characters (max_content_length)"
    assert verdict(ALICE.event(tags=[[]]), none) == "invalid: more than 0 tags (max_event_tags)"
    ahead = verdict(ALICE.event(created_at=NOW + 1), none)
    assert ahead == "invalid: created_at is more than 0 seconds ahead (created_at_ahead)"


def test_a_refusal_carries_its_word_apart() -> None:
    refusal = check_event(ALICE.event("abcde"), LIMITS, NOW)
    assert refusal is not None
    assert refusal.prefix is Prefix.INVALID


def test_the_signature_is_not_asked_for() -> None:
    """It costs more than all the rest, and has its own stage."""
    assert verdict(msgspec.structs.replace(ALICE.event("abcd"), sig="0" * 128)) is None
