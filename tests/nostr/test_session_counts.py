"""COUNT and search in a session: what is held to the same limits as a REQ, and what a relay without search refuses."""

from __future__ import annotations

import json

import pytest

from trio_relay.nostr.filter import Filter
from trio_relay.nostr.limits import Limits
from trio_relay.nostr.message import ClientMessage, Count, Subscribe, Unsubscribe, close, refuse_count
from trio_relay.nostr.session import Session

TOO_MANY = "error: at most 2 subscriptions on a connection (max_subscriptions)"
TOO_LONG = "error: at most 5 values in the filters of a connection (max_filter_values)"
NO_SEARCH = "unsupported: search is off on this relay"


def send(session: Session, *message: object) -> ClientMessage:
    return session.receive(json.dumps(message).encode())


def counting(session: Session, *message: object) -> Count:
    action = send(session, *message)
    assert isinstance(action, Count), action
    return action


def test_a_count_has_its_filters_as_they_came() -> None:
    """Which limit a REQ would get does not matter: it plays no part in a count."""
    session = Session(Limits(max_limit=3, default_limit=2))
    assert send(session, "COUNT", "a", {}, {"limit": 9}) == Count("a", (Filter(), Filter(limit=9)))


def test_a_count_neither_opens_nor_ends_a_subscription_of_its_id() -> None:
    session = Session(Limits())
    send(session, "REQ", "a", {})
    session.counted(counting(session, "COUNT", "a", {}))
    counting(session, "COUNT", "b", {})
    assert session.open_sub_ids == {"a"}
    assert send(session, "COUNT", "a", {"x": 1}) == refuse_count("a", "unsupported: filter key 'x' is not known here")
    assert session.open_sub_ids == {"a"}
    assert send(session, "CLOSE", "b") == Unsubscribe("b")
    assert session.open_sub_ids == {"a"}


def test_running_counts_and_open_subscriptions_share_a_limit() -> None:
    session = Session(Limits(max_subscriptions=2))
    send(session, "REQ", "a", {})
    running = counting(session, "COUNT", "a", {})
    assert send(session, "COUNT", "b", {}) == refuse_count("b", TOO_MANY)
    assert send(session, "REQ", "b", {}) == close("b", TOO_MANY)
    session.counted(running)
    running = counting(session, "COUNT", "b", {})
    assert send(session, "REQ", "c", {}) == close("c", TOO_MANY)
    session.counted(running)
    assert isinstance(send(session, "REQ", "c", {}), Subscribe)


def test_the_values_of_running_counts_and_open_subscriptions_add_up() -> None:
    session = Session(Limits(max_filter_values=5))
    assert send(session, "COUNT", "a", {"kinds": [1, 2, 3]}, {"kinds": [4, 5, 6]}) == refuse_count("a", TOO_LONG)
    running = counting(session, "COUNT", "a", {"kinds": [1, 2]}, {"#t": ["x"]})
    assert send(session, "REQ", "a", {"kinds": [1, 2, 3]}) == close("a", TOO_LONG)
    assert isinstance(send(session, "REQ", "a", {"kinds": [1, 2]}), Subscribe)
    assert send(session, "COUNT", "b", {"kinds": [1]}) == refuse_count("b", TOO_LONG)
    session.counted(running)
    counting(session, "COUNT", "b", {"kinds": [1, 2, 3]})


def test_two_counts_of_one_id_run_beside_each_other() -> None:
    session = Session(Limits(max_subscriptions=2))
    one, _other = counting(session, "COUNT", "a", {}), counting(session, "COUNT", "a", {})
    assert send(session, "COUNT", "a", {}) == refuse_count("a", TOO_MANY)
    session.counted(one)
    counting(session, "COUNT", "a", {})


@pytest.mark.parametrize("filters", [[{"search": "word"}], [{}, {"search": "word", "kinds": [1]}]])
def test_search_that_is_off_is_unsupported(filters: list[object]) -> None:
    session = Session(Limits(), has_search=False)
    send(session, "REQ", "a", {})
    assert send(session, "COUNT", "a", *filters) == refuse_count("a", NO_SEARCH)
    assert session.open_sub_ids == {"a"}
    assert send(session, "REQ", "a", *filters) == close("a", NO_SEARCH)
    assert session.open_sub_ids == set()


def test_search_that_is_on_passes() -> None:
    session = Session(Limits())
    assert isinstance(send(session, "REQ", "a", {"search": "word"}), Subscribe)
    assert counting(session, "COUNT", "a", {"search": "word"}).filters[0].search is not None
