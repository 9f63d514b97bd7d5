"""Decisions about membership that no conversation with a relay shows: bounds, and bans that come in between."""

from __future__ import annotations

import pytest

from tests.support.keys import ALICE, BOB, CAROL, NOW
from trio_relay import Limits, MemberOptions, PolicyOptions, Rules
from trio_relay.nostr.kinds import JOIN, LEAVE, MEMBER_ADDED, MEMBERS, ROLE
from trio_relay.policy import membership
from trio_relay.policy.lists import Change, ListEntry, ListName
from trio_relay.policy.membership import MOST_INVITES, MOST_ROLES, Draft, invite, judge, unpublished

KEYS = [f"{number:064x}" for number in range(5)]


FULL = "restricted: there is no room for more members (max_members)"


def said_of(rules: Rules) -> list[Draft]:
    """What a relay that has said nothing yet has to say."""
    return [draft for draft in unpublished([], rules, NOW) if draft is not None]


def new_rules(*changes: Change, most_tags: int = 100, most_members: int = 10) -> Rules:
    rules = Rules(
        Limits(max_event_tags=most_tags),
        PolicyOptions(admins=(ALICE.pubkey,)),
        MemberOptions(enabled=True, claims=("sesame",), invite_seconds=100, max_members=most_members),
        relay_url="wss://relay.example/",
    )
    rules.apply(changes)
    return rules


@pytest.mark.parametrize("kind", [JOIN, LEAVE])
def test_who_was_banned_since_his_request_was_admitted_is_refused(kind: int) -> None:
    rules = new_rules(Change(ListName.BANNED_PUBKEYS, BOB.pubkey, ListEntry()))
    verdict = judge(BOB.event(kind=kind, tags=[["-"], ["claim", "sesame"]]), rules, NOW)
    assert (verdict.accepted, verdict.reason, verdict.changes) == (False, "blocked: this key is banned here", ())


def test_the_first_claim_counts() -> None:
    first_wrong = BOB.event(kind=JOIN, tags=[["-"], ["claim"], ["claim", "no"], ["claim", "sesame"]])
    first_right = BOB.event(kind=JOIN, tags=[["claim", "sesame"], ["claim", "no"], ["-"]])
    assert [judge(event, new_rules(), NOW).accepted for event in (first_wrong, first_right)] == [False, True]


def test_a_new_code_takes_the_place_of_the_hosts_oldest_and_of_nobody_elses() -> None:
    rules = new_rules()
    rules.apply(invite("other", BOB.pubkey, rules, NOW))
    for number in range(MOST_INVITES + 2):
        rules.apply(invite(str(number), ALICE.pubkey, rules, NOW + number))
    held = list(rules.lists.entries(ListName.CLAIMS, NOW))
    assert held == ["other", *(str(number) for number in range(2, MOST_INVITES + 2))]


def test_a_code_has_an_end_and_says_who_had_it_made() -> None:
    rules = new_rules()
    (change,) = invite("code", ALICE.pubkey, rules, NOW)
    assert change == Change(ListName.CLAIMS, "code", ListEntry(until=NOW + 100, since=NOW, data={"by": ALICE.pubkey}))


@pytest.mark.parametrize(("most_tags", "listed"), [(0, 0), (1, 0), (3, 2), (6, 5), (7, 5)])
def test_a_list_of_members_has_no_more_tags_than_an_event_may(most_tags: int, listed: int) -> None:
    rules = new_rules(*(Change(ListName.MEMBERS, key, ListEntry()) for key in KEYS), most_tags=most_tags)
    lists = [draft for draft in said_of(rules) if draft.kind == MEMBERS]
    expected = [Draft(MEMBERS, [["-"], *(["member", key] for key in KEYS[:listed])])]
    assert lists == (expected if listed else [])


def test_there_is_a_bound_on_published_roles() -> None:
    rules = new_rules(*(Change(ListName.ROLES, str(number), ListEntry()) for number in range(MOST_ROLES + 1)))
    drafts = said_of(rules)
    assert [draft.kind for draft in drafts] == [ROLE] * MOST_ROLES
    assert drafts[-1].tags == [["-"], ["d", str(MOST_ROLES - 1)]]


def test_with_nothing_to_say_nothing_is_said() -> None:
    assert said_of(new_rules()) == []


def test_a_list_of_many_is_made_with_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "_AT_A_TIME", 2)
    rules = new_rules(*(Change(ListName.MEMBERS, key, ListEntry()) for key in KEYS))
    steps = list(unpublished([], rules, NOW))
    added = [Draft(MEMBER_ADDED, [["-"], ["p", key]]) for key in KEYS]
    assert steps == [None, None, None, *added, Draft(MEMBERS, [["-"], *(["member", key] for key in KEYS)])]


@pytest.mark.parametrize(("members", "reason"), [(4, "info: welcome to trio-relay"), (5, FULL), (6, FULL)])
def test_there_is_a_bound_on_members(members: int, reason: str) -> None:
    keys = [f"{number:064x}" for number in range(members)]
    rules = new_rules(*(Change(ListName.MEMBERS, key, ListEntry()) for key in keys), most_members=5)
    verdict = judge(BOB.event(kind=JOIN, tags=[["-"], ["claim", "sesame"]]), rules, NOW)
    assert (verdict.accepted, verdict.reason) == (reason != FULL, reason)


def test_where_there_is_no_room_a_wrong_code_is_still_wrong_and_a_member_is_one() -> None:
    rules = new_rules(Change(ListName.MEMBERS, BOB.pubkey, ListEntry()), most_members=1)
    wrong = judge(CAROL.event(kind=JOIN, tags=[["-"], ["claim", "no"]]), rules, NOW)
    assert wrong.reason == "restricted: this code lets nobody in, or not any more"
    assert judge(BOB.event(kind=JOIN, tags=[["-"]]), rules, NOW).accepted
