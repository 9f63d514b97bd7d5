"""What verdicts depend on: who is an admin, who may write and read, and what the relay says of itself."""

from __future__ import annotations

import pytest

from tests.policy.verdicts import listed, rules_of
from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from trio_relay import RelayInfo, Rules
from trio_relay.policy.capabilities import capabilities_of, relay_info_of
from trio_relay.policy.lists import Change, ListEntry, ListName
from trio_relay.policy.options import KindRule, MemberOptions

JOINED = MemberOptions(enabled=True)
READERS = MemberOptions(enabled=True, members_write=False, members_read=True)


def test_admins_are_those_configured_and_the_operator() -> None:
    assert rules_of().admins == frozenset()
    assert rules_of(operator=ALICE.pubkey).admins == {ALICE.pubkey}
    assert rules_of(operator=ALICE.pubkey, admins=(BOB.pubkey,)).admins == {ALICE.pubkey, BOB.pubkey}


@pytest.mark.parametrize(
    ("rules", "has_auth", "is_managed"),
    [
        (rules_of(), True, False),
        (rules_of(operator=ALICE.pubkey), True, True),
        (rules_of(admins=(ALICE.pubkey,)), True, True),
        (rules_of(url="", operator=ALICE.pubkey), False, False),
    ],
)
def test_a_relay_is_managed_if_it_has_a_name_and_an_admin(rules: Rules, has_auth: bool, is_managed: bool) -> None:
    assert (rules.has_auth, rules.is_managed) == (has_auth, is_managed)


@pytest.mark.parametrize(
    ("members", "url", "expected"),
    [(JOINED, "wss://x/", True), (JOINED, "", False), (MemberOptions(), "wss://x/", False)],
)
def test_there_is_membership_where_it_is_on_and_clients_can_authenticate(
    members: MemberOptions, url: str, expected: bool
) -> None:
    assert rules_of(members=members, url=url).has_membership is expected


@pytest.mark.parametrize(
    ("rules", "is_closed"),
    [
        (rules_of(), False),
        (rules_of(admins=(ALICE.pubkey,), denied_pubkeys=(BOB.pubkey,)), False),
        (rules_of(allowed_pubkeys=(BOB.pubkey,)), True),
        (listed(rules_of(), ListName.ALLOWED_PUBKEYS, BOB.pubkey), True),
        (rules_of(trust_depth=1), True),
        (rules_of(members=JOINED), True),
        (rules_of(members=READERS), False),
        (rules_of(members=MemberOptions(enabled=False, members_write=True)), False),
    ],
)
def test_a_relay_is_closed_if_only_some_may_write(rules: Rules, is_closed: bool) -> None:
    assert rules.is_closed is is_closed
    assert rules.may_write(CAROL.pubkey, NOW) is not is_closed
    assert capabilities_of(rules).restricted_writes is is_closed


def test_a_key_whose_permission_is_over_may_not_write_and_the_relay_stays_closed() -> None:
    rules = listed(rules_of(), ListName.ALLOWED_PUBKEYS, BOB.pubkey, until=NOW)
    assert rules.may_write(BOB.pubkey, NOW - 1)
    assert not rules.may_write(BOB.pubkey, NOW)
    assert rules.is_closed


def test_the_key_of_the_relay_itself_may_always_write() -> None:
    rules = rules_of(allowed_pubkeys=(BOB.pubkey,))
    rules.signer = ALICE.pubkey
    assert rules.may_write(ALICE.pubkey, NOW)
    assert capabilities_of(rules).self == ALICE.pubkey


@pytest.mark.parametrize(
    ("rules", "has_bans", "is_banned"),
    [
        (rules_of(), False, False),
        (rules_of(denied_pubkeys=(ALICE.pubkey,)), True, True),
        (rules_of(denied_pubkeys=(BOB.pubkey,)), True, False),
        (listed(rules_of(), ListName.BANNED_PUBKEYS, ALICE.pubkey), True, True),
        (listed(rules_of(), ListName.BANNED_PUBKEYS, ALICE.pubkey, until=NOW), True, False),
    ],
)
def test_a_key_is_banned_by_the_configuration_or_by_a_list(rules: Rules, has_bans: bool, is_banned: bool) -> None:
    assert (rules.has_bans, rules.is_banned(ALICE.pubkey, NOW)) == (has_bans, is_banned)


def test_members_are_those_on_the_list_and_admins() -> None:
    rules = listed(rules_of(admins=(ALICE.pubkey,), members=READERS), ListName.MEMBERS, BOB.pubkey)
    assert [rules.is_member(key.pubkey, NOW) for key in (ALICE, BOB, CAROL)] == [True, True, False]
    assert rules.may_read([CAROL.pubkey, BOB.pubkey], NOW)
    assert not rules.may_read([CAROL.pubkey], NOW)
    assert not rules.may_read([], NOW)


@pytest.mark.parametrize("banned", [BOB, ALICE])
def test_a_member_that_is_banned_does_not_read_as_one(banned: Author) -> None:
    rules = rules_of(admins=(ALICE.pubkey,), members=READERS, denied_pubkeys=(banned.pubkey,))
    listed(rules, ListName.MEMBERS, BOB.pubkey)
    assert not rules.may_read([banned.pubkey], NOW)
    assert rules.may_read([ALICE.pubkey, BOB.pubkey], NOW)


def test_a_kind_has_all_rules_that_name_it_in_their_order() -> None:
    one, other = KindRule(kinds=(1, 7), max_age=1), KindRule(kinds=(7,), max_age=2)
    assert rules_of(rules=(one, other)).by_kind == {1: [one], 7: [one, other]}


def test_a_change_of_the_lists_tells_what_undoes_it() -> None:
    rules = rules_of()
    change = Change(ListName.ALLOWED_KINDS, "1", ListEntry())
    undoing = rules.apply([change])
    assert undoing == [Change(ListName.ALLOWED_KINDS, "1")]
    rules.apply(undoing)
    assert not rules.lists.holds_any(ListName.ALLOWED_KINDS)


ALWAYS = {50, 77}
NAMED = {4, 17, 42, 59, 62, 70}


@pytest.mark.parametrize(
    ("rules", "nips"),
    [
        (rules_of(url=""), ALWAYS),
        (rules_of(), ALWAYS | NAMED),
        (rules_of(operator=ALICE.pubkey), ALWAYS | NAMED | {86, 98}),
        (rules_of(min_pow_difficulty=1), ALWAYS | NAMED | {13}),
        (rules_of(members=JOINED), ALWAYS | NAMED | {43}),
        (rules_of(url="", members=JOINED), ALWAYS),
        (rules_of(and_tags=True), ALWAYS | NAMED | {91}),
        (rules_of(private_kinds=()), (ALWAYS | NAMED) - {4, 17, 59}),
        (rules_of(private_kinds=(4,)), (ALWAYS | NAMED) - {17, 59}),
        (rules_of(private_kinds=(1_059,)), (ALWAYS | NAMED) - {4}),
        (rules_of(denied_kinds=(62,)), (ALWAYS | NAMED) - {62}),
        (listed(rules_of(), ListName.DISALLOWED_KINDS, "62"), (ALWAYS | NAMED) - {62}),
        (Rules(has_search=False), {77}),
        (Rules(has_sync=False), {50}),
    ],
)
def test_a_nip_is_named_exactly_where_it_works(rules: Rules, nips: set[int]) -> None:
    assert set(capabilities_of(rules).nips) == nips


@pytest.mark.parametrize(
    ("rules", "difficulty", "auth_required", "restricted_writes"),
    [
        (rules_of(), 0, False, False),
        (rules_of(min_pow_difficulty=20), 20, False, True),
        (rules_of(auth_to_read=True), 0, True, False),
        (rules_of(auth_to_write=True), 0, False, True),
        (rules_of(members=READERS), 0, True, False),
        (rules_of(allowed_kinds=(1,)), 0, False, True),
        (listed(rules_of(), ListName.ALLOWED_KINDS, "1"), 0, False, True),
        (rules_of(denied_kinds=(1,)), 0, False, False),
    ],
)
def test_what_is_asked_of_clients_is_said(
    rules: Rules, difficulty: int, auth_required: bool, restricted_writes: bool
) -> None:
    said = capabilities_of(rules)
    assert (said.min_pow_difficulty, said.auth_required, said.restricted_writes) == (
        difficulty,
        auth_required,
        restricted_writes,
    )


def test_a_name_that_was_changed_takes_the_place_of_the_configured_one() -> None:
    rules = Rules(info=RelayInfo(name="old", icon="https://x/"))
    rules.apply([Change(ListName.IDENTITY, "name", ListEntry("new"))])
    assert relay_info_of(rules) == RelayInfo(name="new", icon="https://x/")
