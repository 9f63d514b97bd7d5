"""An HTTP auth event is good for one request (NIP-98), and no key can use up the memory of that for others."""

from __future__ import annotations

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB, NOW, Author, made_up
from trio_relay import Event
from trio_relay.net import http_responses
from trio_relay.net.admin.replays import MOST, MOST_BYTES, MOST_OF_ONE, Replayed, Replays, TooManyChanges

SECONDS = 60
"""For which an event is good."""


def event(name: str = "a", at: int = NOW, by: Author = ALICE) -> Event:
    return msgspec.structs.replace(made_up(name, created_at=at), pubkey=by.pubkey)


def is_new(replays: Replays, one: Event, now: int = NOW, *, is_admin: bool = False) -> bool:
    """Use an event; False if it was used, or is too old."""
    try:
        replays.use(one, now, is_admin=is_admin)
    except Replayed:
        return False
    return True


def answered(replays: Replays, one: Event, size: int = 10) -> http_responses.Response:
    """Use an event, and answer it; gives the answer."""
    response = http_responses.Response(200, bytes(size))
    replays.end(one, replays.use(one, NOW), response)
    return response


async def repeated(replays: Replays, one: Event) -> http_responses.Response | str:
    """What is told whoever comes with an event once more, or why nothing is."""
    use = replays.earlier(one)
    assert use is not None
    try:
        return await use.answer()
    except Replayed as error:
        return str(error)


def refusal(replays: Replays, one: Event, now: int = NOW, *, is_admin: bool = False) -> str:
    with pytest.raises(TooManyChanges) as refused:
        replays.use(one, now, is_admin=is_admin)
    return str(refused.value)


def test_an_event_is_new_once() -> None:
    replays = Replays()
    assert is_new(replays, event("a"))
    assert not is_new(replays, event("a"))
    assert is_new(replays, event("b"))


async def test_who_comes_again_is_told_what_the_first_was() -> None:
    replays = Replays()
    assert replays.earlier(event()) is None
    for name in ("a", "b"):
        response = answered(replays, event(name))
        assert await repeated(replays, event(name)) is response
    assert not is_new(replays, event("a"))


async def test_who_comes_while_the_first_is_carried_out_waits_for_its_answer() -> None:
    replays, told = Replays(), list[http_responses.Response | str]()
    use, response = replays.use(event(), NOW), http_responses.Response(200, b"")
    async with trio.open_nursery() as nursery:

        async def come_again() -> None:
            told.append(await repeated(replays, event()))

        for _ in range(2):
            nursery.start_soon(come_again)
        await wait_all_tasks_blocked()
        assert told == []
        replays.end(event(), use, response)
    assert told == [response, response]


async def test_an_event_that_was_never_answered_was_used_all_the_same() -> None:
    replays = Replays()
    replays.end(event(), replays.use(event(), NOW), None)
    assert await repeated(replays, event()) == "this event was used already; every change needs a new one"


async def test_answers_are_remembered_while_there_is_room_and_room_comes_back() -> None:
    replays = Replays()
    first = answered(replays, event("first", NOW - 60), MOST_BYTES * 2 // 3)
    answered(replays, event("second"), MOST_BYTES // 2)
    assert await repeated(replays, event("first", NOW - 60)) is first
    assert isinstance(await repeated(replays, event("second")), str)
    assert is_new(replays, event("later"), NOW + 1)
    assert replays.earlier(event("first", NOW - 60)) is None, "it is too old to come again"
    third = answered(replays, event("third", NOW + 1), MOST_BYTES // 2)
    assert await repeated(replays, event("third", NOW + 1)) is third


async def test_an_answer_that_comes_after_its_event_was_forgotten_takes_no_room() -> None:
    replays, old = Replays(), event("old", NOW - 60)
    use = replays.use(old, NOW)
    assert is_new(replays, event("new", NOW + 1), NOW + 1)
    replays.end(old, use, http_responses.Response(200, bytes(MOST_BYTES // 2)))
    response = answered(replays, event("other"), MOST_BYTES * 2 // 3)
    assert await repeated(replays, event("other")) is response


def test_an_event_from_the_future_is_remembered_until_it_is_too_old() -> None:
    replays = Replays()
    ahead = event(at=NOW + SECONDS)
    assert is_new(replays, ahead)
    assert [is_new(replays, ahead, NOW + later) for later in (1, 60, 120, 121)] == [False] * 4


def test_what_is_too_old_is_never_new() -> None:
    assert is_new(Replays(), event(at=NOW - SECONDS))
    assert not is_new(Replays(), event(at=NOW - SECONDS - 1))


def test_one_key_has_its_share_until_something_of_it_is_too_old() -> None:
    replays = Replays(most=100, most_of_one=2)
    assert is_new(replays, event("young", NOW + 1))
    assert is_new(replays, event("old", NOW))
    words = "this key has made 2 changes within the last 2 minutes; try again in a minute"
    assert refusal(replays, event("more", NOW + 60), NOW + 60) == words
    assert is_new(replays, event("another's", NOW + 60, BOB), NOW + 60)
    assert is_new(replays, event("more", NOW + 60), NOW + 61)
    assert refusal(replays, event("again", NOW + 61), NOW + 61) == words
    assert not is_new(replays, event("young", NOW + 1), NOW + 61), "it is remembered although its key has no room"
    assert is_new(replays, event("again", NOW + 61), NOW + 62)


def test_all_moderators_together_leave_the_admins_their_room() -> None:
    replays = Replays()
    for number in range(MOST):
        assert is_new(replays, event(str(number), by=Author(f"moderator {number // MOST_OF_ONE}")))
    words = "moderators have made too many changes within the last 2 minutes; try again in a minute"
    assert refusal(replays, event("more", by=BOB)) == words
    for number in range(MOST):
        assert is_new(replays, event(f"admin {number}"), is_admin=True)
    words = f"this key has made {MOST:,} changes within the last 2 minutes; try again in a minute"
    assert refusal(replays, event("more"), is_admin=True) == words
    assert is_new(replays, event("more", by=BOB), is_admin=True)


def test_who_becomes_an_admin_repeats_nothing() -> None:
    replays = Replays()
    assert is_new(replays, event())
    assert not is_new(replays, event(), is_admin=True)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-70, 70), st.integers(0, 50), st.booleans())))
def test_no_event_is_new_twice_at_whatever_times_it_comes(arrivals: list[tuple[int, int, int, bool]]) -> None:
    """Judged by a list of everything that ever came; an event's time belongs to it, as its id is a hash of it too."""
    replays, used, now = Replays(), set[str](), NOW
    for number, offset, later, is_admin in arrivals:
        now += later
        one = event(str(number), NOW + offset)
        fresh = one.created_at >= now - SECONDS
        assert is_new(replays, one, now, is_admin=is_admin) == (fresh and one.id not in used)
        if fresh:
            used.add(one.id)
