"""A sync whose connection breaks off goes on over the next one, and gives up in the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from tests.peers.neighbourhood import Neighbourhood, stored, two
from tests.peers.test_hostile_syncs import comparing, found, relay
from tests.support.keys import ALICE, BOB, NOW
from tests.support.other_relays import Actor
from tests.support.server import Door
from trio_relay import Event, MemoryStore, Store
from trio_relay.peers import intake, options, outcomes, own_side, passage, peer, reconnecting, waiting
from trio_relay.policy.identity import Identity

pytestmark = pytest.mark.usefixtures("inline_threads")

Cut = Callable[[], Awaitable[None]]
MINE = [ALICE.event(str(place), created_at=NOW - place) for place in range(700)]
THEIRS = [BOB.event(str(place), created_at=NOW - place) for place in range(1_500)]


async def store_with(events: list[Event]) -> Store:
    store = MemoryStore()
    await store.save_many(events)
    return store


async def sync_over(near: Neighbourhood, here: Door, report: outcomes.SyncReport, cut: Cut | None = None) -> str:
    """Sync with who is called there; returns why it was lost in the end, if it was.

    Args:
        near: knows who that is.
        here: this relay.
        report: filled as it goes.
        cut: runs beside each connection.
    """
    store = near.stores[here]

    def passage_to(one: peer.Peer, paged: passage.PagedSoFar) -> passage.Passage:
        own = own_side.OwnSide(store, here.relay.rules.private_kinds)
        taken = intake.SyncIntake(here.relay, Identity(is_operator=True), report.down)
        return passage.Passage(one, own, taken, report, paged=paged)

    async def watch(_count_bytes: Callable[[], None]) -> None:
        if cut is not None:
            await cut()

    connect = partial(near.connect, "ws://there/", signer=None, options=options.PeerOptions())
    try:
        await reconnecting.LastingSync(connect, passage_to, report, watch, chance=lambda: 1.0).run([{}])
    except waiting.PeerLost as lost:
        return str(lost)
    return ""


async def test_what_is_lost_again_and_again_goes_on_until_all_is_there(autojump_clock: MockClock) -> None:
    report = outcomes.SyncReport()
    async with (
        Neighbourhood().open() as near,
        near.relay("here", await store_with(MINE)) as here,
        near.relay("there", await store_with(THEIRS)) as there,
    ):

        async def cut() -> None:
            before = report.moved
            while report.moved < before + 300:
                await trio.lowlevel.checkpoint()
            await near.cut("there")

        assert await sync_over(near, here, report, cut) == ""
        assert await stored(here) == await stored(there) == {event.id for event in [*MINE, *THEIRS]}
    assert len(near.tries) > 3
    assert report.received_bytes > 1_500 * 300, "of all connections"


async def test_paging_goes_on_at_the_time_that_was_reached_in_both_directions(autojump_clock: MockClock) -> None:
    """A relay without NIP-77 and without counts, which closes each connection after so many messages."""
    there, asked, said = {event.id: event for event in THEIRS[:400]}, list[int](), 0

    async def say(actor: Actor, *message: object) -> None:
        nonlocal said
        said += 1
        if said % 120 == 0:
            await actor.connection.aclose()
        await actor.say(*message)

    async def give_few(actor: Actor, rest: list[Any]) -> None:
        asked.append(rest[1].get("until", NOW))
        for event in found(rest, list(there.values()))[:50]:
            await say(actor, "EVENT", rest[0], event)
        await say(actor, "EOSE", rest[0])

    async def take(actor: Actor, rest: list[Any]) -> None:
        event = msgspec.convert(rest[0], Event)
        there[event.id] = event
        await say(actor, "OK", event.id, True, "")

    report = outcomes.SyncReport()
    async with Neighbourhood().open() as near, near.relay("here", await store_with(MINE)) as here:
        near.scripts["there"] = relay([], REQ=give_few, EVENT=take)
        assert await sync_over(near, here, report) == ""
        assert await stored(here) == there.keys() == {event.id for event in [*MINE, *THEIRS[:400]]}
    assert asked == sorted(asked, reverse=True)
    assert len(near.tries) > 5


async def test_a_relay_that_is_restarted_is_waited_for(autojump_clock: MockClock) -> None:
    report = outcomes.SyncReport()
    async with two() as (near, here, there):
        await near.stores[there].save_many(THEIRS)

        async def restart() -> None:
            if report.moved == 0:
                while report.moved < 300:
                    await trio.lowlevel.checkpoint()
                near.away.add("there")
                await near.cut("there")
            await trio.sleep_forever()

        async def come_back() -> None:
            await trio.sleep(10)
            near.away.clear()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come_back)
            assert await sync_over(near, here, report, restart) == ""
        assert await stored(here) == {event.id for event in THEIRS}
    waits = [after - before for (_, before), (_, after) in zip(near.tries, near.tries[1:], strict=False)]
    assert waits == pytest.approx([1, 2, 4, 8], abs=0.2)


async def test_one_that_stays_away_is_given_up(autojump_clock: MockClock) -> None:
    report = outcomes.SyncReport()
    async with two() as (near, here, there):
        await near.stores[there].save_many(THEIRS)

        async def leave() -> None:
            while report.moved < 300:
                await trio.lowlevel.checkpoint()
            near.away.add("there")
            await near.cut("there")

        assert await sync_over(near, here, report, leave) == "no connection: away"
        assert len(await stored(here)) >= 300
    assert len(near.tries) == 1 + 6


async def test_one_that_was_never_there_is_not_waited_for(autojump_clock: MockClock) -> None:
    async with two() as (near, here, _):
        near.away.add("there")
        assert await sync_over(near, here, outcomes.SyncReport()) == "no connection: away"
    assert len(near.tries) == 1


async def test_one_that_closes_at_once_is_not_waited_for(autojump_clock: MockClock) -> None:
    async def close(actor: Actor) -> None:
        await actor.connection.aclose(4_003, "not you")

    async with Neighbourhood().open() as near, near.relay("here") as here:
        near.scripts["there"] = close
        assert await sync_over(near, here, outcomes.SyncReport()) == "it closed the connection with code 4003: not you"
    assert len(near.tries) == 1


async def test_one_that_always_breaks_off_before_anything_has_moved_is_given_up(autojump_clock: MockClock) -> None:
    async def hang_up(actor: Actor, _rest: list[Any]) -> None:
        await actor.connection.aclose()

    async with Neighbourhood().open() as near, near.relay("here") as here:
        near.scripts["there"] = relay([], REQ=hang_up, **comparing(THEIRS))
        assert await sync_over(near, here, outcomes.SyncReport()) == "it closed the connection with code 1000"
    assert len(near.tries) == 6


async def test_one_that_takes_everything_and_keeps_nothing_is_not_offered_it_for_ever(
    autojump_clock: MockClock,
) -> None:
    said = 0

    async def take(actor: Actor, rest: list[Any]) -> None:
        nonlocal said
        said += 1
        await actor.say("OK", rest[0]["id"], True, "")
        if said % 120 == 0:
            await actor.connection.aclose()

    async with Neighbourhood().open() as near, near.relay("here", await store_with(MINE)) as here:
        near.scripts["there"] = relay([], EVENT=take, **comparing([]))
        assert await sync_over(near, here, outcomes.SyncReport()) == ""
    assert said < 2 * len(MINE)


async def test_what_it_said_for_people_to_read_is_told(autojump_clock: MockClock) -> None:
    """Some say what is wrong with a REQ by a notice alone."""

    async def notice(actor: Actor, _rest: list[Any]) -> None:
        await actor.say("NOTICE", "ERROR: bad req")

    report = outcomes.SyncReport()
    async with Neighbourhood().open() as near, near.relay("here") as here:
        near.scripts["there"] = relay([], REQ=notice)
        assert await sync_over(near, here, report) == "a REQ was not answered within 60 seconds"
    assert "it said: ERROR: bad req" in report.remarks


async def test_one_that_is_given_up_while_it_is_there_is_not_tried_again(autojump_clock: MockClock) -> None:
    async def lie(actor: Actor, rest: list[Any]) -> None:
        await actor.say("NEG-MSG", rest[0], "61ff")

    async with Neighbourhood().open() as near, near.relay("here") as here:
        near.scripts["there"] = relay([], NEG_OPEN=lie)
        lost = await sync_over(near, here, outcomes.SyncReport())
        assert lost.startswith("its comparison of sets cannot be read: ")
    assert len(near.tries) == 1
