"""Relays that tell something at every step, and nothing new: a sync with them has to end all the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.peers.test_hostile_syncs import EVENTS, MINE, relay, sync_with
from tests.support.keys import ALICE, NOW
from tests.support.other_relays import Actor
from trio_relay.peers import endless, waiting

pytestmark = pytest.mark.usefixtures("inline_threads")
_ENOUGH = 2_000
"""Steps after which whoever has not given up never will."""


class Endless(Exception):
    """It went on."""


def _limited() -> Any:
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        if steps > _ENOUGH:
            raise Endless
        return steps

    return step


async def test_a_relay_that_says_again_and_again_what_it_lacks_is_given_up(autojump_clock: MockClock) -> None:
    """The newest half it says that it has nothing of, each time; of the older half all is different, each time."""
    step, middle = _limited(), MINE[len(MINE) // 2].created_at

    async def lie(actor: Actor, rest: list[Any]) -> None:
        older = bytes([*_varint(middle), 0, 1]) + step().to_bytes(16, "big")
        await actor.say("NEG-MSG", rest[0], (b"\x61" + older + bytes([0, 0, 2, 0])).hex())

    _, _, lost = await sync_with(relay([], NEG_OPEN=lie, NEG_MSG=lie), MINE, direction="up")
    assert lost


async def test_a_relay_that_says_that_it_has_ever_new_events_is_given_up_where_none_are_taken(
    autojump_clock: MockClock,
) -> None:
    step = _limited()

    async def lie(actor: Actor, rest: list[Any]) -> None:
        number = step()
        made_up = bytes([*_varint(1_000), 0, 2, 1]) + number.to_bytes(32, "big")
        await actor.say("NEG-MSG", rest[0], (b"\x61" + made_up + bytes([0, 0, 1]) + number.to_bytes(16, "big")).hex())

    _, _, lost = await sync_with(relay([], NEG_OPEN=lie, NEG_MSG=lie), MINE, direction="up")
    assert lost


async def test_a_relay_that_sends_the_same_event_for_ever_is_given_up(autojump_clock: MockClock) -> None:
    step = _limited()

    async def repeat(actor: Actor, rest: list[Any]) -> None:
        while True:
            step()
            await actor.say("EVENT", rest[0], EVENTS[0])

    _, _, lost = await sync_with(relay([], REQ=repeat), direction="down")
    assert lost


async def test_a_relay_that_sends_an_event_a_minute_for_ever_is_given_up(autojump_clock: MockClock) -> None:
    step = _limited()

    async def drip(actor: Actor, rest: list[Any]) -> None:
        while True:
            await trio.sleep(9)
            await actor.say("EVENT", rest[0], EVENTS[step() % len(EVENTS)])

    _, here, lost = await sync_with(relay([], REQ=drip), direction="down")
    assert (len(here) > 0, lost) == (True, "it did not end the answer to a REQ within 50 seconds")


async def test_a_relay_that_makes_up_pages_of_events_is_given_up(autojump_clock: MockClock) -> None:
    step = _limited()

    async def make_up(actor: Actor, rest: list[Any]) -> None:
        made_up = ALICE.event(str(step()), created_at=rest[1].get("until", NOW) - 1)
        await actor.say("EVENT", rest[0], msgspec.structs.replace(made_up, sig="0" * 128))
        await actor.say("EOSE", rest[0])

    _, here, lost = await sync_with(relay([], REQ=make_up), direction="down")
    assert (here, lost) == (set(), "it sends events that are not valid")


async def test_a_relay_that_compares_one_half_and_refuses_the_other_for_ever_is_given_up(
    autojump_clock: MockClock,
) -> None:
    step = _limited()

    async def refuse(actor: Actor, rest: list[Any]) -> None:
        if step() % 2:
            await actor.say("NEG-ERR", rest[0], "blocked: too many events", 1)
        else:
            await actor.say("NEG-MSG", rest[0], "61")

    _, _, lost = await sync_with(relay([], NEG_OPEN=refuse), MINE, direction="up")
    assert lost or step() < _ENOUGH


@given(st.integers(1, 200_000), st.integers(8, 1_500), st.integers(0, 100))
def test_a_comparison_whose_messages_tell_something_may_be_as_long_as_it_is(events: int, told: int, split: int) -> None:
    """Of so many events that differ, told so many in a round, after rounds that only split."""
    for own, unwanted in ((0, False), (events, False), (0, True)):
        bounds = endless.ComparisonBounds()
        bounds.expect(own)
        for _ in range(split):
            bounds.note(0)
        for _ in range(events // max(told, 64 * unwanted)):
            bounds.note(*(0, max(told, 64)) if unwanted else (told, 0))


@pytest.mark.parametrize("round_", [(0, 0), (1, 0), (0, 1), (0, 64)])
def test_no_comparison_is_endless(round_: tuple[int, int]) -> None:
    """Not even one of which each round tells a little."""
    bounds = endless.ComparisonBounds()

    def go_on() -> None:
        for _ in range(200_000):
            bounds.note(*round_)

    with pytest.raises(waiting.PeerLost, match="comes to no end"):
        go_on()


def _varint(number: int) -> list[int]:
    digits = [number & 127]
    while number := number >> 7:
        digits.append(number & 127 | 128)
    return digits[::-1]
