"""Verdicts for operators: the same as for clients, each with what decides it."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.policy.verdicts import identity, listed, rules_of, verdict
from tests.support.keys import ALICE, BOB, NOW
from tests.support.strategies import events
from trio_relay import Event, Filter, Limits, MemberOptions, Rules, config_tables
from trio_relay.net import admin
from trio_relay.policy import event_checks, explained, filter_checks, lists, retention

NOTE: Final = ALICE.event("some words", tags=[["t", "tag"]])
STRICT: Final = Limits(max_event_tags=2, max_content_length=4, created_at_ahead=0, created_at_behind=5)


def told(event: Event, rules: Rules) -> list[explained.CheckVerdict]:
    return explained.explain_event(event, identity(), rules, NOW, 10_000)


def first_refusal(event: Event, rules: Rules) -> tuple[str, str, str]:
    return next((one.check, one.reason, one.setting) for one in told(event, rules) if not one.accepted)


SETTINGS: Final = [
    *((name, settings) for _, _, name, settings in event_checks.CHECKS),
    *(("filters", settings) for _, settings in filter_checks.FILTER_CHECKS),
    ("sizes", explained.SIZES),
    ("items", explained.ITEMS),
]


@pytest.mark.parametrize(("check", "settings"), SETTINGS)
def test_a_check_names_what_is_there_to_be_set_or_listed(check: str, settings: tuple[str, ...]) -> None:
    for setting in settings:
        table, _, name = setting.partition(".")
        if name:
            assert name in config_tables.options_of(table).__struct_fields__
        else:
            assert setting in admin.methods.METHODS
            assert setting in explained.LISTED_BY


OLD: Final = ALICE.event("old", created_at=NOW - 61)


def kept(
    *rules: retention.RetentionRule, by_rule: dict[int, int] | None = None, by_standing: dict[int, int] | None = None
) -> Rules:
    made = rules_of()
    made.retention = retention.Retention(rules)
    made.take_floors(retention.Floors(by_rule or {}, by_standing or {}, "store.max_bytes"))
    return made


REFUSED: Final[dict[str, tuple[Event, Rules, str, str]]] = {
    "too long": (NOTE, rules_of(STRICT), "sizes", "limits.max_content_length"),
    "too far ahead": (ALICE.event(created_at=NOW + 1), rules_of(STRICT), "sizes", "limits.created_at_ahead"),
    "too old": (ALICE.event(created_at=NOW - 6), rules_of(STRICT), "age", "limits.created_at_behind"),
    "a kind that is denied": (NOTE, rules_of(denied_kinds=(1,)), "kind", "policy.denied_kinds"),
    "a kind that is not among those": (NOTE, rules_of(allowed_kinds=(2,)), "kind", "policy.allowed_kinds"),
    "a kind that an operator denies": (
        NOTE, listed(rules_of(), lists.ListName.DISALLOWED_KINDS, "1"), "kind", "listdisallowedkinds",
    ),
    "a kind that must be wrapped": (ALICE.event(kind=13), rules_of(denied_kinds=(1,)), "kind", ""),
    "a private kind": (ALICE.event(kind=4), rules_of(url=""), "kind", "relay.url"),
    "nobody has authenticated": (NOTE, rules_of(auth_to_write=True), "authentication", "policy.auth_to_write"),
    "a banned key": (
        NOTE, listed(rules_of(), lists.ListName.BANNED_PUBKEYS, ALICE.pubkey), "key", "listbannedpubkeys",
    ),
    "a key that is not among those": (NOTE, rules_of(allowed_pubkeys=(BOB.pubkey,)), "key", "policy.allowed_pubkeys"),
    "no member": (NOTE, rules_of(members=MemberOptions(enabled=True)), "key", "members.members_write"),
    "no recipient": (ALICE.event(kind=1_059), rules_of(allowed_pubkeys=(BOB.pubkey,)), "key", ""),
    "a banned event": (
        NOTE, listed(rules_of(), lists.ListName.BANNED_EVENTS, NOTE.id), "banned events", "listbannedevents",
    ),
    "no work": (NOTE, rules_of(min_pow_difficulty=200), "work", "policy.min_pow_difficulty"),
    "older than its rule": (OLD, kept(retention.RetentionRule(max_age_seconds=60)), "retention",
        "retention.max_age_seconds"),
    "older than there is room for": (OLD, kept(retention.RetentionRule(max_events=9), by_rule={0: NOW}), "retention",
        "retention.max_events"),
    "older than the whole store": (OLD, kept(by_standing={0: NOW}), "retention", "store.max_bytes"),
    "a vanishing that names nobody": (ALICE.event(kind=62), rules_of(), "request to vanish", ""),
    "a vanishing where there is no name": (ALICE.event(kind=62), rules_of(url=""), "request to vanish", "relay.url"),
    "expired": (ALICE.event(tags=[["expiration", "1"]]), rules_of(), "expiry and protection", ""),
    "a word": (NOTE, rules_of(denied_words=("WORD",)), "words", "policy.denied_words"),
    "a long item": (
        ALICE.event(tags=[["t", "long"]]), rules_of(Limits(max_tag_value_length=3)), "items of tags",
        "limits.max_tag_value_length",
    ),
    "another id": (replace(NOTE, id="0" * 64), rules_of(), "id", ""),
}  # fmt: skip


@pytest.mark.parametrize(("event", "rules", "check", "setting"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_names_what_has_decided_it(event: Event, rules: Rules, check: str, setting: str) -> None:
    assert first_refusal(event, rules) == (check, verdict(event, rules), setting)


def test_all_checks_are_told_whatever_those_before_say() -> None:
    rules = rules_of(STRICT, denied_kinds=(1,), denied_words=("word",))
    assert [one.check for one in told(NOTE, rules) if not one.accepted] == ["sizes", "kind", "words"]
    names = [name for _, _, name, _ in event_checks.CHECKS]
    assert [one.check for one in told(NOTE, rules)] == ["sizes", *names, "items of tags", "id"]


POLICIES: Final[list[dict[str, Any]]] = [
    {},
    {"denied_kinds": (1, 7), "denied_words": ("b",)},
    {"allowed_kinds": (1, 3, 30_023), "auth_to_write": True},
    {"allowed_pubkeys": ("a" * 64,), "min_pow_difficulty": 1},
]


@pytest.mark.slow
@given(events(), st.sampled_from(POLICIES), st.sampled_from([Limits(), STRICT]))
def test_the_first_check_that_refuses_says_what_a_client_is_told(
    event: Event, policy: dict[str, Any], limits: Limits
) -> None:
    rules = rules_of(limits, **policy)
    refusals = [one.reason for one in told(event, rules) if not one.accepted]
    assert next(iter(refusals), None) == verdict(event, rules)
    assert all(bool(one.reason) is not one.accepted for one in told(event, rules))


def test_a_verdict_on_filters_is_that_of_clients() -> None:
    """What it names is tested with NIP-86's methods."""
    assert (
        explained.explain_filters([Filter()], identity(ALICE), rules_of(auth_to_read=True), NOW) == explained.ACCEPTED
    )
