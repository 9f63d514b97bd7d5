"""Who may ask what: what is refused as a whole, and what is answered although a part stays hidden."""

from __future__ import annotations

import pytest

from tests.policy.verdicts import identity, listed, rules_of
from tests.support.keys import ALICE, BOB, NOW, Author
from tests.support.marks import in_order
from trio_relay import Filter, MemberOptions, Rules
from trio_relay.policy.filter_checks import check_filters
from trio_relay.policy.lists import ListName

UNREAD = "restricted: private events are not served here: clients cannot authenticate (relay.url)"
WHO = "auth-required: private events are served to their authors and recipients only"
OTHERS = "restricted: these events are for keys other than the authenticated ones"


def asked(rules: Rules, filters: list[Filter], *keys: Author) -> str | None:
    refusal = check_filters(filters, identity(*keys), rules, NOW)
    return None if refusal is None else str(refusal)


def of(*kinds: int, p: list[str] | None = None, authors: list[Author] | None = None) -> Filter:
    """A filter for kinds, for whom they are and by whom."""
    return Filter(
        kinds=frozenset(kinds),
        tags=() if p is None else (("p", frozenset(p)),),
        authors=None if authors is None else frozenset(author.pubkey for author in authors),
    )


def test_where_readers_must_authenticate_any_key_will_do() -> None:
    rules = rules_of(auth_to_read=True)
    assert asked(rules, [Filter()]) == "auth-required: only authenticated clients may read here"
    assert asked(rules, [Filter()], BOB) is None


def test_where_members_read_others_are_told_whether_to_authenticate() -> None:
    rules = rules_of(members=MemberOptions(enabled=True, members_read=True), admins=(ALICE.pubkey,))
    assert asked(rules, [Filter()]) == "auth-required: only members may read here"
    assert asked(rules, [Filter()], BOB) == "restricted: only members may read here"
    assert asked(rules, [Filter()], BOB, ALICE) is None
    assert asked(listed(rules, ListName.MEMBERS, BOB.pubkey, until=NOW + 1), [Filter()], BOB) is None
    assert asked(listed(rules, ListName.MEMBERS, BOB.pubkey, until=NOW), [Filter()], BOB) is not None


@pytest.mark.parametrize(
    "members", [MemberOptions(enabled=True), MemberOptions(enabled=False, members_read=True), MemberOptions()]
)
def test_elsewhere_everybody_reads(members: MemberOptions) -> None:
    assert asked(rules_of(members=members), [Filter()]) is None


@pytest.mark.parametrize(
    "filters",
    [
        [Filter()],
        [of(1)],
        [of(1, 4, 1_059)],
        [of()],
        [Filter(ids=frozenset({"a" * 64}))],
        [of(4), of(1)],
        [of(13_194)],
    ],
    ids=in_order,
)
@pytest.mark.parametrize("keys", [[], [BOB]], ids=["nobody", "somebody"])
@pytest.mark.parametrize("url", ["", "wss://relay.example/"])
def test_what_could_match_public_events_is_asked_freely(filters: list[Filter], keys: list[Author], url: str) -> None:
    assert asked(rules_of(url=url), filters, *keys) is None


@pytest.mark.parametrize(
    "filters",
    [[of(4)], [of(1_059, 21_059)], [of(4, 1_059, p=[BOB.pubkey])], [of(4), of(1_059)]],
    ids=in_order,
)
def test_who_asks_for_private_events_alone_must_say_who_he_is(filters: list[Filter]) -> None:
    assert asked(rules_of(), filters) == WHO
    assert asked(rules_of(url=""), filters) == UNREAD
    assert asked(rules_of(), filters, BOB) is None
    assert asked(rules_of(private_kinds=()), filters) is None


@pytest.mark.parametrize(
    ("filters", "reason"),
    [
        ([of(4)], None),
        ([of(1_059)], None),
        ([of(4, p=[BOB.pubkey])], None),
        ([of(4, p=[ALICE.pubkey, BOB.pubkey])], None),
        ([of(1_059, p=[BOB.pubkey])], None),
        ([of(1_059, p=[ALICE.pubkey])], OTHERS),
        ([of(1_059, 21_059, p=[ALICE.pubkey])], OTHERS),
        ([of(1_059, p=[])], OTHERS),
        # What he himself has written to her is his to read; a wrap has no such author.
        ([of(4, p=[ALICE.pubkey])], None),
        ([of(4, p=[ALICE.pubkey], authors=[BOB])], None),
        ([of(4, p=[ALICE.pubkey], authors=[ALICE])], OTHERS),
        ([of(4, p=[BOB.pubkey], authors=[ALICE])], None),
        ([of(1_059, p=[ALICE.pubkey], authors=[BOB])], OTHERS),
        ([of(4, 1_059, p=[ALICE.pubkey], authors=[BOB])], None),
        ([of(1_059, p=[ALICE.pubkey]), of(4, p=[ALICE.pubkey], authors=[ALICE])], OTHERS),
        ([of(1_059, p=[ALICE.pubkey]), of(1_059, p=[BOB.pubkey])], None),
    ],
    ids=in_order,
)
def test_what_is_for_others_alone_is_refused(filters: list[Filter], reason: str | None) -> None:
    assert asked(rules_of(), filters, BOB) == reason


def test_of_several_names_that_must_all_be_there_his_own_is_enough() -> None:
    """As NIP-91's `&p` has it: each set counts, and an event that names her too may be for him."""
    both = Filter(kinds=frozenset({1_059}), tags=(("p", frozenset({ALICE.pubkey})), ("p", frozenset({BOB.pubkey}))))
    assert asked(rules_of(), [both], BOB) is None
    assert asked(rules_of(), [both], Author("carol")) == OTHERS
