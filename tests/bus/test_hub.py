"""The hub: what one of a machine says all others there hear, and those elsewhere; what comes from there all hear."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.local_bus import Ear, LocalBus
from trio_relay.bus import Gap, Hub, HubMember, Note, hub


async def listening(middle: Hub, nursery: trio.Nursery) -> tuple[HubMember, Ear]:
    member, ear = middle.join(), Ear()
    nursery.start_soon(member.listen, ear.take)
    await ear.gap()
    return member, ear


async def test_each_hears_the_others_once_in_order_and_never_itself(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    middle = Hub()
    (one, own), (_, other), (_, third) = [await listening(middle, nursery) for _ in range(3)]
    sent = [b"%d" % number for number in range(100)]
    for note in sent:
        one.send(note)
    assert await other.notes_are(100) == await third.notes_are(100) == sent
    assert own.notes == []
    assert not one.reaches_all
    assert one.trouble is None


async def test_who_left_hears_nothing_more(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    middle = Hub()
    (one, _), (gone, ear) = [await listening(middle, nursery) for _ in range(2)]
    middle.leave(gone)
    one.send(b"late")
    await wait_all_tasks_blocked()
    assert ear.notes == []


async def test_who_does_not_listen_hears_of_a_gap_instead_of_too_much(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "MOST_UNHEARD", 1_000)
    middle = Hub()
    speaker, deaf = middle.join(), middle.join()
    for number in range(25):
        speaker.send(b"%100d" % number)
    heard: list[object] = []

    async def take(one: object) -> None:
        await trio.lowlevel.checkpoint()
        heard.append(one)

    with trio.move_on_after(1):
        await deaf.listen(take)
    assert any(isinstance(one, Gap) and one.reason == "slow" for one in heard)
    kept = [int(one.payload) for one in heard if isinstance(one, Note)]
    assert kept == sorted(kept)
    assert kept[-1] == 24
    assert len(kept) <= 10


async def test_two_machines_hear_each_other_over_what_reaches_further(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    between = LocalBus()
    here, there = Hub(between.join()), Hub(between.join())
    nursery.start_soon(here.run)
    nursery.start_soon(there.run)
    (one, _), (two, at_two) = [await listening(here, nursery) for _ in range(2)]
    _, far = await listening(there, nursery)
    await trio.sleep(5)
    assert (one.reaches_all, one.trouble) == (True, None)
    one.send(b"from one")
    two.send(b"from two")
    assert await far.notes_are(2) == [b"from one", b"from two"]
    assert await at_two.notes_are(1) == [b"from one"]
