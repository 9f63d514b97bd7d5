"""The policy in words: what each setting says, and that no sentence is there, or missing, against what is checked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.verdicts import identity, listed, rules_of, said_of, verdict
from tests.support.keys import ALICE, BOB, CAROL, NOW
from trio_relay import Filter, Limits, MemberOptions, Rules
from trio_relay.policy import filter_checks, lists, options, retention

OPEN = "Anybody may publish."
READ = "Anybody may read."
AUTH_WRITE = "Clients have to authenticate before they publish (NIP-42)."
AUTH_READ = "Only clients that have authenticated may read (NIP-42)."
MEMBERS_READ = "Only members and those who manage the relay may read; they have to authenticate (NIP-42)."
AHEAD = "The time of an event may lie 15 minutes ahead of the relay's clock at most."
MANAGERS = "those who manage the relay may publish."


def test_a_relay_without_a_policy_is_open() -> None:
    said = said_of(rules_of(private_kinds=()))
    assert said.writing == [OPEN, AHEAD]
    assert said.reading == [READ]


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        ({"auth_to_write": True}, AUTH_WRITE),
        ({"allowed_pubkeys": (ALICE.pubkey,)}, f"Only keys that the operator has listed and {MANAGERS}"),
        ({"trust_depth": 1}, f"Only keys within a follow of the operator's own and {MANAGERS}"),
        ({"trust_depth": 3}, f"Only keys within 3 follows of the operator's own and {MANAGERS}"),
        ({"denied_pubkeys": (ALICE.pubkey,)}, "Keys that the operator has banned may not publish."),
        ({"min_pow_difficulty": 20}, "Events must show work of 20 leading zero bits (NIP-13)."),
        ({"denied_words": ("spam",)}, "Some words are refused."),
        ({"allowed_kinds": (7, 1)}, "Only kinds 1 and 7 are accepted."),
        ({"allowed_kinds": (1,)}, "Only kind 1 is accepted."),
        ({"denied_kinds": (1984, 4, 1)}, "Events of kinds 1, 4 and 1984 are not accepted."),
        (
            {"rules": (options.KindRule(kinds=(1,), max_content_length=1_000, max_age=3_600, required_tags=("t",)),)},
            "Events of kind 1 must have a content of 1,000 characters at most, be no older than 1 hour and carry"
            " the tag 't'.",
        ),
        ({"url": ""}, "Private events, kinds 4, 1059 and 21059, are not accepted: clients cannot authenticate here."),
        ({"limits": Limits(created_at_behind=90)}, "It may lie 90 seconds back at most; that of gift wraps at least two"
         " days and an hour."),
        ({"members": MemberOptions(enabled=True)}, f"Only members and {MANAGERS}"),
        ({"members": MemberOptions(enabled=True)}, "A key becomes a member by a code that it is given (NIP-43)."),
        (
            {"members": MemberOptions(enabled=True, receive_kinds=(9_735, 1))},
            "Anybody else may publish kinds 1 and 9735 where it names a member in a p tag, such as a reply.",
        ),
    ],
)  # fmt: skip
def test_each_setting_of_who_may_write_what_has_its_sentence(policy: dict[str, Any], sentence: str) -> None:
    assert sentence in said_of(rules_of(**policy)).writing
    assert sentence not in said_of(rules_of()).writing


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        ({"auth_to_read": True}, AUTH_READ),
        ({"members": MemberOptions(enabled=True, members_read=True)}, MEMBERS_READ),
        (
            {"auth_to_read": True, "url": ""},
            "Nobody can authenticate here yet, so nobody can read: the relay's address is not set.",
        ),
        (
            {"private_kinds": (4,)},
            "Private events, kind 4, are served to those alone whom they concern, and who have authenticated.",
        ),
    ],
)
def test_each_setting_of_who_may_read_has_its_sentence(policy: dict[str, Any], sentence: str) -> None:
    assert sentence in said_of(rules_of(**policy)).reading
    assert sentence not in said_of(rules_of()).reading


def test_what_operators_change_at_run_time_is_said() -> None:
    rules = listed(rules_of(denied_kinds=(4,)), lists.ListName.DISALLOWED_KINDS, "7")
    listed(rules, lists.ListName.ALLOWED_PUBKEYS, ALICE.pubkey)
    said = said_of(listed(rules, lists.ListName.ALLOWED_KINDS, "1", until=NOW)).writing
    assert "Events of kinds 4 and 7 are not accepted." in said
    assert "No kind is accepted at present." in said, "the only one on the list is over"
    assert f"Only keys that the operator has listed and {MANAGERS}" in said


def test_long_lists_are_cut() -> None:
    said = said_of(rules_of(denied_kinds=tuple(range(1_000)))).writing[-2]
    assert said.endswith("38, 39 and 960 more are not accepted.")
    rules = tuple(options.KindRule(kinds=(kind,), max_age=60) for kind in range(30))
    assert "There are 10 more rules for single kinds." in said_of(rules_of(rules=rules)).writing


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"kinds": (1,), "max_age_seconds": 90 * 86_400}, "Notes are kept for 90 days."),
        ({"kinds": (0, 3, (10_000, 19_999))}, "Events of kinds 0, 3 and 10000 to 19999 are kept for good."),
        ({"kinds": ((5, 6),)}, "Events of kinds 5 to 6 are kept for good."),
        (
            {"except_kinds": (5, 62), "authors": "others", "max_age_seconds": 3_600},
            "All events of keys that the relay does not know, but of kinds 5 and 62, are kept for 1 hour.",
        ),
        ({"kinds": (7,), "max_per_key": 1_000}, "Events of kind 7 are kept: the newest 1,000 of each author."),
        (
            {"tags": {"t": ("x",)}, "max_age_seconds": 60, "max_events": 5, "max_bytes": 2**20},
            "All events with some tags are kept for 1 minute, the newest 5 of all and the newest that fit into"
            " 1,048,576 bytes.",
        ),
    ],
)
def test_each_rule_of_retention_has_its_sentence(rule: dict[str, Any], sentence: str) -> None:
    rules = rules_of()
    rules.retention = retention.Retention((retention.RetentionRule(**rule),), max_events=9)
    room = "Where the whole relay has no more room, the oldest events of keys that it does not know go first."
    assert said_of(rules).keeping == [sentence, room]


def test_nothing_is_said_of_what_is_kept_where_nothing_is_forgotten() -> None:
    rules = rules_of()
    assert said_of(rules).keeping == []
    rules.retention = retention.Retention((retention.RetentionRule(kinds=(1,)),))
    assert said_of(rules).keeping == []
    notes, others = retention.RetentionRule(kinds=(1,), max_events=9), retention.RetentionRule()
    rules.retention = retention.Retention((notes, others))
    assert said_of(rules).keeping[1] == "All other events are kept for good."


keys = st.sets(st.sampled_from([ALICE.pubkey, BOB.pubkey, CAROL.pubkey]), max_size=2).map(tuple)
kinds = st.sets(st.sampled_from([1, 4, 7]), max_size=2).map(tuple)


@st.composite
def any_rules(draw: st.DrawFn) -> Rules:
    hourly = retention.RetentionRule(kinds=draw(kinds), max_age_seconds=60)
    members = MemberOptions(
        enabled=draw(st.booleans()),
        members_write=draw(st.booleans()),
        members_read=draw(st.booleans()),
        receive_kinds=draw(kinds),
    )
    rules = rules_of(
        Limits(created_at_behind=draw(st.sampled_from([0, 60]))),
        url=draw(st.sampled_from(["", "wss://relay.example/"])),
        members=members,
        auth_to_read=draw(st.booleans()),
        auth_to_write=draw(st.booleans()),
        min_pow_difficulty=draw(st.sampled_from([0, 200])),
        allowed_pubkeys=draw(keys),
        denied_pubkeys=draw(keys),
        allowed_kinds=draw(kinds),
        denied_kinds=draw(kinds),
        denied_words=draw(st.sampled_from([(), ("spam",)])),
        private_kinds=draw(kinds),
        trust_depth=draw(st.integers(0, 2)),
    )
    for name, items in ((lists.ListName.MEMBERS, draw(keys)), (lists.ListName.ALLOWED_PUBKEYS, draw(keys))):
        listed(rules, name, *items)
    rules.retention = retention.Retention(draw(st.sampled_from([(), (hourly,)])))
    return listed(rules, lists.ListName.DISALLOWED_KINDS, *map(str, draw(kinds)))


NAMED = {
    "work of": "pow:",
    "have to authenticate before": "auth-required: only authenticated clients may write",
    "Only members": "restricted: the author",
    "Only keys": "restricted: the author",
    "back at most": "invalid: created_at",
    "words are refused": "blocked: the content",
    "has banned": "blocked: the author",
    "are not accepted.": "blocked: kind",
    "accepted.": "blocked: kind",
    "at present": "blocked: kind",
    "are not accepted: clients": "restricted: private",
    "are kept for": "invalid: this relay keeps",
}
"""Parts of sentences, and the beginnings of the refusals that they tell of."""
PROBES = [
    (author.event("spam" if old else "hello", kind=kind, created_at=NOW - 3_600 * old), who)
    for author in (ALICE, BOB)
    for kind in (1, 4)
    for old in (False, True)
    for who in (identity(), identity(author))
]


@given(any_rules())
def test_no_event_is_refused_for_what_is_not_said_and_open_means_open(rules: Rules) -> None:
    said = said_of(rules).writing
    sentences = [*said, *said_of(rules).keeping]
    told = [beginning for part, beginning in NAMED.items() if any(part in sentence for sentence in sentences)]
    for event, who in PROBES:
        refusal = verdict(event, rules, who)
        if refusal is not None:
            assert any(refusal.startswith(beginning) for beginning in told), (refusal, said)
        if OPEN in said and refusal is not None:
            assert not refusal.startswith("restricted: the author")
    if AUTH_WRITE in said:
        assert all(verdict(event, rules, who) is not None for event, who in PROBES if not who.keys)
    if "Some words are refused." in said:
        assert all(verdict(event, rules, who) is not None for event, who in PROBES if event.content == "spam")
    if not any(sentence.startswith("Only") for sentence in said):
        assert OPEN in said


@given(any_rules())
def test_reading_is_as_open_as_it_is_said_to_be(rules: Rules) -> None:
    said = said_of(rules).reading
    strangers = filter_checks.check_filters([Filter()], identity(), rules, NOW)
    assert (READ in said) == (strangers is None)
    assert (AUTH_READ in said) == (
        strangers is not None
        and filter_checks.check_filters([Filter()], identity(CAROL, ALICE, BOB), rules, NOW) is None
        and not (rules.members.enabled and rules.members.members_read)
    )  # fmt: skip
    for key in (ALICE, BOB):
        refusal = filter_checks.check_filters([Filter()], identity(key), rules, NOW)
        assert (MEMBERS_READ in said) or refusal is None
