"""What becomes of saves and questions when a member's link ends, or its keeper does."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.backends import ask, everything
from tests.support.keys import ALICE, BOB
from tests.support.members import HeldFile, open_household
from trio_relay import Filter, StoreError

NOTE, OTHER, THIRD = ALICE.event("note"), BOB.event("other"), ALICE.event("third")


async def fails(work: Awaitable[object]) -> None:
    """It is told that its keeper is gone."""
    with pytest.raises(StoreError, match=r"^the relay stops$"):
        await work


async def cancelled_when_blocked(scope: trio.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.cancel()


@pytest.mark.parametrize("is_committed", [False, True])
async def test_saves_end_with_the_link_and_what_came_is_stored(is_committed: bool) -> None:
    with trio.fail_after(10):
        async with open_household(2, is_keeping=is_committed) as household, household.joined(0) as home:
            home.down.shut()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fails, home.store.save_many([NOTE]))
                await wait_all_tasks_blocked()
                if is_committed:
                    await household.keeper.settled()
                home.cut()
            await fails(home.store.save_many([OTHER]))
            for question in (home.store.probe(), home.store.sweep(), home.store.put_metadata({"a": b"1"})):
                await fails(question)
            if not is_committed:
                async with trio.open_nursery() as keeping:
                    keeping.start_soon(household.keeper.run)
                    await household.keeper.settled()
                    keeping.cancel_scope.cancel()
            assert await everything(household.file) == [NOTE]


async def test_what_was_not_told_before_the_end_cannot_be_asked_for() -> None:
    """Nobody would ever deliver it, and so nobody can tell whether it would come twice."""
    with trio.fail_after(10):
        async with open_household(2) as household, household.joined(0) as home, household.joined(1) as other:
            home.down.shut()
            await other.store.save_many([NOTE])
            assert home.store.query_nowait([Filter(limit=5)]) is None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fails, ask(home.store, Filter(limit=5)))
                await wait_all_tasks_blocked()
                home.cut()
            assert await ask(home.store, Filter(limit=5, ids=frozenset([OTHER.id]))) == []


async def test_what_a_cancelled_keeper_has_begun_is_told_to_have_failed() -> None:
    with trio.fail_after(10):
        async with open_household(1, is_keeping=False) as household, household.joined(0) as home:
            HeldFile(household).hold()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fails, home.store.save_many([NOTE, OTHER]))
                nursery.start_soon(fails, household.keeper.save([THIRD]))
                await wait_all_tasks_blocked()
                with trio.CancelScope() as keeping:
                    nursery.start_soon(cancelled_when_blocked, keeping)
                    await household.keeper.run()
            assert await everything(household.file) == []


async def test_a_save_that_is_cancelled_waits_for_its_outcome_for_a_while(autojump_clock: MockClock) -> None:
    async with open_household(1, is_keeping=False) as household, household.joined(0) as home:
        with trio.move_on_after(1) as patience:
            await home.store.save_many([NOTE])
        assert patience.cancelled_caught
        assert trio.current_time() == 6
