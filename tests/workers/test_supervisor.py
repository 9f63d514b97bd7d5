"""The supervisor: who is started again, after how long, when it gives up, and that nobody is left."""

from __future__ import annotations

import errno
import os
import signal
import socket

import pytest
import structlog
import trio
from trio.testing import MockClock

from tests.workers.staff import Hand, Staff, at_work
from trio_relay.workers import Supervisor, WorkersFailed


def lines(logged: list[structlog.typing.EventDict], event: str) -> list[structlog.typing.EventDict]:
    """The lines about this, without the numbers of processes."""
    return [
        {name: value for name, value in line.items() if name not in ("event", "pid")}
        for line in logged
        if line["event"] == event
    ]


async def test_each_worker_is_started_and_spoken_with(autojump_clock: MockClock) -> None:
    async with at_work(Staff(3)) as staff:
        assert sorted(hand.number for hand in staff.hands) == [1, 2, 3]
        assert sorted(staff.spoken_with) == [1, 2, 3]


async def test_it_has_started_once_every_worker_is_ready(autojump_clock: MockClock) -> None:
    staff = Staff(2, greets=False)
    started = trio.Event()

    async def begin(nursery: trio.Nursery) -> None:
        await nursery.start(staff.supervisor.run, staff.stop)
        started.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(begin, nursery)
        await trio.sleep(1)
        staff.supervisor.ready(2)
        staff.supervisor.ready(2)
        await trio.sleep(1)
        assert not started.is_set()
        staff.supervisor.ready(1)
        await trio.testing.wait_all_tasks_blocked()
        assert started.is_set()
        nursery.cancel_scope.cancel()


async def test_workers_that_are_not_ready_in_time_end_the_start(autojump_clock: MockClock) -> None:
    staff = Staff(3, greets=False)

    async def greet() -> None:
        await trio.sleep(1)
        staff.supervisor.ready(2)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(greet)
        with pytest.raises(WorkersFailed, match=r"^not ready within 30 seconds: worker 1, 3$"):
            await staff.supervisor.run(staff.stop)
    assert trio.current_time() - staff.hands[0].born == 30
    assert all(hand.is_reaped for hand in staff.hands)
    assert len(staff.hands) == 3


async def test_one_that_ends_is_started_again_after_a_pause_that_doubles(autojump_clock: MockClock) -> None:
    async with at_work(Staff(1)) as staff:
        for _ in range(8):
            await trio.sleep(20)
            staff.hands[-1].end(1)
            await trio.sleep(10)
        pauses = [
            round(following.born - (hand.gone or 0), 3)
            for hand, following in zip(staff.hands, staff.hands[1:], strict=False)
        ]
        assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5]
        assert staff.supervisor.statistics().restarts == 8


async def test_one_that_has_lived_for_a_minute_starts_afresh(autojump_clock: MockClock) -> None:
    async with at_work(Staff(1)) as staff:
        for lived in (20, 20, 60, 20):
            await trio.sleep(lived)
            staff.hands[-1].end(1)
            await trio.sleep(1)
        gaps = [later.born - (hand.gone or 0) for hand, later in zip(staff.hands, staff.hands[1:], strict=False)]
        assert [round(gap, 3) for gap in gaps] == [0.1, 0.2, 0.1, 0.2]


async def test_others_go_on_meanwhile(autojump_clock: MockClock) -> None:
    async with at_work(Staff(2)) as staff:
        staff.latest(1).end(1)
        await trio.sleep(1)
        assert sorted(hand.number for hand in staff.hands[:2]) == [1, 2]
        assert [hand.number for hand in staff.hands[2:]] == [1]
        assert staff.latest(2).heard == []


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (1, {"exit_code": 1}),
        (-signal.SIGSEGV, {"signal": "SIGSEGV"}),
        (-signal.SIGKILL, {"signal": "SIGKILL"}),
        (-40, {"signal": "signal 40"}),
    ],
)
async def test_a_crash_is_counted_and_told(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict], code: int, told: dict[str, object]
) -> None:
    async with at_work(Staff(2)) as staff:
        pid = staff.latest(2).pid
        await trio.sleep(7.25)
        staff.latest(2).end(code)
        await trio.sleep(1)
        assert staff.supervisor.statistics().crashes == 1
    [line] = [line for line in logged if line["event"] == "worker has crashed"]
    assert line.pop("pid") == pid
    assert line == {"event": "worker has crashed", "log_level": "error", "worker": 2, "lived_seconds": 7.2, **told}


@pytest.mark.parametrize("code", [0, -signal.SIGTERM])
async def test_one_that_was_stopped_alone_is_started_again_and_is_no_crash(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict], code: int
) -> None:
    async with at_work(Staff(1)) as staff:
        for _ in range(6):
            staff.latest(1).end(code)
            await trio.sleep(6)
        assert staff.supervisor.statistics().crashes == 0
        assert staff.supervisor.statistics().restarts == 6
        assert [line["log_level"] for line in lines(logged, "worker has ended")] == ["info"] * 6


async def test_one_that_ends_without_having_been_ready_has_crashed(autojump_clock: MockClock) -> None:
    staff = Staff(1, greets=False, births=lambda hand: hand.end(0))
    with pytest.raises(WorkersFailed, match=r"the last: worker 1 ended with exit code 0 after 0\.0 seconds$"):
        await staff.supervisor.run(staff.stop)


async def test_five_crashes_within_a_minute_end_all_of_them(autojump_clock: MockClock) -> None:
    staff = Staff(3)

    async def crash() -> None:
        for number in (1, 2, 1, 3, 2):
            await trio.sleep(10)
            staff.latest(number).end(-signal.SIGSEGV)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash)
        with pytest.raises(WorkersFailed) as caught:
            await staff.supervisor.run(staff.stop)
    assert str(caught.value) == (
        "5 crashes of workers within a minute; the last: worker 2 was ended by SIGSEGV after 29.9 seconds"
    )
    assert all(hand.is_reaped for hand in staff.hands)
    assert staff.at_work == []


async def test_five_in_more_than_a_minute_do_not(autojump_clock: MockClock) -> None:
    async with at_work(Staff(2)) as staff:
        for seconds in (0, 10, 10, 10, 30, 10):
            await trio.sleep(seconds)
            staff.latest(1).end(1)
        await trio.sleep(10)
        assert staff.supervisor.statistics().crashes == 6
        assert len(staff.at_work) == 2


async def test_one_that_the_system_has_no_room_for_is_tried_again(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with at_work(Staff(1, refusals=[OSError(errno.EAGAIN, "Resource temporarily unavailable")] * 4)) as staff:
        assert staff.hands[0].number == 1
        assert staff.supervisor.statistics().crashes == 4
    assert len(lines(logged, "worker not started")) == 4


async def test_four_times_are_enough(autojump_clock: MockClock) -> None:
    staff = Staff(1, refusals=[OSError(errno.ENOMEM, "Cannot allocate memory")] * 5)
    with pytest.raises(WorkersFailed, match=r"could not be started: \[Errno 12\] Cannot allocate memory$"):
        await staff.supervisor.run(staff.stop)


async def test_after_a_stop_nobody_is_started_again(autojump_clock: MockClock) -> None:
    staff = Staff(2)
    async with trio.open_nursery() as nursery:
        await nursery.start(staff.supervisor.run, staff.stop)
        staff.stop.set()
        await trio.sleep(3)
        staff.latest(1).end(0)
        await trio.sleep(3)
        staff.latest(2).end(1)
    assert trio.current_time() - staff.hands[0].born == 6
    assert len(staff.hands) == 2
    assert [hand.heard for hand in staff.hands] == [[], []]
    assert staff.supervisor.statistics().crashes == 0


async def test_who_takes_too_long_then_is_killed(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    staff = Staff(2, obeys=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(staff.supervisor.run, staff.stop)
        staff.stop.set()
        await trio.sleep(3)
        staff.latest(1).end(0)
    assert trio.current_time() - staff.hands[0].born == 10
    assert staff.latest(2).heard == [signal.SIGKILL]
    [line] = lines(logged, "worker has crashed")
    assert (line["worker"], line["killed_for"]) == (2, "did not end within 10 seconds")


async def test_a_stop_ends_a_pause(autojump_clock: MockClock) -> None:
    staff = Staff(1)
    async with trio.open_nursery() as nursery:
        await nursery.start(staff.supervisor.run, staff.stop)
        staff.latest(1).end(1)
        await trio.sleep(0.05)
        staff.stop.set()
    assert trio.current_time() - staff.hands[0].born == 0.05
    assert len(staff.hands) == 1
    assert staff.supervisor.statistics().restarts == 0


async def test_a_stop_during_the_start_ends_the_start(autojump_clock: MockClock) -> None:
    """They cannot hear by their links yet that they are to end."""
    staff = Staff(2, greets=False)

    async def stop_soon() -> None:
        await trio.sleep(1)
        staff.stop.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_soon)
        await nursery.start(staff.supervisor.run, staff.stop)
    assert trio.current_time() - staff.hands[0].born == 1
    assert [hand.heard for hand in staff.hands] == [[signal.SIGTERM]] * 2


async def test_one_that_is_born_after_the_stop_does_not_live(autojump_clock: MockClock) -> None:
    staff = Staff(1)

    async def start(number: int, far: socket.socket) -> Hand:
        await trio.sleep(20)  # longer than workers may take to end
        return await staff.start(number, far)

    async def converse(_number: int, stream: trio.abc.Stream) -> None:
        await stream.receive_some()

    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(1, start, converse, grace_seconds=10)
        nursery.start_soon(supervisor.run, staff.stop)
        await trio.sleep(1)
        staff.stop.set()
    assert staff.latest(1).heard == [signal.SIGKILL]
    assert staff.latest(1).is_reaped


async def test_one_that_cannot_be_started_after_the_stop_is_no_crash(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    """The listeners that it was to inherit are closed, say."""
    staff = Staff(1)

    async def start(_number: int, _far: socket.socket) -> Hand:
        await staff.stop.wait()
        raise OSError(errno.EBADF, "Bad file descriptor")

    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(1, start, staff.converse)
        nursery.start_soon(supervisor.run, staff.stop)
        await trio.sleep(1)
        staff.stop.set()
    assert supervisor.statistics().crashes == 0
    assert logged == []


async def test_a_cancellation_kills_all_at_once(autojump_clock: MockClock) -> None:
    staff = Staff(3, obeys=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(staff.supervisor.run, staff.stop)
        nursery.cancel_scope.cancel()
    assert trio.current_time() == staff.hands[0].born
    assert [hand.heard for hand in staff.hands] == [[signal.SIGKILL]] * 3
    assert all(hand.is_reaped for hand in staff.hands)


async def test_a_cancellation_kills_those_that_are_ending(autojump_clock: MockClock) -> None:
    staff = Staff(2)
    async with trio.open_nursery() as nursery:
        await nursery.start(staff.supervisor.run, staff.stop)
        staff.stop.set()
        await trio.sleep(3)
        nursery.cancel_scope.cancel()
    assert trio.current_time() - staff.hands[0].born == 3
    assert [hand.heard for hand in staff.hands] == [[signal.SIGKILL]] * 2


async def test_one_that_cannot_even_be_killed_holds_nobody_up_for_long(
    autojump_clock: MockClock,
    logged: list[structlog.typing.EventDict],
) -> None:
    """It waits for a disk, say."""
    staff = Staff(2, dies=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(staff.supervisor.run, staff.stop)
        nursery.cancel_scope.cancel()
    assert trio.current_time() - staff.hands[0].born == 5
    assert sorted(line["worker"] for line in lines(logged, "worker killed, and not gone")) == [1, 2]
    for hand in staff.hands:
        hand.end(-signal.SIGKILL)


async def test_what_a_conversation_raises_ends_all(autojump_clock: MockClock) -> None:
    staff = Staff(2)

    async def converse(number: int, stream: trio.abc.Stream) -> None:
        supervisor.ready(number)
        await trio.sleep(number)
        raise ValueError(f"what {number} says makes no sense")

    supervisor = Supervisor(2, staff.start, converse)
    with pytest.raises(ExceptionGroup) as caught:
        await supervisor.run(staff.stop)
    found, others = caught.value.split(ValueError)
    assert others is None
    assert "what 1 says makes no sense" in repr(found)
    assert [hand.heard for hand in staff.hands] == [[signal.SIGKILL]] * 2
    assert all(hand.is_reaped for hand in staff.hands)


async def test_one_that_goes_on_without_its_link_is_killed(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with at_work(Staff(1)) as staff:
        staff.latest(1).link.close()
        await trio.sleep(5.2)
        assert [hand.heard for hand in staff.hands] == [[signal.SIGKILL], []]
    [line] = lines(logged, "worker has crashed")
    assert line["killed_for"] == "went on without its link"


async def test_one_that_ends_after_its_link_is_not(autojump_clock: MockClock) -> None:
    async with at_work(Staff(1)) as staff:
        staff.latest(1).link.close()
        await trio.sleep(4.9)
        staff.latest(1).end(0)
        await trio.sleep(1)
        assert [hand.heard for hand in staff.hands] == [[], []]


@pytest.mark.parametrize("seconds", [3.0, 60.0])
async def test_what_one_has_said_before_its_end_is_heard_in_bounded_time(
    autojump_clock: MockClock, seconds: float
) -> None:
    staff, heard = Staff(1), list[bytes]()

    async def converse(number: int, stream: trio.abc.Stream) -> None:
        supervisor.ready(number)
        while data := await stream.receive_some():
            await trio.sleep(seconds)
            heard.append(bytes(data))

    supervisor = Supervisor(1, staff.start, converse)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run, staff.stop)
        staff.latest(1).link.send(b"the last word")
        staff.latest(1).end(1)
        await trio.sleep(seconds + 0.2)
        assert heard == [b"the last word"] * (seconds == 3)
        assert staff.latest(1).born - staff.hands[0].born == pytest.approx(min(seconds, 5) + 0.1)
        nursery.cancel_scope.cancel()


async def test_one_that_ends_without_having_read_everything_is_started_again(autojump_clock: MockClock) -> None:
    staff = Staff(1)

    async def converse(number: int, stream: trio.abc.Stream) -> None:
        async with trio.open_nursery():  # which puts what it raises into a group
            await stream.send_all(b"some news")
            supervisor.ready(number)
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
            await stream.send_all(b"more news")

    supervisor = Supervisor(1, staff.start, converse)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run, staff.stop)
        staff.latest(1).end(-signal.SIGKILL)
        await trio.sleep(1)
        assert len(staff.hands) == 2
        nursery.cancel_scope.cancel()


async def test_one_that_does_not_answer_is_killed_and_started_again(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with at_work(Staff(2, obeys=False)) as staff:
        staff.supervisor.kill(2, "did not answer for 30 seconds")
        staff.supervisor.kill(7, "is not there")
        await trio.sleep(1)
        assert [hand.number for hand in staff.hands[2:]] == [2]
        assert staff.supervisor.statistics().crashes == 1
    [line] = lines(logged, "worker has crashed")
    assert (line["signal"], line["killed_for"]) == ("SIGKILL", "did not answer for 30 seconds")


async def test_a_later_one_that_does_not_become_ready_is_killed(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with at_work(Staff(1)) as staff:
        staff.greets = False
        staff.latest(1).end(1)
        await trio.sleep(1)
        staff.greets = True
        await trio.sleep(30)
        assert len(staff.hands) == 3
        assert (staff.hands[1].gone or 0) - staff.hands[1].born == 30
        await trio.sleep(60)
        assert len(staff.at_work) == 1
    told = [line.get("killed_for") for line in lines(logged, "worker has crashed")]
    assert told == [None, "not ready within 30 seconds"]


async def test_statistics_tell_who_is_alive(autojump_clock: MockClock) -> None:
    async with at_work(Staff(2)) as staff:
        await trio.sleep(5)
        staff.latest(1).end(1)
        await trio.sleep(0.05)
        assert list(staff.supervisor.statistics().workers) == [2]
        staff.greets = False
        await trio.sleep(1)
        found = staff.supervisor.statistics().workers
        assert {number: (worker.pid, worker.is_ready) for number, worker in found.items()} == {
            1: (staff.latest(1).pid, False),
            2: (staff.latest(2).pid, True),
        }
        assert [round(worker.age, 2) for worker in found.values()] == [0.95, 6.05]


async def test_nothing_of_a_run_stays_open(autojump_clock: MockClock) -> None:
    """Else a thousand crashes would take a thousand files."""
    before = _open_files()
    async with at_work(Staff(2)) as staff:
        during = _open_files()
        for _ in range(10):
            await trio.sleep(15)
            staff.latest(1).end(1)
        await trio.sleep(10)
        assert _open_files() == during
    assert _open_files() == before


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))
