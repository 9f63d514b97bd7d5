"""No member keeps the log of the file from beginning anew, whether it asks all the time or not at all."""

from __future__ import annotations

import pytest
import trio

from tests.support.backends import ask
from tests.support.keys import made_up
from tests.support.members import Household, open_household
from trio_relay import Filter
from trio_relay.store import sqlite

BIG = "x" * 20_000
ONE = [Filter(limit=1)]
SAVES = 12


async def log_sizes(household: Household, asking: bool) -> list[int]:
    """Of the log after each of some saves, while a member has asked once, or asks after each."""
    sizes = []
    async with household.joined(0) as writer, household.joined(1) as idle:
        for number in range(SAVES):
            await writer.store.save_many([made_up(f"{number}{BIG}")])
            if asking or number == 0:
                assert idle.store.query_nowait(ONE)
                assert await ask(idle.store, *ONE)
            sizes.append(household.file.statistics().wal_bytes)
    return sizes


@pytest.mark.parametrize("asking", [False, True], ids=["asked once", "asks all the time"])
async def test_where_saves_wait_for_the_log_it_stays_as_it_is(asking: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite.store, "PAGES_BEFORE_WAITING", 0)
    monkeypatch.setattr(sqlite.store, "PAGES_BEFORE_CHECKPOINT", 1_000_000)
    with trio.fail_after(60):
        async with open_household(2) as household:
            sizes = await log_sizes(household, asking)
    assert sizes[-1] < 3 * sizes[2]
