"""What a service manager says in the environment, and what it is told: the protocol, against a socket of the test's."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest
import structlog
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.support.service_manager import hearing
from trio_relay import systemd
from trio_relay.systemd import HandedSocket, Notifier

US = 1234


@pytest.mark.parametrize(
    ("said", "sockets"),
    [
        ({}, []),
        ({"LISTEN_PID": "1234", "LISTEN_FDS": "0"}, []),
        ({"LISTEN_PID": "1234", "LISTEN_FDS": "0", "LISTEN_FDNAMES": ""}, []),
        ({"LISTEN_PID": "1234", "LISTEN_FDS": "2"}, [HandedSocket(3, "unknown"), HandedSocket(4, "unknown")]),
        (
            {"LISTEN_PID": "1234", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a.socket:metrics.listen"},
            [HandedSocket(3, "a.socket"), HandedSocket(4, "metrics.listen")],
        ),
        ({"LISTEN_PID": "1234", "LISTEN_FDS": "1", "LISTEN_FDNAMES": ""}, [HandedSocket(3, "")]),
        ({"LISTEN_PID": "1235", "LISTEN_FDS": "2"}, []),
        ({"LISTEN_FDS": "2"}, []),
        ({"LISTEN_PID": "1234"}, []),
    ],
)
def test_sockets_are_those_that_are_for_this_process(said: dict[str, str], sockets: list[HandedSocket]) -> None:
    assert systemd.sockets_in(said, US) == sockets


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"LISTEN_FDS": "two"}, "LISTEN_FDS: 'two' is no number"),
        ({"LISTEN_FDS": "-1"}, "LISTEN_FDS: '-1' is no number"),
        ({"LISTEN_FDS": "٣"}, "LISTEN_FDS: '٣' is no number"),
        ({"LISTEN_FDS": "99999999999"}, "LISTEN_FDS: more than 1024 sockets"),
        ({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "one"}, "LISTEN_FDNAMES: 1 names of 2 sockets"),
    ],
)
def test_what_no_manager_says_is_refused(said: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        systemd.sockets_in({"LISTEN_PID": "1234", **said}, US)


@given(st.dictionaries(st.sampled_from(["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_USEC"]), st.text()))
def test_whatever_the_environment_says_is_understood_or_refused(said: dict[str, str]) -> None:
    for understand in (systemd.sockets_in, systemd.watchdog_in):
        with suppress(ValueError):
            understand(said, US)


def test_nothing_that_this_process_starts_believes_itself_meant() -> None:
    said = {
        "LISTEN_PID": "1235",
        "LISTEN_FDS": "1",
        "LISTEN_FDNAMES": "a",
        "LISTEN_PIDFDID": "7",
        "NOTIFY_SOCKET": "@manager",
        "WATCHDOG_USEC": "1000000",
        "WATCHDOG_PID": "1234",
        "HOME": "/",
    }
    assert systemd.take_sockets(said, US) == []
    assert systemd.take_notifier(said, US).watchdog_seconds == 1
    assert said == {"HOME": "/"}


def test_a_socket_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as one:
        free = one.fileno()
    monkeypatch.setattr(systemd, "FIRST_SOCKET", free)
    with pytest.raises(ValueError, match=f"LISTEN_FDS: file descriptor {free}: Bad file descriptor"):
        systemd.take_sockets({"LISTEN_PID": "1234", "LISTEN_FDS": "1"}, US)


def test_no_child_inherits_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as one:
        one.set_inheritable(True)
        monkeypatch.setattr(systemd, "FIRST_SOCKET", one.fileno())
        taken = systemd.take_sockets({"LISTEN_PID": "1234", "LISTEN_FDS": "1"}, US)
        assert taken == [HandedSocket(one.fileno())]
        assert not one.get_inheritable()


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1234"}, 1.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1235"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_PID": "1234"}, None),
    ],
)
def test_the_watchdog_is_this_process_s_or_none(said: dict[str, str], seconds: float | None) -> None:
    assert systemd.watchdog_in(said, US) == seconds


@pytest.mark.parametrize("address", ["manager", "vsock:2:1234"])
def test_an_address_of_no_manager_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=f"NOTIFY_SOCKET: '{address}' is no path, nor @ and a name"):
        systemd.take_notifier({"NOTIFY_SOCKET": address}, US)


@pytest.mark.parametrize("name", ["notify", None])
async def test_the_manager_is_told_how_this_process_is(tmp_path: Path, name: str | None) -> None:
    with hearing(None if name is None else tmp_path / name) as manager:
        notifier = systemd.take_notifier({"NOTIFY_SOCKET": manager.address}, US)
        await notifier.starting("opening the store")
        await notifier.starting("waiting", 30)
        await notifier.ready("serving")
        before = time.monotonic_ns() // 1_000
        async with notifier.reloading():
            pass
        await notifier.stopping("stopping", 25.5)
        heard = [await manager.next() for _ in range(6)]
    reloading = heard.pop(3)
    assert heard == [
        ["STATUS=opening the store"],
        ["STATUS=waiting", "EXTEND_TIMEOUT_USEC=30000000"],
        ["READY=1", "STATUS=serving"],
        ["READY=1", "STATUS=serving"],
        ["STOPPING=1", "STATUS=stopping", "EXTEND_TIMEOUT_USEC=25500000"],
    ]
    assert (reloading[0], reloading[2]) == ("RELOADING=1", "STATUS=reading the configuration again")
    name, _, told = reloading[1].partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(told) <= time.monotonic_ns() // 1_000


async def test_it_is_ready_again_whatever_comes_of_a_reload() -> None:
    with hearing() as manager:
        notifier = Notifier(manager.address)
        await notifier.ready("serving")
        with trio.CancelScope() as scope:
            async with notifier.reloading():
                scope.cancel()
                await trio.lowlevel.checkpoint()
        await manager.until("RELOADING=1")
        assert await manager.next() == ["READY=1", "STATUS=serving"]


async def test_who_reads_again_before_it_is_ready_is_not_ready_by_that() -> None:
    with hearing() as manager:
        notifier = Notifier(manager.address)
        await notifier.starting("waiting")
        async with notifier.reloading():
            pass
        await notifier.ready("serving")
        await manager.until("READY=1")
    assert [line for notice in manager.notices.heard for line in notice if line == "STATUS="] == []
    assert ["READY=1" in notice for notice in manager.notices.heard].count(True) == 1


async def test_who_reads_again_while_it_stops_does_not_say_that_it_serves() -> None:
    with hearing() as manager:
        notifier = Notifier(manager.address)
        await notifier.ready("serving")
        async with notifier.reloading():
            await notifier.stopping("stopping", 7)
        await notifier.starting("the last notice")
        await manager.until("STATUS=the last notice")
    told = [line for notice in manager.notices.heard for line in notice]
    assert "READY=1" not in told[told.index("STOPPING=1") :]


async def test_signs_of_life_come_twice_in_the_time_and_only_while_all_answers(autojump_clock: MockClock) -> None:
    answered, times = trio.Event(), list[float]()

    async def answers() -> None:
        await answered.wait()

    with hearing() as manager:
        async with trio.open_nursery() as nursery:
            answered.set()
            nursery.start_soon(Notifier(manager.address, 20).watch, answers)
            for _ in range(3):
                assert await manager.next() == ["WATCHDOG=1"]
                times.append(trio.current_time())
            answered = trio.Event()
            with trio.move_on_after(25) as patience:
                await manager.next()
            nursery.cancel_scope.cancel()
    assert [later - times[0] for later in times] == [0, 10, 20]
    assert patience.cancelled_caught


async def test_a_path_that_is_no_text_is_told_as_well_as_it_can_be() -> None:
    with hearing() as manager:
        await Notifier(manager.address).ready(f"serving on unix:{os.fsdecode(bytes([47, 255]))}")
        assert await manager.next() == ["READY=1", "STATUS=serving on unix:/\\udcff"]


async def test_without_a_watchdog_there_are_no_signs_of_life() -> None:
    with hearing() as manager:
        await Notifier(manager.address).watch(trio.lowlevel.checkpoint)
        await Notifier(manager.address).ready("serving")
        assert (await manager.next())[0] == "READY=1"


async def test_a_manager_that_is_gone_or_does_not_read_stops_nobody(
    tmp_path: Path, autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    await Notifier(os.fspath(tmp_path / "gone")).ready("serving")
    await Notifier(f"/{'long' * 50}").ready("serving")
    with hearing() as manager:
        notifier = Notifier(manager.address)
        began = trio.current_time()
        while trio.current_time() == began:  # until its queue is full
            await notifier.ready("serving")
        assert trio.current_time() - began == 2
    assert [line["error"] for line in logged] == [
        "No such file or directory",
        "AF_UNIX path too long",
        "it does not read",
    ]
