"""A member that follows hears of what it and others have changed, and of all that comes after what it has read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.support.backends import records
from tests.support.keys import ALICE, BOB, NOW
from tests.support.members import Home, open_household, run_threads_of_stores_inline
from trio_relay import Event, Filter, Saved

NOTE, OTHER = ALICE.event("note"), BOB.event("other")
DELETION = ALICE.event(kind=5, tags=[["e", NOTE.id]])
OLD, NEW = (BOB.event(kind=0, created_at=NOW + age) for age in range(2))
VANISH = ALICE.event(kind=62, created_at=NOW + 1, tags=[["relay", "ALL_RELAYS"]])


class Copy:
    """What a member knows to be stored: what it has read, and what has changed since."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._missed: list[tuple[Sequence[Event], Sequence[tuple[int, str]]]] | None = []
        self.ids: set[str] = set()

    async def read(self) -> None:
        self._home.store.follow(self._changed)
        self.ids = {event_id for _, event_id in await records(self._home.store, Filter())}
        missed, self._missed = self._missed, None
        for added, removed in missed or ():
            self._changed(added, removed)

    def _changed(self, added: Sequence[Event], removed: Sequence[tuple[int, str]]) -> None:
        if self._missed is not None:
            self._missed.append((added, removed))
        else:
            self.ids -= {event_id for _, event_id in removed}
            self.ids |= {event.id for event in added}


@pytest.mark.parametrize("by", ["itself", "another"])
async def test_all_changes_come_after_each_other(by: str) -> None:
    with trio.fail_after(10):
        async with open_household(2) as household, household.joined(0) as home, household.joined(1) as another:
            writer = home.store if by == "itself" else another.store
            copy = Copy(home)
            await copy.read()
            for batch, left in (
                ([NOTE, OTHER, OLD], [NOTE, OTHER, OLD]),
                ([NEW, NOTE], [NOTE, OTHER, NEW]),
                ([DELETION], [DELETION, OTHER, NEW]),
                ([VANISH], [VANISH, OTHER, NEW]),
            ):
                await writer.save_many(batch)
                await home.store.probe()  # all that was told before its answer has been taken
                assert copy.ids == {event.id for event in left}
            assert await writer.remove([Filter(ids=frozenset([OTHER.id]))]) == 1
            await home.store.probe()
            assert copy.ids == {VANISH.id, NEW.id}


@pytest.mark.parametrize("by", ["itself", "another"])
async def test_what_goes_before_the_keeper_knows_of_who_follows_was_not_read_either(
    by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_threads_of_stores_inline(monkeypatch)
    with trio.fail_after(10):
        async with open_household(2) as household, household.joined(0) as home, household.joined(1) as another:
            await another.store.save_many([NOTE, OLD])
            copy = Copy(home)
            async with trio.open_nursery() as nursery:
                home.up.shut()
                nursery.start_soon(home.store.save_many, [OTHER])
                await wait_all_tasks_blocked()
                nursery.start_soon(copy.read)
                await wait_all_tasks_blocked()
                assert await another.store.save_many([DELETION, NEW]) == [Saved.STORED] * 2
                home.up.open()
            await home.store.probe()
            assert copy.ids == {DELETION.id, NEW.id, OTHER.id}


async def test_who_follows_no_more_hears_nothing() -> None:
    with trio.fail_after(10):
        async with open_household(2) as household, household.joined(0) as home:
            copy = Copy(home)
            await copy.read()
            home.store.follow(None)
            await home.store.save_many([NOTE])
            assert copy.ids == set()
            assert await records(home.store, Filter()) == [(NOTE.created_at, NOTE.id)]
