"""COUNT and search in a session: what is held to the same limits as a REQ, and what a relay without search refuses."""

from __future__ import annotations

import pytest

from tests.nostr.test_session import Answerer, open_sub_ids, send
from trio_relay import Filter, Limits
from trio_relay.nostr.message import Count, Subscribe, Unsubscribe, close, refuse_count
from trio_relay.nostr.session import Session

TOO_MANY = "error: at most 2 subscriptions on a connection (max_subscriptions)"
TOO_LONG = "error: at most 21 values in the filters of a connection (max_filter_values)"
NO_SEARCH = "unsupported: search is off on this relay"


def counting(session: Session, *message: object) -> Answerer:
    """What answers a COUNT that is taken."""
    action = send(session, *message)
    assert isinstance(action, Count), action
    answerer = Answerer("COUNT")
    session.open(action, answerer)
    return answerer


def test_a_count_has_its_filters_as_they_came() -> None:
    """Which limit a REQ would get does not matter: it plays no part in a count."""
    session = Session(Limits(max_limit=3, default_limit=2))
    assert send(session, "COUNT", "a", {}, {"limit": 9}) == Count("a", (Filter(), Filter(limit=9)))


def test_a_count_neither_opens_nor_ends_a_subscription_of_its_id() -> None:
    session = Session(Limits())
    send(session, "REQ", "a", {})
    session.answered(counting(session, "COUNT", "a", {}))
    running = counting(session, "COUNT", "b", {})
    assert open_sub_ids(session) == {"a"}
    assert send(session, "COUNT", "a", {"x": 1}) == refuse_count("a", "unsupported: filter key 'x' is not known here")
    assert open_sub_ids(session) == {"a"}
    assert send(session, "CLOSE", "b") == Unsubscribe("b")
    assert open_sub_ids(session) == {"a"}
    assert running.ends == 1


def test_running_counts_and_open_subscriptions_share_a_limit() -> None:
    session = Session(Limits(max_subscriptions=2))
    send(session, "REQ", "a", {})
    running = counting(session, "COUNT", "a", {})
    assert send(session, "COUNT", "b", {}) == refuse_count("b", TOO_MANY)
    assert send(session, "REQ", "b", {}) == close("b", TOO_MANY)
    session.answered(running)
    running = counting(session, "COUNT", "b", {})
    assert send(session, "REQ", "c", {}) == close("c", TOO_MANY)
    session.answered(running)
    assert isinstance(send(session, "REQ", "c", {}), Subscribe)


def test_the_values_of_running_counts_and_open_subscriptions_add_up() -> None:
    session = Session(Limits(max_filter_values=21))
    assert send(session, "COUNT", "a", {"kinds": [*range(6)]}, {"kinds": [*range(6)]}) == refuse_count("a", TOO_LONG)
    running = counting(session, "COUNT", "a", {"kinds": [1, 2]}, {"#t": ["x"]})
    assert send(session, "REQ", "a", {"kinds": [1, 2, 3]}) == close("a", TOO_LONG)
    assert isinstance(send(session, "REQ", "a", {"kinds": [1, 2]}), Subscribe)
    assert send(session, "COUNT", "b", {"kinds": [1]}) == refuse_count("b", TOO_LONG)
    session.answered(running)
    counting(session, "COUNT", "b", {"kinds": [1, 2, 3]})


def test_two_counts_of_one_id_run_beside_each_other() -> None:
    session = Session(Limits(max_subscriptions=2))
    one, _other = counting(session, "COUNT", "a", {}), counting(session, "COUNT", "a", {})
    assert send(session, "COUNT", "a", {}) == refuse_count("a", TOO_MANY)
    session.answered(one)
    counting(session, "COUNT", "a", {})


@pytest.mark.parametrize("filters", [[{"search": "word"}], [{}, {"search": "word", "kinds": [1]}]])
def test_search_that_is_off_is_unsupported(filters: list[object]) -> None:
    session = Session(Limits(), has_search=False)
    send(session, "REQ", "a", {})
    assert send(session, "COUNT", "a", *filters) == refuse_count("a", NO_SEARCH)
    assert open_sub_ids(session) == {"a"}
    assert send(session, "REQ", "a", *filters) == close("a", NO_SEARCH)
    assert open_sub_ids(session) == set()


def test_search_that_is_on_passes() -> None:
    session = Session(Limits())
    assert isinstance(send(session, "REQ", "a", {"search": "word"}), Subscribe)
    action = send(session, "COUNT", "a", {"search": "word"})
    assert isinstance(action, Count)
    assert action.filters[0].search is not None


def test_a_count_that_is_closed_keeps_its_place_until_its_task_has_ended() -> None:
    """Else a client could have any number of them on their way."""
    session = Session(Limits(max_subscriptions=2))
    running = counting(session, "COUNT", "a", {})
    other = counting(session, "COUNT", "a", {})
    for _ in range(2):
        assert send(session, "CLOSE", "a") == Unsubscribe("a")
    session.close_all()
    assert (running.ends, other.ends, session.open_requests) == (1, 1, [])
    assert send(session, "REQ", "b", {}) == close("b", TOO_MANY)
    session.answered(running)
    assert isinstance(send(session, "REQ", "b", {}), Subscribe)
