"""Acts of operators and what undoes them, in any order, against whole copies of the lists."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import ALICE, BOB, CAROL, NOW
from tests.support.named_relay import rules_for
from tests.support.operators import ADMIN, MODERATOR
from trio_relay.net import admin
from trio_relay.nostr import errors
from trio_relay.policy import audit, lists

NOBODY: Any = None
KEYS = [ALICE.pubkey, BOB.pubkey]
EXCLUSIVE = {
    lists.ListName.BANNED_PUBKEYS: lists.ListName.ALLOWED_PUBKEYS,
    lists.ListName.BANNED_EVENTS: lists.ListName.ALLOWED_EVENTS,
    lists.ListName.DISALLOWED_KINDS: lists.ListName.ALLOWED_KINDS,
}
Copy = dict[tuple[lists.ListName, str], lists.ListEntry]


class House:
    """The lists of a relay that operators call methods of, one a second."""

    def __init__(self) -> None:
        self.rules = rules_for(admins=(ADMIN.pubkey,))
        self.now = NOW

    def call(self, method: str, *given: Any, by: str = ADMIN.pubkey) -> Any:
        """Carry out a call, as the relay does but for the store; gives its result."""
        self.now += 1
        call = admin.params.Call(method, given, by, "203.0.113.7", self.now, self.rules, NOBODY, NOBODY, NOBODY)
        outcome = admin.methods.carry_out(call)
        if outcome.changes:
            changes = admin.acts.signed(outcome, by)
            act = admin.acts.act_to_record(call, outcome, changes)
            self.rules.apply([*changes, *audit.recording(act, self.rules.lists)])
        return outcome.result

    @property
    def copy(self) -> Copy:
        """All that is on lists, but for the acts."""
        names = [name for name in lists.ListName if name is not lists.ListName.ACTS]
        return {(name, item): entry for name in names for item, entry in self.rules.lists.entries(name, 0).items()}

    def newest(self) -> dict[str, Any]:
        return dict(self.call("listacts")[0])

    def refusal(self, act: str, by: str = ADMIN.pubkey) -> str:
        with pytest.raises(errors.Rejected) as refused:
            self.call("undoact", act, by=by)
        return str(refused.value)

    def report(self, event_id: str, *by: str) -> None:
        self.rules.apply(
            [
                lists.Change(
                    lists.ListName.REPORTED_EVENTS, event_id, lists.ListEntry("spam", data={"reporters": list(by)})
                )
            ]
        )


CALLS = st.one_of(
    st.tuples(st.sampled_from(["banpubkey", "unbanpubkey", "allowpubkey", "unallowpubkey"]), st.sampled_from(KEYS)),
    st.tuples(st.sampled_from(["allowkind", "disallowkind", "unallowkind", "undisallowkind"]), st.integers(0, 1)),
    st.tuples(st.sampled_from(["banevent", "unbanevent", "allowevent", "unallowevent"]), st.just("e" * 64)),
    st.tuples(st.sampled_from(["editrole", "deleterole"]), st.just("cook")),
    st.tuples(st.sampled_from(["assignrole", "unassignrole"]), st.sampled_from(KEYS), st.just("cook")),
    st.tuples(st.sampled_from(["assignmethod", "unassignmethod"]), st.sampled_from(KEYS), st.just("banevent")),
    st.tuples(st.just("changerelayname"), st.sampled_from(["", "a club"])),
)


@pytest.mark.slow
@given(st.lists(st.one_of(CALLS, st.integers(0, 30)), max_size=30))
def test_an_act_is_undone_as_if_it_had_not_been_unless_something_of_it_has_changed(
    steps: list[tuple[Any, ...] | int],
) -> None:
    """Judged by copies of all lists before and after each act; a number undoes that act, or the undoing of one."""
    house = House()
    house.call("createrole", "cook")
    made: list[tuple[str, Copy, Copy]] = []
    undone: dict[str, str] = {}
    for step in steps:
        before = house.copy
        if isinstance(step, tuple):
            try:
                house.call(*step)
            except errors.Rejected:
                assert house.copy == before
                continue
        elif not made:
            continue
        else:
            number, was, then = made[step % len(made)]
            touched = [key for key in was.keys() | then.keys() if was.get(key) != then.get(key)]
            expected = {key: entry for key, entry in before.items() if key not in touched}
            expected |= {key: was[key] for key in touched if key in was}
            stands = all(before.get(key) == then.get(key) for key in touched)
            clash = any((EXCLUSIVE.get(name), item) in expected for name, item in expected)
            if clash or not stands:
                house.refusal(number)
                assert house.copy == before
                continue
            house.call("undoact", number)
            assert house.copy == expected
            undone[house.newest()["act"]] = number
        if house.copy != before:
            made.append((house.newest()["act"], before, house.copy))
    assert all(act["undone"] == is_undone(act["act"], undone) for act in house.call("listacts"))


def is_undone(act: str, undone: dict[str, str]) -> bool:
    return any(target == act and not is_undone(undoing, undone) for undoing, target in undone.items())


def test_a_ban_that_is_undone_gives_back_what_it_took_from_lists_and_from_the_queue() -> None:
    house = House()
    house.call("allowpubkey", ALICE.pubkey, "a friend", by=ADMIN.pubkey)
    house.report("1" * 64, ALICE.pubkey)
    house.report("2" * 64, ALICE.pubkey, BOB.pubkey)
    before = house.copy
    house.call("banpubkey", ALICE.pubkey, "spam")
    assert (lists.ListName.REPORTED_EVENTS, "1" * 64) not in house.copy
    ban = house.newest()
    assert (ban["can_undo"], ban["undone"]) == (True, False)
    assert house.call("undoact", ban["act"]) is True
    assert house.copy == before
    undoing, ban, _ = house.call("listacts")
    assert (ban["can_undo"], ban["undone"], undoing["can_undo"]) == (False, True, True)
    assert undoing["told"] == "undone; removed events stay removed"


def test_the_queue_is_nobodys_reason_to_refuse_and_what_was_judged_since_stays_away() -> None:
    house = House()
    for number in "123":
        house.report(number * 64, ALICE.pubkey)
    house.call("banpubkey", ALICE.pubkey)
    ban = house.newest()
    house.report("1" * 64, BOB.pubkey)
    house.call("banevent", "2" * 64)
    house.call("undoact", ban["act"])
    queue = house.rules.lists.entries(lists.ListName.REPORTED_EVENTS, NOW)
    assert {item: lists.reporters(entry) for item, entry in queue.items()} == {
        "1" * 64: [BOB.pubkey],
        "3" * 64: [ALICE.pubkey],
    }


def test_a_full_queue_takes_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MOST_REPORTS", 1)
    house = House()
    house.report("1" * 64, ALICE.pubkey)
    house.call("allowevent", "1" * 64)
    house.report("2" * 64, BOB.pubkey)
    house.call("undoact", house.newest()["act"])
    assert list(house.rules.lists.entries(lists.ListName.REPORTED_EVENTS, NOW)) == ["2" * 64]
    assert house.rules.lists.get(lists.ListName.ALLOWED_EVENTS, "1" * 64, NOW) is None


def test_what_has_changed_since_is_told() -> None:
    house = House()
    house.call("banpubkey", ALICE.pubkey)
    ban = house.newest()["act"]
    house.call("banpubkey", ALICE.pubkey, "for another reason")
    words = f"invalid: it does not stand any more as this act has made it: {ALICE.pubkey} in banned-pubkeys"
    assert house.refusal(ban) == words
    assert house.refusal("1") == "invalid: there is no such act"


def test_a_ban_that_has_ended_stands_as_it_was_made() -> None:
    house = House()
    house.call("allowpubkey", ALICE.pubkey)
    before = house.copy
    house.call("banpubkey", ALICE.pubkey, "", house.now + 10)
    ban = house.newest()["act"]
    house.now += 100
    house.rules.apply(house.rules.lists.expired(house.now))
    house.call("undoact", ban)
    assert house.copy == before


def test_a_ban_that_comes_back_has_the_same_consequences_and_the_same_bounds() -> None:
    house = House()
    house.call("banpubkey", MODERATOR.pubkey)
    house.call("unbanpubkey", MODERATOR.pubkey)
    unban = house.newest()["act"]
    house.call("assignmethod", MODERATOR.pubkey, "undoact")
    house.call("assignmethod", MODERATOR.pubkey, "unbanpubkey")
    assert house.refusal(unban, MODERATOR.pubkey) == "restricted: this key is your own"
    house.report("1" * 64, MODERATOR.pubkey)
    call = admin.params.Call("undoact", [unban], ADMIN.pubkey, "", house.now, house.rules, NOBODY, NOBODY, NOBODY)
    outcome = admin.methods.carry_out(call)
    assert [filter_.authors for filter_ in outcome.removed] == [frozenset({MODERATOR.pubkey})]
    assert lists.Change(lists.ListName.REPORTED_EVENTS, "1" * 64) in outcome.changes


def test_who_calls_from_a_network_does_not_bring_back_its_bar() -> None:
    house = House()
    house.rules.apply([lists.Change(lists.ListName.BLOCKED_ADDRESSES, "203.0.113.0/24", lists.ListEntry())])
    house.call("unblockip", "203.0.113.0/24")
    assert house.refusal(house.newest()["act"]) == "restricted: you call from there yourself, 203.0.113.7"


class TestRights:
    """Who may undo what."""

    def moderated(self, *allowed: str) -> House:
        house = House()
        for method in ("undoact", "listacts", *allowed):
            house.rules.apply(lists.granting(house.rules.lists, lists.ListName.METHODS, MODERATOR.pubkey, method, NOW))
        return house

    def test_who_may_call_a_method_may_undo_its_acts_and_no_others(self) -> None:
        house = self.moderated("banevent")
        house.call("banpubkey", ALICE.pubkey)
        house.call("banevent", "e" * 64)
        event, key = house.call("listacts", by=MODERATOR.pubkey)
        assert (event["can_undo"], key["can_undo"]) == (True, False)
        refused = "restricted: who undoes this must be allowed to call banpubkey"
        assert house.refusal(key["act"], MODERATOR.pubkey) == refused
        assert house.call("undoact", event["act"], by=MODERATOR.pubkey) is True

    def test_what_was_undone_is_done_again_only_by_who_may_do_it(self) -> None:
        house = self.moderated("banevent")
        house.call("banpubkey", ALICE.pubkey)
        house.call("undoact", house.newest()["act"])
        refused = "restricted: who undoes this must be allowed to call banpubkey"
        assert house.refusal(house.newest()["act"], MODERATOR.pubkey) == refused

    def test_nobody_gives_a_key_back_what_he_may_not_call_himself(self) -> None:
        house = self.moderated("unassignmethod", "banpubkey")
        for key in (MODERATOR, CAROL):
            house.call("unassignmethod", key.pubkey, "banpubkey")
        house.rules.apply(lists.granting(house.rules.lists, lists.ListName.METHODS, CAROL.pubkey, "banpubkey", NOW))
        own = [act for act in house.call("listacts") if act["method"] == "unassignmethod"][-1]["act"]
        refused = "restricted: it would let a key call banpubkey, which you may not call yourself"
        assert house.refusal(own, MODERATOR.pubkey) == refused
        assert house.call("undoact", own) is True
