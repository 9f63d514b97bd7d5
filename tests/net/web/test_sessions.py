"""Sessions and links: who is who, until when, and that nothing lets anybody in twice or as somebody else."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.support.keys import NOW
from trio_relay.net import web

SECRET = b"s" * 32
CALLERS = ["operator", "a" * 64, "b" * 64]
SECONDS = 1_000

sessions = web.sessions


@dataclass
class Held:
    """A cookie that somebody has, and what it should be good for."""

    session: sessions.ConsoleSession
    caller: str
    ends: float
    over: bool = field(default=False)


class Coming(RuleBasedStateMachine):
    """People log in and out, and time goes by: a cookie is its own caller's until it ends, and nobody else's ever."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions = sessions.Sessions(SECONDS)
        self.now = float(NOW)
        self.held: list[Held] = []

    @rule(caller=st.sampled_from(CALLERS))
    def log_in(self, caller: str) -> None:
        self.held.append(Held(self.sessions.open(caller, self.now), caller, self.now + SECONDS))
        own = [one for one in self.held if one.caller == caller and not one.over and one.ends > self.now]
        for one in own[:-10]:
            one.over = True

    @rule(place=st.integers(0, 50))
    def log_out(self, place: int) -> None:
        if self.held:
            one = self.held[place % len(self.held)]
            self.sessions.end(one.session)
            one.over = True

    @rule(seconds=st.integers(1, SECONDS))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def each_cookie_is_good_for_what_it_should_be(self) -> None:
        for one in self.held:
            found = self.sessions.find(one.session.cookie, self.now)
            assert (found is one.session) is (not one.over and one.ends > self.now)
            assert found is None or found.caller == one.caller
            for other in {*CALLERS, ""} - {one.caller}:
                assert self.sessions.find(f"{other}.{one.session.token}", self.now) is None


TestComing = Coming.TestCase


@given(cookie=st.text())
def test_no_other_text_is_a_cookie(cookie: str) -> None:
    people = sessions.Sessions(SECONDS)
    people.open("operator", NOW)
    assert people.find(cookie, NOW) is None


def test_two_sessions_share_nothing() -> None:
    people = sessions.Sessions(SECONDS)
    one, other = people.open("operator", NOW), people.open("operator", NOW)
    assert one.token != other.token
    assert not one.knows(other.form_token)
    assert one.knows(one.form_token)
    assert one.token not in one.form_token


@given(token=st.text())
def test_no_other_text_is_a_form_token(token: str) -> None:
    assert not sessions.Sessions(SECONDS).open("operator", NOW).knows(token)


def test_many_callers_make_the_oldest_sessions_end() -> None:
    people = sessions.Sessions(SECONDS)
    first, *_, last = [people.open(f"{number:064x}", NOW) for number in range(1_001)]
    assert people.find(first.cookie, NOW) is None
    assert people.find(last.cookie, NOW) is last


@given(made=st.integers(NOW - 1_000, NOW + 1_000), used=st.integers(NOW - 1_000, NOW + 1_000))
def test_a_link_is_good_for_five_minutes_and_once(made: int, used: int) -> None:
    links, token = sessions.Links(lambda: SECRET, NOW), sessions.link_token(SECRET, "operator", made)
    is_good = made >= NOW and made <= used < made + sessions.LINK_SECONDS
    assert links.caller_of(token, used) == ("operator" if is_good else None)
    assert links.caller_of(token, used) is None


def test_a_link_of_before_the_start_is_not_good_any_more() -> None:
    """The last process may have seen it used."""
    token = sessions.link_token(SECRET, "operator", NOW)
    assert sessions.Links(lambda: SECRET, NOW + 1).caller_of(token, NOW + 2) is None


@given(place=st.integers(0, 400), letter=st.sampled_from("Aa0_.-="))
def test_a_link_that_was_altered_lets_nobody_in(place: int, letter: str) -> None:
    token = sessions.link_token(SECRET, "a" * 64, NOW)
    place %= len(token) - 1  # the last letter has bits that say nothing
    altered = token[:place] + letter + token[place + 1 :]
    found = sessions.Links(lambda: SECRET).caller_of(altered, NOW)
    assert found == ("a" * 64 if altered == token else None)


@given(token=st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_no_other_text_is_a_link(token: str) -> None:
    assert sessions.Links(lambda: SECRET).caller_of(token, NOW) is None


def test_a_link_of_another_relay_lets_nobody_in() -> None:
    assert sessions.Links(lambda: SECRET).caller_of(sessions.link_token(b"other", "operator", NOW), NOW) is None


def test_where_no_secret_was_made_no_link_lets_anybody_in() -> None:
    """Anybody could sign by what stands for it."""
    assert sessions.Links(lambda: b"").caller_of(sessions.link_token(b"", "operator", NOW), NOW) is None
