"""One client's open subscriptions, by examples and against a naive twin."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.support.keys import ALICE
from tests.support.marks import examples, replaces_what_is_compiled
from trio_relay import Filter, Limits
from trio_relay.nostr import session as session_module
from trio_relay.nostr.event import encode
from trio_relay.nostr.filter import parse_filter
from trio_relay.nostr.message import ClientMessage, OpenSync, Publish, RefusedMessage, Subscribe, Unsubscribe, close
from trio_relay.nostr.session import Session

LIMITS = Limits(max_subscriptions=2, max_filters=3, max_limit=8, default_limit=5)
TOO_MANY_SUBS = "error: at most 2 subscriptions on a connection (max_subscriptions)"
TOO_MANY_FILTERS = "error: at most 3 filters in a REQ (max_filters)"


class Answerer:
    """What answers a request; it notes that it was ended."""

    sub_id: str
    filters: tuple[Filter, ...]
    size: int
    is_ended: bool

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self.ends = 0

    def end(self) -> None:
        self.ends += 1


def send(session: Session, *message: object) -> ClientMessage:
    """Hand a message in, and carry out what it asks for as a connection does."""
    action = session.receive(json.dumps(message).encode())
    if isinstance(action, Subscribe):
        session.open(action, Answerer("REQ"))
    return action


def open_sub_ids(session: Session) -> set[str]:
    """The subscription ids that the client holds open; counts are left out."""
    return {
        request.sub_id for request in session.open_requests if isinstance(request, Answerer) and request.verb == "REQ"
    }


def with_open(*sub_ids: str) -> Session:
    session = Session(LIMITS)
    for sub_id in sub_ids:
        send(session, "REQ", sub_id, {})
    return session


def clamped(limit: int, kinds: frozenset[int] | None = None) -> Filter:
    """A filter whose limit is the relay's own."""
    return Filter(kinds=kinds, limit=limit, is_clamped=True)


def test_a_new_client_holds_nothing_open() -> None:
    assert open_sub_ids(Session(LIMITS)) == set()


def test_a_subscription_is_open_until_its_client_closes_it() -> None:
    session = with_open("a")
    assert open_sub_ids(session) == {"a"}
    assert send(session, "CLOSE", "a") == Unsubscribe("a")
    assert open_sub_ids(session) == set()


def test_closing_what_is_not_open_changes_nothing() -> None:
    session = with_open("a")
    assert send(session, "CLOSE", "b") == Unsubscribe("b")
    assert open_sub_ids(session) == {"a"}


def test_one_subscription_too_many_is_closed_naming_the_limit() -> None:
    session = with_open("a", "b")
    assert send(session, "REQ", "c", {}) == close("c", TOO_MANY_SUBS)
    assert open_sub_ids(session) == {"a", "b"}


def test_an_open_subscription_is_replaced_even_when_no_more_are_allowed() -> None:
    session = with_open("a", "b")
    assert send(session, "REQ", "a", {"kinds": [7]}) == Subscribe("a", (clamped(5, kinds=frozenset({7})),))
    assert open_sub_ids(session) == {"a", "b"}


def test_what_the_relay_ends_frees_its_id() -> None:
    session = with_open("a", "b")
    session.close("a")
    session.close("never opened")
    assert open_sub_ids(session) == {"b"}
    assert isinstance(send(session, "REQ", "c", {}), Subscribe)


@pytest.mark.parametrize("bad", [{"ids": ["x"]}, {"x": 1}, 1])
def test_a_bad_replacement_ends_the_subscription(bad: object) -> None:
    """CLOSED says that nothing more comes for this id."""
    session = with_open("a", "b")
    answer = send(session, "REQ", "a", bad)
    assert isinstance(answer, RefusedMessage)
    assert answer.ends == "a"
    assert open_sub_ids(session) == {"b"}


def test_the_values_of_all_open_filters_count_together() -> None:
    """A filter counts five, each of its values one, each of its lists of tag values one more."""
    session = Session(Limits(max_filter_values=22))
    assert isinstance(send(session, "REQ", "a", {"kinds": [1, 2]}, {"#t": ["x"]}), Subscribe)
    refused = "error: at most 22 values in the filters of a connection (max_filter_values)"
    assert send(session, "REQ", "b", {"#t": ["x", "y", "z"]}) == close("b", refused)
    assert isinstance(send(session, "REQ", "b", {"#t": ["x", "y"]}), Subscribe)
    assert isinstance(send(session, "REQ", "a", {"kinds": [1], "#e": ["0" * 64], "#p": ["1" * 64]}), Subscribe)
    assert send(session, "REQ", "a", {"kinds": [*range(10)]}) == close("a", refused)
    assert open_sub_ids(session) == {"b"}


@replaces_what_is_compiled
@pytest.mark.parametrize(
    ("verb", "filters", "looked_at"),
    [
        ("REQ", [{"#t": ["x"] * 31}], 0),
        ("REQ", [{"ids": [1] * 31}], 0),
        ("COUNT", [{"kinds": [1] * 16, "#t": ["x"] * 15}], 0),
        ("NEG-OPEN", [{"foo": [[]] * 31}], 0),
        ("REQ", [{"#t": ["x"] * 10}] * 4, 3),
        ("COUNT", [{"#t": ["x"] * 10}] * 4, 3),
    ],
)
def test_lists_that_are_too_long_are_not_looked_at(
    verb: str, filters: list[dict[str, list[object]]], looked_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither are sets made of them, nor does it matter what is in them, nor over how many filters they are spread."""
    read: list[object] = []

    def noting(source: object, **options: Any) -> Filter:
        read.append(source)
        return parse_filter(source, **options)

    monkeypatch.setattr(session_module, "parse_filter", noting)
    session = Session(Limits(max_filter_values=30))
    action = send(session, verb, "a", *filters, *(["00"] if verb == "NEG-OPEN" else []))
    assert isinstance(action, RefusedMessage)
    reason = "error: at most 30 values in the filters of a connection (max_filter_values)"
    assert json.loads(action.message)[1:] == ["a", reason]
    assert len(read) == looked_at
    assert isinstance(send(session, "REQ", "a", {"#t": ["x"] * 30}), Subscribe), "the next message is another one"


def test_a_filter_of_a_sync_counts_while_it_is_held() -> None:
    session = Session(Limits(max_filter_values=12))
    assert isinstance(send(session, "NEG-OPEN", "a", {"kinds": [1, 2]}, "00"), OpenSync)
    session.hold(session.asked)
    refused = "error: at most 12 values in the filters of a connection (max_filter_values)"
    assert send(session, "REQ", "a", {"kinds": [1]}) == close("a", refused)
    session.let_go(7)
    assert isinstance(send(session, "REQ", "a", {"kinds": [1]}), Subscribe)


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({}, clamped(5)),
        ({"limit": 0}, Filter(limit=0)),
        ({"limit": 1}, Filter(limit=1)),
        ({"limit": 8}, Filter(limit=8)),
        ({"limit": 9}, clamped(8)),
        ({"limit": 10**30}, clamped(8)),
    ],
)
def test_limits_of_filters_are_clamped_one_by_one(asked: dict[str, int], given: Filter) -> None:
    action = send(with_open(), "REQ", "a", asked, {"limit": 2})
    assert action == Subscribe("a", (given, Filter(limit=2)))


def test_a_default_above_the_most_is_clamped_too() -> None:
    session = Session(Limits(max_limit=3, default_limit=5))
    assert send(session, "REQ", "a", {}) == Subscribe("a", (clamped(3),))


def test_as_many_filters_as_are_allowed_and_no_more() -> None:
    session = with_open()
    assert send(session, "REQ", "a", {}, {}, {}) == Subscribe("a", (clamped(5),) * 3)
    assert send(session, "REQ", "b", {}, {}, {}, {}) == close("b", TOO_MANY_FILTERS)
    assert open_sub_ids(session) == {"a"}


def test_an_event_passes_through() -> None:
    event = ALICE.event("hello")
    session = with_open("a")
    assert session.receive(b'["EVENT",' + encode(event) + b"]") == Publish(event)
    assert open_sub_ids(session) == {"a"}


def test_clients_know_nothing_of_each_other() -> None:
    one, other = with_open("a"), with_open("b")
    send(other, "CLOSE", "a")
    assert open_sub_ids(one) == {"a"}
    assert open_sub_ids(other) == {"b"}


sub_ids = st.sampled_from(["a", "b", "c", "d"])
asked_limits = st.none() | st.integers(0, 12)


class Conversation(RuleBasedStateMachine):
    """Random messages, answered as a list of open ids would have it."""

    def __init__(self) -> None:
        super().__init__()
        self.session = Session(LIMITS)
        self.open: list[str] = []
        self.answerers: dict[str, Answerer] = {}
        self.over: list[Answerer] = []

    @rule(sub_id=sub_ids, asked=st.lists(asked_limits, max_size=4), bad=st.booleans())
    def request(self, sub_id: str, asked: list[int | None], bad: bool) -> None:
        filters: list[object] = [{} if limit is None else {"limit": limit} for limit in asked]
        action = send(self.session, "REQ", sub_id, *filters, *(["no filter"] if bad else []))
        count = len(asked) + bad
        self.open = [other for other in self.open if other != sub_id]
        if count == 0:
            assert action == close(sub_id, "invalid: REQ needs at least one filter")
        elif count > 3:
            assert action == close(sub_id, TOO_MANY_FILTERS)
        elif bad:
            assert action == close(sub_id, "invalid: a filter must be an object")
        elif len(self.open) == 2:
            assert action == close(sub_id, TOO_MANY_SUBS)
        else:
            given = [
                clamped(5) if limit is None else clamped(8) if limit > 8 else Filter(limit=limit) for limit in asked
            ]
            assert action == Subscribe(sub_id, tuple(given))
            self.open.append(sub_id)
        self.note(sub_id)

    @rule(sub_id=sub_ids)
    def close(self, sub_id: str) -> None:
        assert send(self.session, "CLOSE", sub_id) == Unsubscribe(sub_id)
        self.open = [other for other in self.open if other != sub_id]
        self.note(sub_id)

    @rule(sub_id=sub_ids)
    def end(self, sub_id: str) -> None:
        self.session.close(sub_id)
        self.open = [other for other in self.open if other != sub_id]
        self.note(sub_id)

    @rule()
    def disconnect(self) -> None:
        self.session.close_all()
        for sub_id in self.open:
            self.over.append(self.answerers.pop(sub_id))
        self.open = []

    def note(self, sub_id: str) -> None:
        """What answered this id is over, whatever came; another may answer it now."""
        if sub_id in self.answerers:
            self.over.append(self.answerers.pop(sub_id))
        for request in self.session.open_requests:
            if request.sub_id == sub_id:
                assert isinstance(request, Answerer)
                self.answerers[sub_id] = request

    @rule(data=st.sampled_from([b"", b"[]", b'["EVENT",{}]', b'["CLOSE",1]', b'["REQ",1]', b'["REQ","\\ud800",{}]']))
    def babble(self, data: bytes) -> None:
        assert isinstance(self.session.receive(data), RefusedMessage)

    @invariant()
    def the_same_ids_are_open(self) -> None:
        assert sorted(open_sub_ids(self.session)) == sorted(self.open)
        assert [request.sub_id for request in self.session.open_requests] == self.open

    @invariant()
    def what_is_open_goes_on_and_all_else_was_ended_once(self) -> None:
        assert [answerer.ends for answerer in self.answerers.values()] == [0] * len(self.open)
        assert [answerer.ends for answerer in self.over] == [1] * len(self.over)


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=examples(25), stateful_step_count=20)
