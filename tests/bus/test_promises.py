"""The promises of `trio_relay.bus.base`, by their numbers, while nothing fails."""

from __future__ import annotations

import pytest
import trio

from tests.bus.conftest import Join
from tests.support.local_bus import Ear
from trio_relay import bus
from trio_relay.bus import Bus, Gap, Note, StreamBus

MEGABYTE = 1_048_576


async def listening(bus: StreamBus, nursery: trio.Nursery) -> tuple[StreamBus, Ear]:
    ear = Ear()
    nursery.start_soon(bus.listen, ear.take)
    await ear.gap()
    return bus, ear


async def test_a_member_is_a_bus(join: Join) -> None:
    member: Bus = join()
    assert member.trouble == "not reached yet"


def test_what_the_room_does_not_have_it_says_so() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Consumer'"):
        _ = bus.Consumer


async def test_1_the_others_hear_each_note_once_in_order(join: Join, nursery: trio.Nursery) -> None:
    (speaker, own), (_, one), (_, other) = [await listening(join(), nursery) for _ in range(3)]
    sent = [b"%d" % number for number in range(1_000)]
    for note in sent:
        speaker.send(note)
    assert await one.notes_are(1_000) == sent
    assert await other.notes_are(1_000) == sent
    assert own.notes == []


async def test_1_all_hear_several_members_in_one_order(join: Join, nursery: trio.Nursery) -> None:
    speakers = [await listening(join(), nursery) for _ in range(3)]
    (_, one), (_, other) = [await listening(join(), nursery) for _ in range(2)]
    for number in range(300):
        speakers[number % 3][0].send(b"%d" % number)
        if number % 10 == 0:
            await trio.lowlevel.checkpoint()
    assert await one.notes_are(300) == await other.notes_are(300)
    assert sorted(map(int, one.notes)) == list(range(300))


async def test_2_the_first_that_is_heard_is_a_gap(join: Join, nursery: trio.Nursery) -> None:
    early, _ = await listening(join(), nursery)
    early.send(b"early")
    _, ear = await listening(join(), nursery)
    assert ear.heard[0] == Gap("started")
    early.send(b"late")
    await ear.notes_are(1)
    while ear.notes[-1] != b"late":
        await ear.notes_are(len(ear.notes) + 1)


async def test_what_was_sent_before_listening_waits_for_it(join: Join, nursery: trio.Nursery) -> None:
    _, ear = await listening(join(), nursery)
    late = join()
    late.send(b"sent early")
    await listening(late, nursery)
    assert await ear.notes_are(1) == [b"sent early"]


async def test_large_notes_and_empty_ones(join: Join, nursery: trio.Nursery) -> None:
    (speaker, _), (_, ear) = [await listening(join(), nursery) for _ in range(2)]
    sent = [bytes([number]) * MEGABYTE for number in range(8)] + [b""] + [b"x" * 200_000] * 8
    for note in sent:
        speaker.send(note)
    assert await ear.notes_are(len(sent)) == sent


async def test_whoever_takes_slowly_holds_up_nobody_and_misses_nothing(join: Join, nursery: trio.Nursery) -> None:
    (speaker, _), (_, quick) = [await listening(join(), nursery) for _ in range(2)]
    slow, may_go_on = Ear(), trio.Event()

    async def take(heard: Note | Gap) -> None:
        await slow.take(heard)
        if isinstance(heard, Note):
            await may_go_on.wait()

    nursery.start_soon(join().listen, take)
    await slow.gap()
    sent = [b"%d" % number for number in range(500)]
    for note in sent:
        speaker.send(note)
    assert await quick.notes_are(500) == sent
    assert len(await slow.notes_are(1)) == 1
    may_go_on.set()
    assert await slow.notes_are(500) == sent
    assert slow.gaps == ["started"]


async def test_what_waits_goes_out_at_the_end_and_leaving_is_no_gap(join: Join, nursery: trio.Nursery) -> None:
    _, ear = await listening(join(), nursery)
    leaving = join()
    async with trio.open_nursery() as inner:
        await listening(leaving, inner)
        leaving.send(b"last words")
        inner.cancel_scope.cancel()
    assert await ear.notes_are(1) == [b"last words"]
    assert ear.gaps == ["started"]


async def test_an_error_of_the_listener_ends_it(join: Join) -> None:
    async def take(heard: Note | Gap) -> None:
        raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError):
        await join().listen(take)


async def test_statistics(join: Join, nursery: trio.Nursery) -> None:
    (speaker, _), (bus, ear) = [await listening(join(), nursery) for _ in range(2)]
    while speaker.trouble or bus.trouble:  # each has two connections, one of which has given the gap
        await trio.lowlevel.checkpoint()
    for _ in range(3):
        speaker.send(b"note")
    assert speaker.statistics().waiting_bytes > 12
    await ear.notes_are(3)
    while speaker.statistics().waiting_bytes:  # its own answer may come later
        await trio.lowlevel.checkpoint()
    told, heard = speaker.statistics(), bus.statistics()
    assert (told.notes_sent, told.notes_heard, told.waiting_bytes, told.failures) == (3, 0, 0, 0)
    assert (heard.notes_sent, heard.notes_heard, heard.notes_repeated, heard.gaps, heard.members) == (0, 3, 0, 1, 1)
