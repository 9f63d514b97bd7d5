"""What is asked of every event: each limit at its edge, and the cheapest first."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.policy.verdicts import listed, rules_of, verdict
from tests.support.keys import ALICE, BOB, NOW
from trio_relay import Limits, PolicyOptions, Rules
from trio_relay.nostr.errors import Prefix
from trio_relay.nostr.event import Event, encode
from trio_relay.policy.event_checks import check_bans, check_event
from trio_relay.policy.identity import Identity
from trio_relay.policy.lists import Change, ListEntry, ListName

LIMITS = Limits(max_content_length=4, max_event_tags=2, created_at_ahead=10)

TOO_NEW = "invalid: created_at is more than 10 seconds ahead (created_at_ahead)"
TOO_MANY_TAGS = "invalid: more than 2 tags (max_event_tags)"
TOO_LONG = "invalid: content is longer than 4 characters (max_content_length)"
WRONG_ID = "invalid: id is not the hash of the event"
LONG_ITEM = "invalid: a tag's item is longer than 4 characters (max_tag_value_length)"


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
    assert verdict(event, Rules(LIMITS)) is None


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (ALICE.event("abcde"), TOO_LONG),
        (ALICE.event("éé😀😀é"), TOO_LONG),
        (ALICE.event(tags=[["t"], ["t"], []]), TOO_MANY_TAGS),
        (ALICE.event(created_at=NOW + 11), TOO_NEW),
        (ALICE.event(created_at=2**33 - 1), TOO_NEW),
        (replace(ALICE.event("abcd"), content="abce"), WRONG_ID),
        (replace(ALICE.event("abcd"), id="0" * 64), WRONG_ID),
    ],
    ids=["5 characters", "5 of any size", "3 tags", "11 s ahead", "ages ahead", "changed", "another id"],
)
def test_an_event_past_the_edge_is_refused_naming_the_limit(event: Event, reason: str) -> None:
    assert verdict(event, Rules(LIMITS)) == reason


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
    wrong_in_all = replace(event, id="0" * 64)
    assert verdict(wrong_in_all, Rules(replace(LIMITS, **allowed))) == reason


def test_limits_of_nothing_allow_an_empty_event_of_now() -> None:
    none = Rules(Limits(max_content_length=0, max_event_tags=0, created_at_ahead=0))
    assert verdict(ALICE.event(), none) is None
    assert verdict(ALICE.event("a"), none) == "invalid: content is longer than 0 characters (max_content_length)"
    assert verdict(ALICE.event(tags=[[]]), none) == "invalid: more than 0 tags (max_event_tags)"
    ahead = verdict(ALICE.event(created_at=NOW + 1), none)
    assert ahead == "invalid: created_at is more than 0 seconds ahead (created_at_ahead)"


@pytest.mark.parametrize(
    ("behind", "kind", "age", "named"),
    [
        (0, 1, NOW, None),
        (60, 1, 60, None),
        (60, 1, 61, 60),
        (60, 1_059, 172_800, None),
        (60, 1_059, 176_400, None),
        (60, 1_059, 176_401, 176_400),
        (60, 21_059, 176_400, None),
        (60, 21_059, 176_401, 176_400),
        (176_401, 1_059, 176_401, None),
        (176_401, 1_059, 176_402, 176_401),
        (60, 4, 61, 60),
    ],
)
def test_how_old_an_event_may_be_and_wraps_two_days_and_an_hour_at_least(
    behind: int, kind: int, age: int, named: int | None
) -> None:
    """NIP-59 has their times tweaked into the past by up to two days; clocks and networks add to that."""
    event = ALICE.event(kind=kind, created_at=NOW - age, tags=[["p", ALICE.pubkey]])
    refused = verdict(event, rules_of(Limits(created_at_behind=behind)))
    assert refused == (named and f"invalid: created_at is more than {named} seconds ago (created_at_behind)")


@pytest.mark.parametrize("size", [0, 4, 5, 1_000])
@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ([["t", "abcd"]], None),
        ([["abcd"], [], ["😀😀😀😀", "abcd"]], None),
        ([["t", "abcde"]], LONG_ITEM),
        ([["abcde"]], LONG_ITEM),
        ([["t"], ["t", "x", "y", "ééééé"]], LONG_ITEM),
    ],
)
def test_no_item_of_a_tag_is_longer_than_allowed(tags: list[list[str]], reason: str | None, size: int) -> None:
    """A message of so few bytes cannot hold a longer one; what its size is need not be known."""
    rules = Rules(Limits(max_tag_value_length=4))
    assert verdict(ALICE.event(tags=tags), rules, size=size) == (None if size == 4 else reason)


def test_the_true_size_of_a_message_hides_no_long_item() -> None:
    event = ALICE.event(tags=[["t", "x" * 1_000]])
    size = len(encode(event)) + len('["EVENT",]')
    assert verdict(event, Rules(Limits(max_tag_value_length=1_000)), size=size) is None
    refused = verdict(event, Rules(Limits(max_tag_value_length=999)), size=size)
    assert refused == "invalid: a tag's item is longer than 999 characters (max_tag_value_length)"


def test_a_long_item_is_found_before_the_id_is_hashed() -> None:
    event = replace(ALICE.event(tags=[["t", "abcde"]]), id="0" * 64)
    assert verdict(event, Rules(Limits(max_tag_value_length=4))) == LONG_ITEM


def test_a_refusal_carries_its_word_apart() -> None:
    refusal = check_event(ALICE.event("abcde"), Identity(), Rules(LIMITS), NOW)
    assert refusal is not None
    assert refusal.prefix is Prefix.INVALID


def test_the_signature_is_not_asked_for() -> None:
    """It costs more than all the rest, and has its own stage."""
    assert verdict(replace(ALICE.event("abcd"), sig="0" * 128), Rules(LIMITS)) is None


def test_an_event_that_operators_banned_is_refused_until_the_ban_ends() -> None:
    event = ALICE.event("banned")
    refused = "blocked: this event is banned here"
    assert verdict(event, listed(rules_of(), ListName.BANNED_EVENTS, event.id)) == refused
    assert verdict(event, listed(rules_of(), ListName.BANNED_EVENTS, event.id, until=NOW + 1)) == refused
    assert verdict(event, listed(rules_of(), ListName.BANNED_EVENTS, event.id, until=NOW)) is None
    assert verdict(event, listed(rules_of(), ListName.BANNED_EVENTS, ALICE.event("other").id)) is None


def test_a_list_counts_from_its_change_on_and_to_the_change_that_undoes_it() -> None:
    """Which checks an event needs is remembered by its kind; every change of a list makes that be worked out anew."""
    rules, event = rules_of(), ALICE.event()
    assert verdict(event, rules) is None
    undoing = rules.apply([Change(ListName.BANNED_PUBKEYS, ALICE.pubkey, ListEntry())])
    assert verdict(event, rules) == "blocked: the author of this event is banned here"
    rules.apply(undoing)
    assert verdict(event, rules) is None
    rules.load({"disallowed-kinds/1": b"{}"})
    assert verdict(event, rules) == "blocked: kind 1 is not accepted here"


@pytest.mark.parametrize(
    ("name", "item", "reason"),
    [
        (ListName.BANNED_PUBKEYS, ALICE.pubkey, "blocked: the author of this event is banned here"),
        (ListName.BANNED_EVENTS, ALICE.event().id, "blocked: this event is banned here"),
        (ListName.DISALLOWED_KINDS, "1", None),
        (ListName.BANNED_PUBKEYS, "0" * 64, None),
    ],
)
def test_bans_are_asked_for_again_before_an_event_is_stored(name: ListName, item: str, reason: str | None) -> None:
    refusal = check_bans(ALICE.event(), listed(rules_of(), name, item), NOW)
    assert (None if refusal is None else str(refusal)) == reason


def test_without_any_ban_nothing_is_barred() -> None:
    assert check_bans(ALICE.event(), rules_of(allowed_pubkeys=(BOB.pubkey,)), NOW) is None


def test_a_key_that_a_file_has_denied_meanwhile_is_barred() -> None:
    rules = rules_of()
    rules.take_options(PolicyOptions(denied_pubkeys=(ALICE.pubkey,)))
    assert str(check_bans(ALICE.event(), rules, NOW)) == "blocked: the author of this event is banned here"
