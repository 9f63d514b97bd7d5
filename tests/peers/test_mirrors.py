"""Relays that mirror each other live: what passes, in which direction, and that nothing goes round in circles."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.peers.neighbourhood import Neighbourhood, outcomes, publish, state, stored, table, two, until
from tests.support.keys import ALICE, BOB, NOW
from tests.support.named_relay import rules_for
from trio_relay import MemoryStore

pytestmark = pytest.mark.usefixtures("inline_threads")

NOTES = [ALICE.event(f"note {number}", created_at=NOW - number) for number in range(5)]


async def test_what_is_published_there_comes_down(autojump_clock: MockClock) -> None:
    async with two() as (near, here, there), near.mirroring(here, table("there")) as mirrors:
        await until(lambda: state(mirrors) == "live")
        await publish(there, *NOTES)
        await until(lambda: outcomes(mirrors) == {"taken": 5})
        assert await stored(here) == {note.id for note in NOTES}


async def test_what_is_published_here_goes_up(autojump_clock: MockClock) -> None:
    async with two() as (near, here, there), near.mirroring(here, table("there", "up")) as mirrors:
        await until(lambda: state(mirrors) == "live")
        await publish(here, *NOTES)
        await publish(there, BOB.event("stays there"))
        await until(lambda: outcomes(mirrors) == {"given": 5})
        assert {note.id for note in NOTES} < await stored(there)
        assert len(await stored(here)) == 5


async def test_a_link_in_both_directions_gives_nothing_back(autojump_clock: MockClock) -> None:
    async with two() as (near, here, there), near.mirroring(here, table("there", "both")) as mirrors:
        await until(lambda: state(mirrors) == "live")
        await publish(here, *NOTES[:3])
        await publish(there, *NOTES[3:])
        await until(lambda: outcomes(mirrors).get("given") == 3)
        await trio.sleep(5)
        # What was given comes back as to any subscriber, and is not looked at.
        assert outcomes(mirrors) == {"taken": 2, "echo": 2, "given": 3, "skipped": 3}
        assert await stored(here) == await stored(there) == {note.id for note in NOTES}


async def test_two_relays_that_mirror_each_other_both_ways_send_each_event_once(autojump_clock: MockClock) -> None:
    """Each of them lets an event linger before it gives it, and by then the other one has fetched and shown it."""
    async with (
        two() as (near, here, there),
        near.mirroring(here, table("there", "both")) as ours,
        near.mirroring(there, table("here", "both")) as theirs,
    ):
        await until(lambda: state(ours) == state(theirs) == "live")
        await publish(here, *NOTES[:3])
        await publish(there, *NOTES[3:])
        await trio.sleep(5)
        assert await stored(here) == await stored(there) == {note.id for note in NOTES}
        assert outcomes(ours) == {"taken": 2, "skipped": 3, "echo": 5}
        assert outcomes(theirs) == {"taken": 3, "skipped": 2, "echo": 5}
        for door in (here, there):
            assert door.relay.statistics().writer.outcomes == {"stored": 5}


async def test_three_relays_in_a_circle_come_to_rest(autojump_clock: MockClock) -> None:
    async with (
        Neighbourhood().open() as near,
        near.relay("one") as one,
        near.relay("two") as two,
        near.relay("three") as three,
        near.mirroring(one, table("two", "both")) as first,
        near.mirroring(two, table("three", "both")) as second,
        near.mirroring(three, table("one", "both")) as third,
    ):
        await until(lambda: state(first) == state(second) == state(third) == "live")
        fleeting = BOB.event("fleeting", kind=20_001)
        await publish(one, *NOTES, fleeting)
        await trio.sleep(5)
        before = [outcomes(each) for each in (first, second, third)]
        assert sum(found.get("known_there", 0) for found in before) <= len(NOTES) + 1
        for door in (one, two, three):
            assert await stored(door) == {note.id for note in NOTES}
        await trio.sleep(60)
        assert [outcomes(each) for each in (first, second, third)] == before


async def test_an_ephemeral_event_is_delivered_once_on_each_side(autojump_clock: MockClock) -> None:
    async with (
        two() as (near, here, there),
        near.mirroring(here, table("there", "both")) as ours,
        near.mirroring(there, table("here", "both")) as theirs,
    ):
        await until(lambda: state(ours) == state(theirs) == "live")
        async with here.client() as mine, there.client() as yours:
            for client in (mine, yours):
                await client.ask("x", {"kinds": [20_001]})
            event = ALICE.event("now", kind=20_001)
            await publish(here, event)
            for client in (mine, yours):
                assert (await client.receive())[2]["id"] == event.id
            await trio.sleep(5)
            for client in (mine, yours):
                await client.expect_silence()


async def test_a_deletion_follows_what_it_deletes(autojump_clock: MockClock) -> None:
    async with two() as (near, here, there), near.mirroring(here, table("there", "up")) as mirrors:
        await until(lambda: state(mirrors) == "live")
        gone = ALICE.event(kind=5, tags=[["e", NOTES[0].id]])
        await publish(here, *NOTES, gone)
        await until(lambda: outcomes(mirrors) == {"given": 6})
        assert await stored(here) == await stored(there) == {gone.id, *(note.id for note in NOTES[1:])}


async def test_protected_private_and_expired_events_stay(autojump_clock: MockClock) -> None:
    protected = BOB.event(tags=[["-"]])
    wrap = BOB.event(kind=1_059, tags=[["p", ALICE.pubkey]])
    brief = BOB.event("brief", tags=[["expiration", str(NOW + 50)]])
    store = MemoryStore()
    await store.save_many([protected, wrap, brief, NOTES[0]])
    rules = [rules_for(challenge="needed") for _ in range(2)]
    async with (
        Neighbourhood().open() as near,
        near.relay("here", store, rules=rules[0]) as here,
        near.relay("there", rules=rules[1]) as there,
    ):
        await trio.sleep(100)
        async with near.mirroring(here, table("there", "both")) as mirrors:
            await until(lambda: state(mirrors) == "live")
            await publish(here, BOB.event("another wrap", kind=1_059, tags=[["p", ALICE.pubkey]]), NOTES[1])
            await until(lambda: outcomes(mirrors).get("given") == 2)
            assert await stored(there) == {NOTES[0].id, NOTES[1].id}
            assert {wrap.id, protected.id} < await stored(here)


async def test_an_ephemeral_event_that_two_others_bring_is_delivered_once(autojump_clock: MockClock) -> None:
    async with (
        two() as (near, here, there),
        near.relay("between") as between,
        near.mirroring(between, table("there")) as behind,
        near.mirroring(here, table("there"), table("between")) as mirrors,
    ):
        await until(lambda: all(one.state == "live" for one in mirrors.statistics().values()))
        await until(lambda: state(behind) == "live")
        async with here.client() as client:
            await client.ask("x", {"kinds": [20_001]})
            event = ALICE.event("now", kind=20_001)
            await publish(there, event)
            assert (await client.receive())[2]["id"] == event.id
            await trio.sleep(5)
            await client.expect_silence()
        brought = [one.outcomes for one in mirrors.statistics().values()]
        assert sorted((one["taken"], one["skipped"]) for one in brought) == [(0, 1), (1, 0)]
