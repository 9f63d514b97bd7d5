"""An HTTP auth event is good for one request (NIP-98)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import NOW
from trio_relay.nostr.auth import HTTP_AUTH_SECONDS, Replays


def test_an_event_is_new_once() -> None:
    replays = Replays()
    assert replays.is_new("a", NOW, NOW)
    assert not replays.is_new("a", NOW, NOW)
    assert replays.is_new("b", NOW, NOW)


def test_an_event_from_the_future_is_remembered_until_it_is_too_old() -> None:
    replays = Replays()
    assert replays.is_new("a", NOW + 60, NOW)
    assert [replays.is_new("a", NOW + 60, NOW + later) for later in (1, 60, 120, 121)] == [False] * 4


def test_what_is_too_old_is_never_new() -> None:
    assert Replays().is_new("a", NOW - 60, NOW)
    assert not Replays().is_new("a", NOW - 61, NOW)


def test_when_it_is_full_nothing_is_new_until_something_is_too_old() -> None:
    replays = Replays(most=2)
    assert replays.is_new("young", NOW + 1, NOW)
    assert replays.is_new("old", NOW, NOW)
    assert not replays.is_new("more", NOW + 60, NOW + 60)
    assert replays.is_new("more", NOW + 60, NOW + 61)
    assert not replays.is_new("another", NOW + 61, NOW + 61)
    assert replays.is_new("another", NOW + 61, NOW + 62)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-70, 70), st.integers(0, 50))))
def test_no_event_is_new_twice_at_whatever_times_it_comes(arrivals: list[tuple[int, int, int]]) -> None:
    """Judged by a list of everything that ever came; an event's time belongs to it, as its id is a hash of it too."""
    replays, used, now = Replays(), set[str](), NOW
    for number, offset, later in arrivals:
        now += later
        event_id, created_at = f"{number} {offset}", NOW + offset
        fresh = created_at >= now - HTTP_AUTH_SECONDS
        assert replays.is_new(event_id, created_at, now) == (fresh and event_id not in used)
        if fresh:
            used.add(event_id)
