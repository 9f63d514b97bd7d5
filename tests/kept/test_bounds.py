"""What a member knows of time and words by the scoreboard, and what it does not pile up."""

from __future__ import annotations

import pytest
import trio

from tests.support.backends import ask
from tests.support.keys import ALICE, BOB, NOW
from tests.support.members import Ear, open_household
from trio_relay import Filter, Saved
from trio_relay.store import kept

NOTE = BOB.event("note")
PASSING = ALICE.event("passing", tags=[["expiration", str(NOW + 10)]])
ALL = [Filter(limit=9)]


async def test_what_has_expired_is_found_on_no_member_and_swept_by_any() -> None:
    now = NOW
    with trio.fail_after(60):
        async with (
            open_household(2, clock=lambda: now) as household,
            household.joined(0) as one,
            household.joined(1) as other,
        ):
            assert await one.store.save_many([PASSING, NOTE]) == [Saved.STORED] * 2
            for home in (one, other):
                assert home.scoreboard.earliest_expiry == NOW + 10
                assert len(await ask(home.store, *ALL)) == 2
            now = NOW + 10
            for home in (one, other):
                assert await ask(home.store, *ALL) == [NOTE]
                assert await home.store.count(ALL) == 1
            assert await other.store.sweep() == 1
            assert one.scoreboard.earliest_expiry > NOW + 10**6
            now = NOW
            assert await ask(one.store, *ALL) == [NOTE]


async def test_words_are_complete_for_all_once_the_keeper_has_made_them() -> None:
    with trio.fail_after(60):
        async with open_household(1) as household, household.joined(0) as home:
            await household.file.worded.wait()
            assert home.store.has_all_words
            household.scoreboard.is_worded = False
            assert not home.store.has_all_words


async def test_what_nobody_stores_does_not_pile_up_where_the_keeper_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept.store, "MOST_UNREAD", 1_000)
    typing = [ALICE.event("typing" * 10, kind=20_001, created_at=NOW + number) for number in range(50)]
    ear = Ear()
    with trio.fail_after(60):
        async with open_household(2) as household, household.joined(0) as home, household.joined(1) as other:
            other.store.hear(ear)
            home.up.shut()
            for event in typing:
                home.store.spread([event])
            home.up.open()
            await home.store.probe()
            await other.store.probe()
            assert 0 < len(ear.delivered) < 10
            assert ear.delivered == typing[: len(ear.delivered)]
            home.store.spread(typing[-1:])
            await home.store.probe()
            await other.store.probe()
            assert ear.delivered[-1] == typing[-1]
