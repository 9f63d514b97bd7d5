"""What others have written comes to a relay's subscribers through the index, once; in virtual time, without a node."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
import trio
import trio.lowlevel
from trio.testing import MockClock

from tests.opensearch.ears import Ear
from tests.opensearch.inside import inside
from tests.opensearch.shared_index import SharedIndex, relay_on
from tests.support.backends import ask
from tests.support.keys import ALICE, BOB, NOW, made_up
from trio_relay import Filter, Saved
from trio_relay.store.opensearch import OpenSearchStore, remembered

STORED = Saved.STORED
NOTE, OTHER = ALICE.event("note"), BOB.event("other")
OLD, NEW = (ALICE.event(kind=0, created_at=NOW + age) for age in range(2))
ALL = Filter()


@asynccontextmanager
async def pair(
    index: SharedIndex | None = None, *, ahead: float = 0.0, **changes: Any
) -> AsyncIterator[tuple[OpenSearchStore, OpenSearchStore, Ear, Ear]]:
    """Two relays on one index, the second one's clock ahead, and who listens to each."""
    index = index or SharedIndex()
    async with relay_on(index, **changes) as (one, _), relay_on(index, ahead=ahead, **changes) as (other, _):
        ears = Ear(), Ear()
        one.hear(ears[0])
        other.hear(ears[1])
        yield one, other, *ears


async def test_what_one_stores_is_delivered_at_the_other_after_its_refresh_once(autojump_clock: MockClock) -> None:
    async with pair() as (one, other, ear_of_one, ear):
        assert await one.save_many([NOTE, OTHER]) == [STORED, STORED]
        assert ear.pending == []
        await trio.sleep(4.5)
        assert ear.pending == ear.delivered == [NOTE, OTHER]
        await trio.sleep(200)
        assert ear.pending == ear.delivered == [NOTE, OTHER]
        assert ear_of_one.pending == []  # its own
        assert inside(other).others.heard == {"index": 2}


async def test_nothing_that_was_there_before_is_delivered(autojump_clock: MockClock) -> None:
    index = SharedIndex()
    async with relay_on(index) as (one, _):
        await one.save_many([NOTE])  # the next relay's first refresh shows it
        async with relay_on(index) as (other, _):
            other.hear(ear := Ear())
            assert await ask(other, ALL) == [NOTE]
            await one.save_many([OTHER])
            await trio.sleep(60)
            assert ear.pending == ear.delivered == [OTHER]


async def test_a_query_that_finds_it_first_has_it_noted_before_it_shows_it(autojump_clock: MockClock) -> None:
    index = SharedIndex()
    async with pair(index, refresh_seconds=3_600) as (one, other, _, ear):
        await one.save_many([NOTE])
        assert await ask(other, ALL) == []
        index.refresh()
        assert await ask(other, ALL) == [NOTE]
        assert ear.pending == [NOTE]
        await trio.lowlevel.checkpoint()
        await trio.sleep(60)
        assert await ask(other, ALL) == [NOTE]
        assert ear.pending == ear.delivered == [NOTE]


async def test_whoever_sends_what_another_relay_has_stored_has_it_delivered(autojump_clock: MockClock) -> None:
    async with pair() as (one, other, _, ear):
        await one.save_many([NOTE])
        assert await other.save_many([NOTE]) == [Saved.DUPLICATE]
        assert ear.pending == [NOTE]
        assert await ask(other, ALL) == [NOTE]
        await trio.sleep(100)
        assert ear.pending == ear.delivered == [NOTE]


async def test_of_a_replaced_one_the_older_is_not_delivered_after_the_newer(autojump_clock: MockClock) -> None:
    async with pair() as (one, other, ear_of_one, ear):
        await one.save_many([OLD])
        await trio.sleep(5)
        await other.save_many([NEW])
        assert await ask(other, ALL) == [NEW]
        await trio.sleep(100)
        assert ear.delivered == [OLD]
        assert ear_of_one.delivered == [NEW]
        assert await ask(one, ALL) == await ask(other, ALL) == [NEW]


async def test_what_another_replaces_or_deletes_is_shown_no_longer_by_who_has_written_it(
    autojump_clock: MockClock,
) -> None:
    """Though its own refresh is far off; the other's shows it."""
    index = SharedIndex()
    tagged = ALICE.event(kind=30_023, tags=[["d", "x"], ["t", "first"]])
    later = ALICE.event(kind=30_023, created_at=NOW + 1, tags=[["d", "x"]])
    async with relay_on(index, refresh_seconds=3_600) as (one, _), relay_on(index) as (other, _):
        one.hear(Ear())
        await one.save_many([NOTE, tagged])
        await other.save_many([ALICE.event(kind=5, tags=[["e", NOTE.id]]), later])
        await trio.sleep(5)
        first = Filter(tags=(("t", frozenset(["first"])),))
        assert await ask(one, first) == [tagged]
        await inside(one).follower.look()
        assert await ask(one, first) == await ask(one, Filter(ids=frozenset([NOTE.id]))) == []
        assert await one.known([NOTE.id, tagged.id]) == set()


async def test_a_key_that_vanishes_is_barred_by_the_other_and_what_came_there_goes(autojump_clock: MockClock) -> None:
    async with pair() as (one, other, _, ear):
        await trio.sleep(20)
        await other.save_many([OTHER])
        await trio.sleep(5)
        vanish = BOB.event(kind=62, created_at=NOW + 5, tags=[["relay", "ALL_RELAYS"]])
        late = BOB.event("late", created_at=NOW + 1)
        assert await one.save_many([vanish]) == [STORED]
        await other.save_many([late])
        await trio.sleep(4.2)
        assert await other.save_many([BOB.event("later")]) == [Saved.VANISHED]
        assert await ask(other, ALL) == [vanish]
        assert ear.delivered == [vanish]


async def test_what_operators_decide_is_told_and_taken_back(autojump_clock: MockClock) -> None:
    async with pair() as (one, other, ear_of_one, ear):
        await one.put_metadata({"banned": b"1"})
        await trio.sleep(5)
        assert ear.decisions == 1
        assert await other.get_metadata() == {"banned": b"1"}
        await one.put_metadata({"banned": None})
        await trio.sleep(5)
        assert ear.decisions == 2
        assert await other.get_metadata() == {}
        await trio.sleep(100)
        assert (ear.decisions, ear_of_one.decisions) == (2, 0)


async def test_what_was_removed_and_is_stored_again_is_delivered_again(autojump_clock: MockClock) -> None:
    async with pair() as (one, other, _, ear):
        await one.save_many([NOTE])
        await trio.sleep(5)
        assert await one.remove([Filter(ids=frozenset([NOTE.id]))]) == 1
        await trio.sleep(5)
        assert await ask(other, ALL) == []
        assert await one.save_many([NOTE]) == [STORED]
        await trio.sleep(5)
        assert ear.delivered == [NOTE, NOTE]


@pytest.mark.parametrize("ahead", [-19.0, -4.0, 4.0, 19.0, 300.0])
async def test_clocks_may_differ_by_seconds_and_one_may_be_far_ahead(autojump_clock: MockClock, ahead: float) -> None:
    async with pair(ahead=ahead) as (one, other, ear_of_one, ear):
        await trio.sleep(40)
        for number in range(10):
            await one.save_many([made_up(f"one {number}")])
            await other.save_many([made_up(f"other {number}")])
            await trio.sleep(7)
        await trio.sleep(20)
        for told, name in ((ear_of_one, "other"), (ear, "one")):
            if name == "one" and ahead > 60:
                continue  # it looks back from its own clock
            assert sorted(event.content for event in told.delivered) == [f"{name} {number}" for number in range(10)]


async def test_what_a_cluster_that_was_away_has_hidden_is_found_once_it_is_back(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    index = SharedIndex()
    async with pair(index) as (one, _other, _, ear):
        await trio.sleep(10)
        await one.save_many([NOTE])
        index.is_away = True
        await trio.sleep(300)
        assert ear.delivered == []
        index.is_away = False
        await trio.sleep(5)
        assert ear.delivered == [NOTE]
    assert [entry["event"] for entry in logged].count("cannot look for what other relays have written") == 2


async def test_it_costs_one_small_search_while_nobody_writes(autojump_clock: MockClock) -> None:
    index = SharedIndex()
    async with relay_on(index) as (store, cluster):
        store.hear(Ear())
        await trio.sleep(100)
        cluster.asked.clear()
        await trio.sleep(60)
        looks = [asked for asked in cluster.asked if "hits.hits.sort" in asked.query]
        assert 28 <= len(looks) <= 31
        assert not [asked for asked in cluster.asked if asked.kind == "_refresh"]


async def test_nobody_is_looked_for_where_nobody_listens(autojump_clock: MockClock) -> None:
    index = SharedIndex()
    async with relay_on(index) as (store, cluster):
        asked_at_start = len([asked for asked in cluster.asked if "hits.hits.sort" in asked.query])
        await trio.sleep(60)
        store.hear(Ear())
        store.hear(None)
        await trio.sleep(60)
        assert len([asked for asked in cluster.asked if "hits.hits.sort" in asked.query]) == asked_at_start == 1


async def test_many_are_heard_in_pages_and_a_slow_audience_holds_the_looks_up(autojump_clock: MockClock) -> None:
    async with pair() as (one, _other, _, ear):
        ear.seconds = 10.0
        events = [made_up(f"{number}") for number in range(1_300)]
        await one.save_many(events)
        await trio.sleep(5)
        assert len(ear.pending) == 64  # one page of documents, and no more until that is delivered
        await trio.sleep(100)
        assert ear.delivered == events


async def test_so_many_are_remembered_and_no_more(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MOST_REMEMBERED", 100)
    async with pair() as (one, other, _, ear):
        events = [made_up(f"{number}") for number in range(400)]
        for start in range(0, 400, 50):
            await one.save_many(events[start : start + 50])
            await trio.sleep(5)
        assert ear.delivered == events
        assert len(inside(other).others.remembered) == 100


async def test_what_is_old_is_forgotten(autojump_clock: MockClock) -> None:
    async with pair() as (one, other, _, ear):
        await one.save_many([NOTE, OLD])
        await trio.sleep(100)
        assert len(inside(other).others.remembered) == len(inside(one).others.remembered) == 2
        await trio.sleep(40)
        assert len(inside(other).others.remembered) == len(inside(one).others.remembered) == 0
        assert ear.delivered == [NOTE, OLD]


async def test_a_write_whose_answer_was_lost_and_that_was_not_acknowledged_is_heard_as_of_another(
    autojump_clock: MockClock,
) -> None:
    """Nobody was told that it is stored, and it is: so who has subscribed hears it all the same."""
    index = SharedIndex()
    async with relay_on(index) as (store, _):
        store.hear(ear := Ear())
        with trio.move_on_after(1):
            index.takes = lambda: 0.7
            await store.save_many([NOTE])
        index.takes = lambda: 0.0
        await trio.sleep(2)
        index.refresh()
        await trio.sleep(5)
        assert ear.delivered == [NOTE]
