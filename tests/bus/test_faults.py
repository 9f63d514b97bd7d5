"""A bus that fails in every way that there is, in virtual time: what is missed is told as a gap, and nothing twice."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import structlog
import trio
import trio.testing
from trio.testing import MockClock

from tests.support.local_bus import Ear, LocalBus
from trio_relay.bus import Entry, StreamBus, encode

SOON = 30.0
"""Seconds in which everything is well again, and every silence noticed."""


@dataclass(slots=True)
class Member:
    """One that listens, and what it hears."""

    bus: StreamBus
    ear: Ear = field(default_factory=Ear)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    async def live(self) -> None:
        with self.scope:
            await self.bus.listen(self.ear.take)

    def send(self, *notes: bytes) -> None:
        for note in notes:
            self.bus.send(note)


class Room:
    """A bus, and members that come to it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.bus = LocalBus()
        self._nursery = nursery

    async def come(self, **bounds: int) -> Member:
        """One more member, once it has been here for a moment."""
        member = Member(self.bus.join(**bounds))
        self._nursery.start_soon(member.live)
        await member.ear.gap()
        await trio.sleep(2.5)  # now all have heard of one another
        return member


@pytest.fixture
async def room(nursery: trio.Nursery) -> Room:
    return Room(nursery)


async def test_whoever_is_cut_off_reads_on_where_it_stood(room: Room, autojump_clock: MockClock) -> None:
    speaker, listener = await room.come(), await room.come()
    room.bus.cut_off(listener.bus)
    speaker.send(b"1", b"2")
    await trio.sleep(SOON)
    assert (listener.bus.trouble, speaker.bus.trouble) == ("cut off", None)
    assert listener.ear.notes == []
    room.bus.mend(listener.bus)
    await trio.sleep(SOON)
    assert listener.bus.trouble is None
    assert (listener.ear.notes, listener.ear.gaps) == ([b"1", b"2"], ["started"])


async def test_what_was_said_while_the_bus_was_away_is_said_when_it_is_back(
    room: Room, autojump_clock: MockClock
) -> None:
    speaker, listener = await room.come(), await room.come()
    room.bus.is_gone = True
    speaker.send(b"1", b"2")
    await trio.sleep(SOON)
    speaker.send(b"3")
    room.bus.is_gone = False
    assert await listener.ear.notes_are(3) == [b"1", b"2", b"3"]
    await trio.sleep(SOON)
    assert listener.ear.gaps == ["started"]


async def test_attempts_come_in_growing_pauses(room: Room, autojump_clock: MockClock) -> None:
    member = await room.come()
    room.bus.is_gone = True
    await trio.sleep(60)
    failures = member.bus.statistics().failures
    assert 60 <= failures <= 80, "two connections, an attempt every two seconds"


async def test_an_answer_that_got_lost_makes_nobody_hear_twice(room: Room, autojump_clock: MockClock) -> None:
    speaker, listener = await room.come(), await room.come()
    room.bus.swallowed = 3
    speaker.send(b"1")
    await trio.lowlevel.checkpoint()
    speaker.send(b"2")
    assert await listener.ear.notes_are(2) == [b"1", b"2"]
    await trio.sleep(SOON)
    assert (listener.ear.notes, listener.ear.gaps) == ([b"1", b"2"], ["started"])
    assert listener.bus.statistics().notes_repeated >= 3
    assert speaker.bus.statistics().notes_sent == 2


async def test_entries_that_come_twice_are_heard_once(room: Room, autojump_clock: MockClock) -> None:
    speaker, listener = await room.come(), await room.come()
    room.bus.comes_twice = True
    for number in range(100):
        speaker.send(b"%d" % number)
        await trio.lowlevel.checkpoint()
    await trio.sleep(SOON)
    assert listener.ear.notes == [b"%d" % number for number in range(100)]
    assert listener.ear.gaps == ["started"]


async def test_a_command_that_is_carried_out_long_after_is_no_news(room: Room, autojump_clock: MockClock) -> None:
    speaker, listener = await room.come(), await room.come()
    speaker.send(b"1")
    await listener.ear.notes_are(1)
    late = room.bus.entries[-1][1]
    speaker.scope.cancel()
    await trio.sleep(100)
    room.bus.add(late)
    await trio.sleep(SOON)
    assert (listener.ear.notes, listener.ear.gaps) == ([b"1"], ["started"])


async def test_a_slow_bus_is_as_good_as_a_quick_one(room: Room, autojump_clock: MockClock) -> None:
    speaker, listener = await room.come(), await room.come()
    room.bus.lag = 1.0
    speaker.send(b"1", b"2")
    await listener.ear.notes_are(2)
    assert (speaker.bus.trouble, listener.bus.trouble) == (None, None)


async def test_a_bus_that_answers_too_late_is_away(room: Room, autojump_clock: MockClock) -> None:
    speaker, listener = await room.come(), await room.come()
    room.bus.lag = 3.0
    speaker.send(b"1")
    await trio.sleep(SOON)
    assert speaker.bus.trouble == listener.bus.trouble == "no answer in time"
    room.bus.lag = 0.0
    await trio.sleep(SOON)
    assert (listener.ear.notes, listener.ear.gaps) == ([b"1"], ["started"])


async def test_what_finds_no_room_is_dropped_and_all_others_hear_of_it(room: Room, autojump_clock: MockClock) -> None:
    speaker, one, other = await room.come(waiting_bytes=10_000), await room.come(), await room.come()
    room.bus.is_gone = True
    speaker.send(*(b"%04d" % number * 100 for number in range(100)))
    assert speaker.bus.statistics().waiting_bytes <= 10_000
    room.bus.is_gone = False
    await trio.sleep(SOON)
    for listener in (one, other):
        assert listener.ear.gaps == ["started", "dropped"]
        assert len(listener.ear.notes) == 100 - speaker.bus.statistics().notes_dropped
        assert listener.ear.notes[-1] == b"0099" * 100
    assert speaker.ear.gaps == ["started"]


async def test_the_others_hear_of_what_was_dropped_though_nothing_follows(
    room: Room, autojump_clock: MockClock
) -> None:
    speaker, listener = await room.come(waiting_bytes=1_000), await room.come()
    speaker.send(b"x" * 1_001)
    await trio.sleep(SOON)
    assert (listener.ear.notes, listener.ear.gaps) == ([], ["started", "dropped"])
    assert speaker.bus.statistics().notes_dropped == 1


async def test_what_was_trimmed_away_is_a_gap(room: Room, autojump_clock: MockClock) -> None:
    speaker, listener = await room.come(), await room.come()
    room.bus.cut_off(listener.bus)
    for number in range(50):
        speaker.send(b"%d" % number)
        await trio.sleep(0.1)
    room.bus.trim(5)
    room.bus.mend(listener.bus)
    await trio.sleep(SOON)
    assert listener.ear.gaps == ["started", "trimmed"]
    assert listener.ear.notes == [b"%d" % number for number in range(45, 50)]


async def test_what_was_trimmed_away_before_it_was_taken_is_a_gap(room: Room, autojump_clock: MockClock) -> None:
    speaker = await room.come()
    slow, may_go_on = Ear(), trio.Event()
    bus = room.bus.join()

    async def take(heard: object) -> None:
        await slow.take(heard)  # type: ignore[arg-type]
        if slow.notes:
            await may_go_on.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bus.listen, take)
        await slow.gap()
        for number in range(50):
            speaker.send(b"%d" % number)
            await trio.sleep(0.1)
        room.bus.trim(5)
        may_go_on.set()
        await trio.sleep(SOON)
        assert slow.gaps == ["started", "trimmed"]
        assert slow.notes[-5:] == [b"%d" % number for number in range(45, 50)]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("step_back", [0, 500], ids=["the clock goes on", "the clock is behind"])
@pytest.mark.parametrize("is_silent", [True, False])
async def test_a_stream_that_was_emptied_is_a_gap(
    room: Room, autojump_clock: MockClock, step_back: int, is_silent: bool
) -> None:
    speaker, listener = await room.come(), await room.come()
    speaker.send(b"before")
    await listener.ear.notes_are(1)
    room.bus.cut_off(listener.bus)
    speaker.send(b"lost")
    await trio.sleep(SOON)
    room.bus.empty(step_back)
    if not is_silent:
        speaker.send(b"after")
        await trio.sleep(1)
    room.bus.mend(listener.bus)
    await trio.sleep(SOON)
    assert len(listener.ear.gaps) >= 2
    assert b"lost" not in listener.ear.notes
    speaker.send(b"at last")
    await trio.sleep(SOON)
    assert listener.ear.notes[-1] == b"at last"
    assert len(set(listener.ear.notes)) == len(listener.ear.notes)
    assert len(listener.ear.gaps) <= 3, "and one more, since numbers are missing"


async def test_a_failover_that_lost_the_newest_is_a_gap_for_whoever_had_not_heard_them(
    room: Room, autojump_clock: MockClock
) -> None:
    speaker, listener = await room.come(), await room.come()
    speaker.send(b"1")
    await listener.ear.notes_are(1)
    room.bus.cut_off(listener.bus)
    speaker.send(b"2")
    await trio.sleep(0.1)
    room.bus.lose(1)
    room.bus.mend(listener.bus)
    speaker.send(b"3")
    await trio.sleep(SOON)
    assert (listener.ear.notes, listener.ear.gaps) == ([b"1", b"3"], ["started", "dropped"])


@pytest.mark.slow
async def test_who_falls_silent_is_a_gap_again_and_again_for_five_minutes(
    room: Room, autojump_clock: MockClock
) -> None:
    silent, listener, other = await room.come(), await room.come(), await room.come()
    room.bus.cut_off(silent.bus)
    await trio.sleep(14)
    assert listener.ear.gaps == other.ear.gaps == ["started", "silent"]
    assert listener.bus.statistics().members == 1
    await trio.sleep(320)
    assert listener.ear.gaps == ["started"] + ["silent"] * 30
    await trio.sleep(SOON)
    assert len(listener.ear.gaps) == 31
    room.bus.mend(silent.bus)
    silent.send(b"here again")
    await trio.sleep(SOON)
    assert listener.ear.notes == [b"here again"]
    assert listener.bus.statistics().members == 2


async def test_who_leaves_is_missed_by_nobody(room: Room, autojump_clock: MockClock) -> None:
    leaving, listener = await room.come(), await room.come()
    leaving.send(b"last words")
    leaving.scope.cancel()
    await trio.sleep(SOON)
    assert (listener.ear.notes, listener.ear.gaps) == ([b"last words"], ["started"])
    assert listener.bus.statistics().members == 0


async def test_who_cannot_leave_in_time_leaves_all_the_same(room: Room, autojump_clock: MockClock) -> None:
    leaving = await room.come()
    room.bus.lag = 2.0
    before = trio.current_time()
    async with trio.open_nursery() as nursery:
        bus = room.bus.join()
        nursery.start_soon(bus.listen, leaving.ear.take)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - before == 1.0


async def test_nobody_is_missed_because_the_bus_was_away(room: Room, autojump_clock: MockClock) -> None:
    _, listener = await room.come(), await room.come()
    for _ in range(3):
        room.bus.is_gone = True
        await trio.sleep(60)
        room.bus.is_gone = False
        await trio.sleep(SOON)
    assert listener.ear.gaps == ["started"]


async def test_a_reader_on_a_server_cut_off_looks_for_another(room: Room, autojump_clock: MockClock) -> None:
    speaker, listener = await room.come(), await room.come()
    with room.bus.stale(listener.bus):
        speaker.send(b"1")
        await trio.sleep(SOON)
        assert listener.ear.notes == []
        assert listener.bus.trouble == "what is sent does not come back: another server is read from"
    await trio.sleep(SOON)
    assert listener.ear.notes == [b"1"]


async def test_entries_that_nobody_can_read_are_a_gap(room: Room, autojump_clock: MockClock) -> None:
    speaker, listener = await room.come(), await room.come()
    for entry in (b"", b"\xc1", encode(Entry("x", 0))[:-1], b"\x92\x02" + encode(Entry("x", 0))[2:]):
        room.bus.add(entry)
        await trio.sleep(0.1)
    speaker.send(b"1")
    assert await listener.ear.notes_are(1) == [b"1"]
    assert listener.ear.gaps == ["started"] + ["unreadable"] * 4


@pytest.mark.slow
async def test_the_stream_is_bounded_in_entries_and_in_bytes(room: Room, autojump_clock: MockClock) -> None:
    bounds = {"max_entries": 100, "max_bytes": 200_000}
    speaker, _ = await room.come(**bounds), await room.come(**bounds)
    for _ in range(200):
        speaker.send(b"x")
        await trio.sleep(0.01)
    assert len(room.bus.entries) == 100
    for _ in range(100):
        speaker.send(b"x" * 10_000)
        await trio.sleep(0.01)
    assert sum(len(entry) for _, entry in room.bus.entries) <= 220_000
    for _ in range(200):
        speaker.send(b"x")
        await trio.sleep(0.01)
    assert len(room.bus.entries) == 100


async def test_operators_are_told_once_that_the_bus_is_away_and_once_that_it_is_back(
    room: Room, autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    await room.come()
    room.bus.is_gone = True
    await trio.sleep(SOON)
    room.bus.is_gone = False
    await trio.sleep(SOON)
    assert [(line["event"], line.get("reason")) for line in logged] == [
        ("the bus is here", None),
        ("the bus is away", "cut off"),
        ("the bus is here", None),
    ]
