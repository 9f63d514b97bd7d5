"""Which events go: walks over the store against a twin that holds all events in a list, and each rule by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.verdicts import listed, rules_of
from tests.support.keys import NOW
from trio_relay import MemberOptions, Rules
from trio_relay.policy import forgetting, lists, retention

MEMBER, LISTED, TRUSTED, STRANGER, ADMIN, RELAY = (letter * 64 for letter in "abcdef")
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Stored:
    """What a walk sees of an event."""

    id: int
    created_at: int = NOW
    pubkey: str = STRANGER
    kind: int = 1
    bytes: int = 100
    tags: list[list[str]] = field(default_factory=list)


def keeping(*rules: retention.RetentionRule, max_events: int = 0, max_bytes: int = 0) -> Rules:
    """Rules of a relay that has a member, a listed and a trusted key, an admin and a key of its own."""
    made = rules_of(members=MemberOptions(enabled=True), admins=(ADMIN,), allowed_pubkeys=(LISTED,))
    made.signer, made.trusted = RELAY, {TRUSTED, MEMBER}
    made.retention = retention.Retention(rules, max_events, max_bytes)
    return listed(made, lists.ListName.MEMBERS, MEMBER)


def rule(**fields: Any) -> retention.RetentionRule:
    return retention.RetentionRule(**fields)


def gone(rules: Rules, events: Iterable[Stored]) -> dict[int, int]:
    """By the id of each event that goes, the reason, as the relay finds it."""
    ordered = sorted(events, key=lambda event: (-event.created_at, event.id))
    rooms = None
    if rules.retention.bounds_all:
        census = forgetting.Walk(rules, NOW)
        for event in ordered:
            census.goes(event)
        rooms = forgetting.rooms_of(census.kept, rules.retention.max_events, rules.retention.max_bytes)
    walk, found = forgetting.Walk(rules, NOW, rooms), dict[int, int]()
    for event in ordered:
        before = {reason: one.events for reason, one in walk.forgotten.items()}
        if walk.goes(event):
            (found[event.id],) = (
                reason for reason, one in walk.forgotten.items() if one.events != before.get(reason, 0)
            )
    for reason, one in walk.forgotten.items():
        its = [event for event in ordered if found.get(event.id) == reason]
        assert (one.events, one.bytes) == (len(its), sum(event.bytes for event in its))
        assert (one.newest, one.oldest) == (its[0].created_at, its[-1].created_at)
    return found


class Twin:
    """The same, the obvious way: all events in a list, looked at as often as it takes."""

    def __init__(self, rules: Rules, events: Sequence[Stored]) -> None:
        self.rules = rules
        self.events = sorted(events, key=lambda event: (-event.created_at, event.id))

    def gone(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for place in range(len(self.rules.retention.rules)):
            found |= dict.fromkeys(self._by_rule(place), place)
        while any(self._left(found)[at] > most > 0 for at, most in enumerate(self._bounds())):
            loose = [event for event in self.events if event.id not in found and self._standing(event) < 3]
            if not loose:
                break
            least = min(map(self._standing, loose))
            found[[event for event in loose if self._standing(event) == least][-1].id] = forgetting.WHOLE_STORE
        return found

    def _bounds(self) -> tuple[int, int]:
        return self.rules.retention.max_events, self.rules.retention.max_bytes

    def _left(self, found: Mapping[int, int]) -> tuple[int, int]:
        left = [event for event in self.events if event.id not in found]
        return len(left), sum(event.bytes for event in left)

    def _by_rule(self, place: int) -> list[int]:
        """What one rule removes."""
        one = self.rules.retention.rules[place]
        its = [event for event in self.events if self._governor(event) == place]
        young = [e for e in its if not one.max_age_seconds or NOW - e.created_at <= one.max_age_seconds]
        kept: list[Stored] = []
        is_full = False
        for event in young:
            if one.max_per_key and Counter(e.pubkey for e in kept)[event.pubkey] >= one.max_per_key:
                continue
            is_full |= 0 < one.max_events < len(kept) + 1
            is_full |= 0 < one.max_bytes < sum(e.bytes for e in kept) + event.bytes
            if not is_full:
                kept.append(event)
        return [event.id for event in its if event not in kept]

    def _governor(self, event: Stored) -> int | None:
        if event.pubkey == RELAY:
            return None
        return next((n for n, one in enumerate(self.rules.retention.rules) if self._matches(one, event)), None)

    def _matches(self, one: retention.RetentionRule, event: Stored) -> bool:
        def among(kinds: Iterable[Any]) -> bool:
            return any(event.kind == k if isinstance(k, int) else k[0] <= event.kind <= k[1] for k in kinds)

        classes = {class_ for key in self._keys(event) for class_ in CLASSES.get(key, [])} or {"others"}
        return (
            (not one.kinds or among(one.kinds))
            and not among(one.except_kinds)
            and one.authors in {"all", *classes}
            and all(any(t[0] == name and t[1] in values for t in event.tags) for name, values in one.tags.items())
        )

    def _keys(self, event: Stored) -> list[str]:
        return [tag[1] for tag in event.tags if tag[0] == "p"] if event.kind == 1_059 else [event.pubkey]

    def _standing(self, event: Stored) -> int:
        place = self._governor(event)
        if place is not None:
            one = self.rules.retention.rules[place]
            if not any([one.max_age_seconds, one.max_per_key, one.max_events, one.max_bytes]):
                return 3
        return max((DESERTS[key] for key in self._keys(event)), default=0)


CLASSES = {MEMBER: ["members", "trusted"], LISTED: ["listed"], TRUSTED: ["trusted"], ADMIN: ["members"]}
DESERTS = {STRANGER: 0, TRUSTED: 1, MEMBER: 2, LISTED: 2, ADMIN: 3, RELAY: 3}

keys = st.sampled_from(sorted(DESERTS))
kinds = st.sampled_from([0, 1, 7, 1_059, 30_023])
spans = st.tuples(kinds, kinds).map(lambda pair: (min(pair), max(pair)))
tag_lists = st.lists(st.tuples(st.just("p"), keys) | st.tuples(st.just("t"), st.sampled_from("xyz")), max_size=2)
stored = st.builds(
    Stored,
    id=st.integers(0, 10**6),
    created_at=st.integers(NOW - 5, NOW),
    pubkey=keys,
    kind=kinds,
    bytes=st.integers(100, 103),
    tags=tag_lists.map(lambda tags: [list(tag) for tag in tags]),
)
rules_made = st.builds(
    rule,
    kinds=st.lists(kinds | spans, max_size=2).map(tuple),
    except_kinds=st.lists(kinds, max_size=1).map(tuple),
    authors=st.sampled_from(["all", "members", "trusted", "listed", "others"]),
    tags=st.just({}) | st.just({"t": ("x", "y")}) | st.just({"t": ("x",), "p": (MEMBER,)}),
    max_age_seconds=st.just(0) | st.integers(1, 5),
    max_per_key=st.just(0) | st.integers(1, 2),
    max_events=st.just(0) | st.integers(1, 6),
    max_bytes=st.just(0) | st.integers(90, 900),
)


@given(
    st.lists(rules_made, max_size=3),
    st.lists(stored, max_size=25, unique_by=lambda event: event.id),
    st.sampled_from([0, 0, 1, 5, 12]),
    st.sampled_from([0, 0, 50, 500, 1_204]),
)
def test_what_goes_is_what_a_twin_that_holds_everything_finds(
    rules: list[retention.RetentionRule], events: list[Stored], max_events: int, max_bytes: int
) -> None:
    made = keeping(*rules, max_events=max_events, max_bytes=max_bytes)
    assert gone(made, events) == Twin(made, events).gone()


@given(st.lists(rules_made, max_size=3), st.lists(stored, max_size=25, unique_by=lambda event: event.id))
def test_what_was_left_is_left_again(rules: list[retention.RetentionRule], events: list[Stored]) -> None:
    made = keeping(*rules, max_events=7)
    found = gone(made, events)
    assert gone(made, [event for event in events if event.id not in found]) == {}


@given(rules_made, rules_made, st.lists(stored, max_size=25))
def test_a_rule_that_covers_another_selects_all_that_it_does(
    one: retention.RetentionRule, other: retention.RetentionRule, events: list[Stored]
) -> None:
    if retention.covers(one, other):
        alone, both = keeping(other), keeping(one, other)
        for event in events:
            if forgetting.governing(event, alone, NOW) is not None:
                assert forgetting.governing(event, both, NOW) == 0


def test_without_rules_nothing_is_forgotten() -> None:
    assert not keeping().retention.forgets
    assert gone(keeping(), [Stored(1, created_at=0)]) == {}


def test_the_first_rule_that_matches_governs_and_one_without_bounds_keeps_for_ever() -> None:
    made = keeping(rule(kinds=(0, 3, (10_000, 19_999))), rule(max_age_seconds=DAY))
    old = [Stored(number, NOW - 2 * DAY, kind=kind) for number, kind in enumerate([0, 3, 10_002, 19_999, 20_000, 1])]
    assert gone(made, old) == {4: 1, 5: 1}


def test_an_event_is_as_old_as_the_bound_at_most() -> None:
    assert gone(keeping(rule(max_age_seconds=DAY)), [Stored(1, NOW - DAY), Stored(2, NOW - DAY - 1)]) == {2: 0}


def test_the_newest_of_each_author_stay() -> None:
    events = [Stored(n, NOW - n, pubkey=key) for n, key in enumerate([STRANGER, MEMBER, STRANGER, STRANGER, MEMBER])]
    assert gone(keeping(rule(max_per_key=2)), events) == {3: 0}


def test_once_something_does_not_fit_nothing_older_does() -> None:
    events = [Stored(1, NOW, bytes=60), Stored(2, NOW - 1, bytes=50), Stored(3, NOW - 2, bytes=10)]
    assert gone(keeping(rule(max_bytes=100)), events) == {2: 0, 3: 0}


def test_of_the_whole_store_the_least_deserving_go_first_each_oldest_first() -> None:
    authors = [STRANGER, TRUSTED, MEMBER, LISTED, ADMIN, RELAY]
    events = [Stored(10 * n + age, NOW - age, pubkey=key) for n, key in enumerate(authors) for age in range(2)]
    orders = [set(gone(keeping(max_events=most), events)) for most in range(12, 3, -1)]
    went = [next(iter(after - before)) for before, after in pairwise(orders)]
    assert went == [1, 0, 11, 10, 31, 21, 30, 20]
    assert set(gone(keeping(max_events=1), events)) == set(went)  # admins' and the relay's own never go


def test_what_is_kept_for_ever_counts_but_does_not_go() -> None:
    events = [Stored(1, kind=0), Stored(2, kind=0), Stored(3)]
    assert gone(keeping(rule(kinds=(0,)), max_events=2), events) == {3: forgetting.WHOLE_STORE}


def test_a_gift_wrap_is_judged_by_whom_it_is_for() -> None:
    wraps = [Stored(n, NOW - DAY - 1, kind=1_059, tags=[["p", key]]) for n, key in enumerate([STRANGER, MEMBER])]
    assert gone(keeping(rule(authors="others", max_age_seconds=DAY)), wraps) == {0: 0}


def test_what_the_relay_itself_says_is_governed_by_no_rule() -> None:
    assert gone(keeping(rule(max_age_seconds=DAY)), [Stored(1, 0, RELAY), Stored(2, 0, ADMIN)]) == {2: 0}


@pytest.mark.parametrize(
    ("rules", "fault"),
    [
        ([{"kinds": ((9, 1),)}], "rule 1: [9, 1] ends before it begins"),
        ([{"kinds": (1,), "except_kinds": ((0, 5),)}], "rule 1: except_kinds leaves it no kind"),
        ([{}, {"authors": "members"}], 'rule 2: authors = "members" needs members.enabled'),
        ([{}, {"kinds": (1,)}], "rule 2 governs nothing: rule 1 governs all that it selects"),
        ([{"max_bytes": 9}], "rule 1: max_bytes is 0 or 1048576 at least"),
        ([{"authors": "trusted"}], 'rule 1: authors = "trusted" needs policy.trust_depth'),
        (
            [{"authors": "listed"}],
            'rule 1: authors = "listed" needs policy.allowed_pubkeys, or policy.admins, who can list keys',
        ),
        ([{"max_events": 9}, {"kinds": (1,)}], "rule 2 governs nothing: rule 1 governs all that it selects"),
        (
            [{"kinds": ((0, 9),), "tags": {"t": ("x", "y")}}, {"kinds": (1,), "tags": {"t": ("x",), "p": ("z",)}}],
            "rule 2 governs nothing: rule 1 governs all that it selects",
        ),
        ([{"kinds": ((0, 9),), "tags": {"t": ("x",)}}, {"kinds": (1,), "tags": {"t": ("x", "y")}}], None),
        ([{"authors": "others"}, {"kinds": (1,)}, {}], None),
        ([{"except_kinds": (0,)}, {"kinds": (0,)}], None),
        ([], None),
    ],
)
def test_rules_that_say_nothing_are_refused(rules: list[dict[str, Any]], fault: str | None) -> None:
    made = [rule(**fields) for fields in rules]
    assert retention.fault_of(made, has_members=False, has_trust=False, has_list=False) == fault


def test_classes_of_authors_that_are_there_can_be_named() -> None:
    made = [rule(authors=name) for name in ("members", "trusted", "listed")]
    assert retention.fault_of(made, has_members=True, has_trust=True, has_list=True) is None
