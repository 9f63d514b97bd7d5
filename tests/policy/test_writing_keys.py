"""Who may write: authenticated or not, banned, allowed, trusted, a member; and whom wraps are for."""

from __future__ import annotations

import pytest

from tests.policy.verdicts import identity, listed, rules_of, verdict
from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from trio_relay import MemberOptions, Rules
from trio_relay.policy.identity import Identity
from trio_relay.policy.lists import ListName

RANDOM = Author("the random key of a wrap")
NOTE = ALICE.event("note")
VANISH = ALICE.event(kind=62, tags=[["relay", "ALL_RELAYS"]])
BANNED = "blocked: the author of this event is banned here"
NOT_AMONG = "restricted: the author of this event is not among the keys that may write here"
MANY = "invalid: a gift wrap names 1 to 10 keys in p tags (NIP-59)"


def test_where_writers_must_authenticate_any_key_will_do() -> None:
    rules = rules_of(auth_to_write=True)
    assert verdict(NOTE, rules) == "auth-required: only authenticated clients may write here"
    assert verdict(NOTE, rules, identity(BOB)) is None
    assert verdict(NOTE, rules, Identity(is_operator=True)) is None
    assert verdict(NOTE, rules, Identity(is_peer=True)) is None, "a relay that this one follows cannot authenticate"


@pytest.mark.parametrize(
    "rules",
    [
        rules_of(denied_pubkeys=(ALICE.pubkey,)),
        rules_of(denied_pubkeys=(ALICE.pubkey,), allowed_pubkeys=(ALICE.pubkey,)),
        rules_of(denied_pubkeys=(ALICE.pubkey,), admins=(ALICE.pubkey,)),
        listed(rules_of(), ListName.BANNED_PUBKEYS, ALICE.pubkey),
        listed(rules_of(), ListName.BANNED_PUBKEYS, ALICE.pubkey, until=NOW + 1),
        listed(rules_of(allowed_pubkeys=(ALICE.pubkey,)), ListName.BANNED_PUBKEYS, ALICE.pubkey),
    ],
)
def test_a_banned_key_writes_nothing_but_its_request_to_vanish(rules: Rules) -> None:
    assert verdict(NOTE, rules) == BANNED
    assert verdict(NOTE, rules, identity(ALICE, BOB)) == BANNED
    assert verdict(VANISH, rules) is None  # NIP-62


def test_a_ban_ends_with_its_time() -> None:
    assert verdict(NOTE, listed(rules_of(), ListName.BANNED_PUBKEYS, ALICE.pubkey, until=NOW)) is None


@pytest.mark.parametrize(
    "rules",
    [
        rules_of(allowed_pubkeys=(BOB.pubkey,)),
        listed(rules_of(), ListName.ALLOWED_PUBKEYS, BOB.pubkey),
        listed(rules_of(), ListName.ALLOWED_PUBKEYS, BOB.pubkey, until=NOW + 1),
        listed(rules_of(allowed_pubkeys=(CAROL.pubkey,)), ListName.ALLOWED_PUBKEYS, BOB.pubkey),
        rules_of(trust_depth=1, admins=(BOB.pubkey,)),
        rules_of(allowed_pubkeys=(CAROL.pubkey,), operator=BOB.pubkey),
    ],
)
def test_where_keys_are_allowed_by_name_others_do_not_write(rules: Rules) -> None:
    assert verdict(BOB.event(), rules) is None
    assert verdict(NOTE, rules) == NOT_AMONG
    assert verdict(VANISH, rules) is None


def test_whom_the_web_of_trust_reaches_writes() -> None:
    rules = rules_of(trust_depth=1)
    assert verdict(NOTE, rules) == NOT_AMONG
    rules.trusted = frozenset({BOB.pubkey})
    assert verdict(NOTE, rules) == NOT_AMONG
    rules.trusted = frozenset({ALICE.pubkey})
    assert verdict(NOTE, rules) is None


def test_members_write_and_others_do_not() -> None:
    rules = rules_of(members=MemberOptions(enabled=True))
    assert verdict(NOTE, rules) == NOT_AMONG
    assert verdict(NOTE, listed(rules, ListName.MEMBERS, ALICE.pubkey)) is None
    assert verdict(NOTE, rules_of(members=MemberOptions(enabled=True, members_write=False))) is None
    assert verdict(NOTE, rules_of(members=MemberOptions(enabled=False))) is None


@pytest.mark.parametrize("kind", [28_934, 28_936])
def test_requests_to_join_and_to_leave_are_for_all_who_are_not_banned(kind: int) -> None:
    event = ALICE.event(kind=kind, tags=[["-"], ["claim", "x"]])
    rules = rules_of(members=MemberOptions(enabled=True), allowed_kinds=(1,))
    assert verdict(event, rules, identity(ALICE)) is None
    alone = "a request to join or to leave is accepted from its authenticated author only (NIP-70)"
    assert verdict(event, rules) == f"auth-required: {alone}"
    assert verdict(event, rules, identity(BOB)) == f"restricted: {alone}"
    assert verdict(event, rules, Identity(is_operator=True, brings_backup=True)) == f"auth-required: {alone}"
    assert verdict(event, listed(rules, ListName.BANNED_PUBKEYS, ALICE.pubkey), identity(ALICE)) == BANNED


@pytest.mark.parametrize(
    ("seconds", "tags", "reason"),
    [
        (600, [["-"]], None),
        (-600, [["-"]], None),
        (601, [["-"]], "invalid: created_at is more than 600 seconds from the relay's time (NIP-43)"),
        (-601, [["-"]], "invalid: created_at is more than 600 seconds from the relay's time (NIP-43)"),
        (0, [], "invalid: kind 28934 needs the tag '-' (NIP-43)"),
    ],
)
def test_a_request_to_join_is_protected_and_of_now(seconds: int, tags: list[list[str]], reason: str | None) -> None:
    event = ALICE.event(kind=28_934, created_at=NOW + seconds, tags=tags)
    assert verdict(event, rules_of(members=MemberOptions(enabled=True)), identity(ALICE)) == reason


def test_without_membership_its_requests_are_events_like_any_other() -> None:
    event = ALICE.event(kind=28_934)
    assert verdict(event, rules_of()) is None
    assert verdict(event, rules_of(allowed_pubkeys=(BOB.pubkey,))) == NOT_AMONG


@pytest.mark.parametrize("kind", [1_059, 21_059])
class TestWraps:
    """Their author is a random key, so they are judged by whom they are for (NIP-59)."""

    @pytest.mark.parametrize("rules", [rules_of(), rules_of(allowed_pubkeys=tuple(f"{n:064x}" for n in range(20)))])
    @pytest.mark.parametrize(("number", "reason"), [(0, MANY), (1, None), (10, None), (11, MANY)])
    def test_a_wrap_names_one_key_or_a_few(self, kind: int, rules: Rules, number: int, reason: str | None) -> None:
        event = RANDOM.event(kind=kind, tags=[["p", f"{n:064x}"] for n in range(number)])
        assert verdict(event, rules) == reason

    def test_a_key_named_twice_counts_once_and_what_is_no_key_not_at_all(self, kind: int) -> None:
        twice = [["p", ALICE.pubkey], *(["p", f"{n:064x}"] for n in range(9)), ["p", ALICE.pubkey], ["p", "x"]]
        assert verdict(RANDOM.event(kind=kind, tags=twice), rules_of()) is None
        assert verdict(RANDOM.event(kind=kind, tags=[["p", "x"], ["p"], ["e", ALICE.pubkey]]), rules_of()) == MANY

    def test_all_whom_it_is_for_must_be_welcome(self, kind: int) -> None:
        one = RANDOM.event(kind=kind, tags=[["p", BOB.pubkey]])
        both = RANDOM.event(kind=kind, tags=[["p", BOB.pubkey], ["p", ALICE.pubkey]])
        rules = rules_of(allowed_pubkeys=(BOB.pubkey, RANDOM.pubkey))
        assert verdict(one, rules) is None
        refused = "restricted: a recipient of this event is not among the keys that may write here"
        assert verdict(both, rules) == refused
        assert verdict(both, rules_of(denied_pubkeys=(ALICE.pubkey,))) == (
            "blocked: a recipient of this event is banned here"
        )
        assert verdict(both, rules_of(denied_pubkeys=(RANDOM.pubkey,))) is None


def receiving(*kinds: int) -> Rules:
    """A relay of members, of whom ALICE is one and BOB a banned one, with CAROL as its admin."""
    options = MemberOptions(enabled=True, receive_kinds=kinds)
    rules = listed(rules_of(members=options, admins=(CAROL.pubkey,)), ListName.MEMBERS, ALICE.pubkey, BOB.pubkey)
    return listed(rules, ListName.BANNED_PUBKEYS, BOB.pubkey)


STRANGER = Author("no member")


@pytest.mark.parametrize(
    ("kind", "named", "is_taken"),
    [
        (1, [ALICE], True),
        (9_735, [ALICE], True),
        (1, [CAROL], True),
        (1, [RANDOM, ALICE], True),
        (1, [BOB], False),
        (1, [RANDOM], False),
        (1, [], False),
        (7, [ALICE], False),
    ],
    ids=["a reply", "a zap", "to an admin", "to two", "to a banned one", "to a stranger", "to nobody", "another kind"],
)
def test_members_receive_some_kinds_from_anybody(kind: int, named: list[Author], is_taken: bool) -> None:
    event = STRANGER.event(kind=kind, tags=[["p", key.pubkey] for key in named])
    assert verdict(event, receiving(1, 9_735)) == (None if is_taken else NOT_AMONG)
    assert verdict(event, receiving()) == NOT_AMONG


def test_what_members_receive_is_still_judged_by_all_else() -> None:
    reply = STRANGER.event(tags=[["p", ALICE.pubkey]])
    banned = listed(receiving(1), ListName.BANNED_PUBKEYS, STRANGER.pubkey)
    assert verdict(reply, banned) == BANNED
    closed = rules_of(allowed_pubkeys=(ALICE.pubkey,))
    assert verdict(reply, closed) == NOT_AMONG
