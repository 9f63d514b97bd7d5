"""Turns of the loop, and pages under a deadline."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from trio_relay.turns import SECONDS, Turn


async def test_a_turn_is_over_after_its_time_and_a_new_one_begins_when_it_is_given(mock_clock: MockClock) -> None:
    turn = Turn()
    mock_clock.jump(SECONDS)
    assert not turn.is_over
    mock_clock.jump(SECONDS / 2)
    assert turn.is_over
    assert turn.is_over_at(trio.current_time())
    assert not turn.is_over_at(trio.current_time() - SECONDS)
    await turn.give()
    assert not turn.is_over
    mock_clock.jump(2 * SECONDS)
    await turn.give_shielded()
    assert not turn.is_over


async def test_others_go_on_when_a_turn_is_given() -> None:
    went_on: list[str] = []

    async def other() -> None:
        went_on.append("other")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(2):  # who is first within one round of the scheduler is drawn by lot
            await Turn().give()
        assert went_on == ["other"]


async def test_who_gives_a_turn_can_be_cancelled_there_unless_it_is_shielded() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await Turn().give_shielded()
        with pytest.raises(trio.Cancelled):
            await Turn().give()
