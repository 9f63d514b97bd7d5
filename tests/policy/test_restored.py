"""What this relay has let in once is asked only whether it is whole: every rule about what comes in plays no part."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from tests.policy.verdicts import listed, rules_of, verdict
from tests.support.keys import ALICE, BOB, CAROL, NOW
from trio_relay import Event, Limits, Rules
from trio_relay.policy.event_checks import check_restored
from trio_relay.policy.lists import ListName
from trio_relay.policy.options import KindRule, MemberOptions

NARROW = Limits(
    created_at_behind=10, created_at_ahead=10, max_content_length=3, max_event_tags=1, max_tag_value_length=3
)
NOTE = ALICE.event("a note")
TO_BOB = [["p", BOB.pubkey]]


def restored(event: Event, rules: Rules) -> str | None:
    """Why an event does not come back, or None."""
    refusal = check_restored(event, rules, NOW)
    return None if refusal is None else str(refusal)


@pytest.mark.parametrize(
    ("event", "rules"),
    [
        (ALICE.event(created_at=NOW - 11), rules_of(NARROW)),
        (ALICE.event(created_at=NOW + 11), rules_of(NARROW)),
        (ALICE.event("abcd"), rules_of(NARROW)),
        (ALICE.event(tags=[["t"], ["t"]]), rules_of(NARROW)),
        (ALICE.event(tags=[["t", "abcd"]]), rules_of(NARROW)),
        (NOTE, rules_of(min_pow_difficulty=20)),
        (NOTE, rules_of(denied_pubkeys=(ALICE.pubkey,))),
        (NOTE, rules_of(allowed_pubkeys=(BOB.pubkey,))),
        (NOTE, rules_of(allowed_kinds=(0,))),
        (NOTE, rules_of(denied_kinds=(1,))),
        (NOTE, rules_of(denied_words=("note",))),
        (NOTE, rules_of(rules=(KindRule(kinds=(1,), required_tags=("h",)),))),
        (NOTE, rules_of(rules=(KindRule(kinds=(1,), max_content_length=1),))),
        (ALICE.event(created_at=NOW - 9), rules_of(rules=(KindRule(kinds=(1,), max_age=8),))),
        (NOTE, rules_of(auth_to_write=True)),
        (NOTE, rules_of(trust_depth=1)),
        (NOTE, rules_of(members=MemberOptions(enabled=True))),
        (NOTE, listed(rules_of(), ListName.ALLOWED_PUBKEYS, BOB.pubkey)),
        (NOTE, listed(rules_of(), ListName.ALLOWED_KINDS, "0")),
        (NOTE, listed(rules_of(), ListName.DISALLOWED_KINDS, "1")),
        (ALICE.event(tags=[["expiration", "soon"]]), rules_of()),
        (ALICE.event(tags=[["-"]]), rules_of()),
        (ALICE.event(tags=[["-"]]), rules_of(url="")),
        (ALICE.event('{"tags":[["-"]]}', kind=6), rules_of()),
        (ALICE.event(kind=4, tags=TO_BOB), rules_of(url="")),
        (ALICE.event(kind=13), rules_of()),
        (ALICE.event(kind=1_059), rules_of()),
        (ALICE.event(kind=1_059, tags=TO_BOB), listed(rules_of(), ListName.BANNED_PUBKEYS, BOB.pubkey)),
        (ALICE.event(kind=62), rules_of()),
        (ALICE.event(kind=62, tags=[["relay", "wss://other.example/"]]), rules_of()),
        (ALICE.event(kind=62, tags=[["relay", "ALL_RELAYS"]]), rules_of(url="")),
    ],
    ids=range(31),
)  # fmt: skip
def test_what_might_not_come_in_comes_back(event: Event, rules: Rules) -> None:
    assert verdict(event, rules, size=1_000) is not None
    assert restored(event, rules) is None


@pytest.mark.parametrize(
    ("event", "lists", "reason"),
    [
        (replace(NOTE, content="another"), [], "invalid: id is not the hash of the event"),
        (replace(NOTE, id="0" * 64), [], "invalid: id is not the hash of the event"),
        (ALICE.event(tags=[["expiration", str(NOW)]]), [], f"invalid: the event has expired at {NOW} (NIP-40)"),
        (ALICE.event(tags=[["expiration", str(NOW + 1)]]), [], None),
        (NOTE, [(ListName.BANNED_PUBKEYS, ALICE.pubkey)], "blocked: the author of this event is banned here"),
        (NOTE, [(ListName.BANNED_EVENTS, NOTE.id)], "blocked: this event is banned here"),
        (NOTE, [(ListName.BANNED_PUBKEYS, CAROL.pubkey), (ListName.BANNED_EVENTS, "0" * 64)], None),
        (ALICE.event(kind=62), [(ListName.BANNED_PUBKEYS, ALICE.pubkey)], None),
    ],
    ids=range(8),
)
def test_what_is_broken_or_gone_since_does_not(
    event: Event, lists: Sequence[tuple[ListName, str]], reason: str | None
) -> None:
    rules = rules_of()
    for name, item in lists:
        listed(rules, name, item)
    assert restored(event, rules) == reason


def test_a_ban_that_has_ended_keeps_nothing_out() -> None:
    assert restored(NOTE, listed(rules_of(), ListName.BANNED_PUBKEYS, ALICE.pubkey, until=NOW)) is None
