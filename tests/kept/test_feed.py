"""What members hear of each other: each event once, in the order in which it was stored, and no other way."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.store.inside import inside
from tests.support.backends import ask, everything
from tests.support.keys import ALICE, BOB, NOW, made_up
from tests.support.members import Ear, HeldFile, Home, Household, open_household
from trio_relay import Event, Filter, Saved, StoreError
from trio_relay.store import kept

NOTE, OTHER, TYPING = ALICE.event("note"), BOB.event("other"), ALICE.event("typing", kind=20_001)
OLD, NEW = (ALICE.event(kind=0, created_at=NOW + age) for age in range(2))
DELETION = BOB.event(kind=5, tags=[["e", OTHER.id]])
VANISH = ALICE.event(kind=62, created_at=NOW + 9, tags=[["relay", "ALL_RELAYS"]])


class Hearing:
    """Two members of one keeper, and what each of them hears."""

    def __init__(self, household: Household, homes: list[Home]) -> None:
        self.household = household
        self.homes = homes
        self.one, self.other = (home.store for home in homes)
        self.ears = [Ear(), Ear()]
        for home, ear in zip(homes, self.ears, strict=True):
            home.store.hear(ear)

    async def heard(self) -> list[list[Event]]:
        """What each has heard by now, and forgets."""
        for home in self.homes:
            await home.store.probe()  # all that was told before its answer has been taken
        found = [ear.delivered for ear in self.ears]
        for ear in self.ears:
            ear.noted, ear.delivered = [], []
        return found


@pytest.fixture
async def hearing() -> AsyncIterator[Hearing]:
    """Two members; the test fails if it takes a minute."""
    with trio.fail_after(60):
        async with open_household(2) as household, household.joined(0) as one, household.joined(1) as other:
            yield Hearing(household, [one, other])


async def test_each_hears_of_what_others_have_stored_in_its_order_and_of_nothing_own(hearing: Hearing) -> None:
    batches = [[made_up(f"{number} {place}") for place in range(3)] for number in range(6)]
    for number, batch in enumerate(batches):
        await (hearing.one if number % 2 else hearing.other).save_many(batch)
    order = await everything(hearing.household.file)
    own = {event.id for batch in batches[1::2] for event in batch}
    assert await hearing.heard() == [
        [event for event in order if event.id not in own],
        [event for event in order if event.id in own],
    ]


async def test_what_the_keeper_saves_itself_all_hear(hearing: Hearing) -> None:
    assert await hearing.household.keeper.save([NOTE]) == [Saved.STORED]
    assert await hearing.household.keeper.save([NOTE, OTHER]) == [Saved.DUPLICATE, Saved.STORED]
    assert await hearing.heard() == [[NOTE, OTHER], [NOTE, OTHER]]


async def test_what_was_not_new_nobody_hears_of(hearing: Hearing) -> None:
    await hearing.one.save_many([NEW, DELETION])
    await hearing.heard()
    outcomes = await hearing.other.save_many([NEW, OLD, OTHER])
    assert outcomes == [Saved.DUPLICATE, Saved.SUPERSEDED, Saved.DELETED]
    assert await hearing.heard() == [[], []]


async def test_the_same_from_both_in_one_commit_is_stored_for_one_and_heard_by_the_other(hearing: Hearing) -> None:
    held = HeldFile(hearing.household)
    held.hold()
    outcomes: dict[str, Saved] = {}

    async def save(name: str, store: kept.KeptStore, *events: Event) -> None:
        outcomes[name] = (await store.save_many(events))[-1]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(save, "first", hearing.one, OTHER)
        await wait_all_tasks_blocked()
        nursery.start_soon(save, "one", hearing.one, NOTE)
        await wait_all_tasks_blocked()
        nursery.start_soon(save, "other", hearing.other, NOTE)
        await wait_all_tasks_blocked()
        held.go_on()
    assert outcomes == {"first": Saved.STORED, "one": Saved.STORED, "other": Saved.DUPLICATE}
    assert held.batches == [[OTHER], [NOTE, NOTE]]
    assert await hearing.heard() == [[], [OTHER, NOTE]]


@pytest.mark.parametrize("batch", [[OLD, NEW], [OTHER, DELETION], [NOTE, VANISH]], ids=["newer", "deleted", "vanished"])
async def test_what_is_gone_with_its_own_commit_is_heard_live_as_its_senders_subscribers_hear_it(
    hearing: Hearing, batch: list[Event]
) -> None:
    assert await hearing.one.save_many(batch) == [Saved.STORED, Saved.STORED]
    own, others = await hearing.heard()
    assert own == []
    assert sorted(others, key=batch.index) == batch
    assert await ask(hearing.other, Filter(limit=9)) == [batch[-1]]


async def test_what_nobody_stores_reaches_all_others(hearing: Hearing) -> None:
    hearing.one.spread([TYPING])
    assert await hearing.heard() == [[], [TYPING]]
    assert await everything(hearing.household.file) == []


async def test_a_commit_that_fails_is_told_to_nobody_but_who_sent_it(hearing: Hearing) -> None:
    connection = inside(hearing.household.file).connection
    connection.pragma("max_page_count", connection.pragma("page_count"))
    with pytest.raises(StoreError, match=r"^the relay's disk is full$"):
        await hearing.one.save_many([NOTE, made_up("x" * 100_000)])
    assert hearing.household.keeper.commits == 0
    connection.pragma("max_page_count", 1_000_000)
    await hearing.one.save_many([OTHER])
    assert await hearing.heard() == [[], [OTHER]]


async def test_who_joins_hears_from_then_on(hearing: Hearing) -> None:
    hearing.homes[1].cut()
    await hearing.one.save_many([NOTE])
    ear = Ear()
    async with hearing.household.joined(1) as late:
        late.store.hear(ear)
        assert await ask(late.store, Filter(limit=9)) == [NOTE]
        await hearing.one.save_many([OTHER])
        await late.store.probe()
        assert ear.delivered == [OTHER]


async def test_an_event_is_noted_before_any_query_finds_it_and_answers_wait_for_that(hearing: Hearing) -> None:
    home, ear = hearing.homes[1], hearing.ears[1]
    home.down.shut()
    await hearing.one.save_many([NOTE])
    assert home.store.query_nowait([Filter(limit=9)]) is None
    assert await home.store.count([Filter()]) == 1

    async def question() -> None:
        assert await ask(home.store, Filter(limit=9)) == [NOTE]
        assert ear.noted == [NOTE]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(question)
        await wait_all_tasks_blocked()
        assert ear.noted == []
        home.down.open()
    assert home.store.query_nowait([Filter(limit=9)]) is not None


async def test_what_is_told_is_found_at_once_wherever_it_was_stored(hearing: Hearing) -> None:
    for number in range(20):
        event = made_up(str(number), created_at=NOW + number)
        await hearing.one.save_many([event])
        await hearing.other.probe()
        page = hearing.other.query_nowait([Filter(limit=1)])
        assert page is not None
        assert event.id.encode() in page[0]


async def test_saves_that_wait_become_one_commit_up_to_a_bound_and_long_ones_hold_up_nobody() -> None:
    async with open_household(2, most=5) as household, household.joined(0) as one, household.joined(1) as other:
        held = HeldFile(household)
        held.hold()
        batches = [[made_up(f"{number} {place}") for place in range(2)] for number in range(7)]
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.store.save_many, [NOTE])
                await wait_all_tasks_blocked()
                for number, batch in enumerate(batches):
                    nursery.start_soon((one if number % 2 else other).store.save_many, batch)
                    await wait_all_tasks_blocked()
                nursery.start_soon(other.store.save_many, [VANISH])
                await wait_all_tasks_blocked()
                assert held.batches == [[NOTE], [VANISH]]
                settled = trio.Event()

                async def settle() -> None:
                    await household.keeper.settled()
                    settled.set()

                nursery.start_soon(settle)
                await wait_all_tasks_blocked()
                assert not settled.is_set()
                held.go_on()
        assert [len(batch) for batch in held.batches] == [1, 1, 6, 6, 2]
        assert household.keeper.commits >= 4


async def test_a_member_that_reads_nothing_holds_up_nobody_and_reads_on_in_the_file(
    hearing: Hearing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept.keeper, "MOST_UNREAD", 2_000)
    slow, ear = hearing.homes[1], hearing.ears[1]
    slow.down.shut()
    before = [made_up(f"before {number}") for number in range(600)]
    for start in range(0, 600, 50):
        await hearing.one.save_many(before[start : start + 50])
    hearing.one.spread([TYPING])
    own = made_up("own")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(slow.store.save_many, [own])
        await wait_all_tasks_blocked()
        await hearing.household.keeper.settled()
        gone = before[300]
        assert await hearing.one.remove([Filter(ids=frozenset([gone.id]))]) == 1
        assert slow.member.waiting < 60_000
        slow.down.open()
    after = made_up("after")
    await hearing.one.save_many([after])
    heard = (await hearing.heard())[1]
    assert heard == [*(event for event in before if event != gone), after]
    assert ear.gaps == 1
    assert len(await ask(slow.store, Filter(limit=5_000))) == 601


async def test_deliveries_that_wait_hold_up_no_answer(hearing: Hearing) -> None:
    with hearing.ears[1].busy():
        await hearing.one.save_many([NOTE])
        assert await ask(hearing.other, Filter(limit=9)) == [NOTE]
