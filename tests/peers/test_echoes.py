"""Nothing is given back to where it came from, in bounded memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_relay.peers import echoes


def test_what_came_from_there_is_not_given_back() -> None:
    seen = echoes.Echoes()
    assert seen.is_news_here("a")
    assert not seen.is_news_there("a")


def test_what_came_from_here_is_not_taken_back() -> None:
    seen = echoes.Echoes()
    assert seen.is_news_there("a")
    assert not seen.is_there("a")
    assert not seen.is_news_here("a")
    assert seen.is_there("a"), "it has shown that it has it: what waits to be given need not be"


def test_what_it_took_is_there() -> None:
    seen = echoes.Echoes()
    seen.note_there("a")
    assert not seen.is_news_there("a")
    assert not seen.is_news_here("a")


def test_what_was_refused_may_come_again() -> None:
    seen = echoes.Echoes()
    assert seen.is_news_here("a")
    seen.forget("a")
    assert seen.is_news_here("a")


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12))), st.integers(1, 8))
def test_the_newest_ids_are_remembered_and_no_others(steps: list[tuple[bool, int]], most: int) -> None:
    """As a list of all that came, of which the last ones count."""
    recent, twin = echoes.RecentIds(most), list[str]()
    for is_added, number in steps:
        event_id = str(number)
        twin = [other for other in twin if other != event_id]
        if is_added:
            recent.add(event_id)
            twin = [*twin, event_id][-most:]
        else:
            recent.discard(event_id)
        assert len(recent) == len(twin)
        assert [name for name in map(str, range(13)) if name in recent] == sorted(twin, key=int)
