"""Connections for which the system has no room: counted, told once a minute, and accepted once there is room again."""

from __future__ import annotations

import errno
import os

import pytest
import structlog
import trio
from trio.testing import MockClock, memory_stream_pair

from trio_relay.net import listeners

Lines = list[structlog.typing.EventDict]


class FullListener(trio.abc.Listener[trio.abc.Stream]):
    """A listener that has no room for anybody until a time."""

    def __init__(self, until: float, number: int = errno.EMFILE) -> None:
        self.closed = False
        self._until = until
        self._number = number

    async def accept(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if trio.current_time() < self._until:
            raise OSError(self._number, os.strerror(self._number))
        return memory_stream_pair()[0]

    async def aclose(self) -> None:
        self.closed = True


async def test_a_minute_s_failures_are_one_line_and_then_it_goes_on(autojump_clock: MockClock, logged: Lines) -> None:
    shortage = listeners.Shortage()
    listener = listeners.PatientListener(FullListener(95), shortage)
    await listener.accept()
    assert trio.current_time() == pytest.approx(95, abs=0.11)
    shortage.tell(130)
    assert [line["attempts"] for line in logged] == [1, 600, shortage.counts["EMFILE"] - 601]
    assert {line["event"] for line in logged} == {"connections not accepted"}
    assert {line["log_level"] for line in logged} == {"error"}
    assert [line["errors"] for line in logged][:2] == [{"EMFILE": 1}, {"EMFILE": 600}]
    assert not any("exc_info" in line for line in logged)
    shortage.tell(1_000)
    assert len(logged) == 3


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_every_lack_of_room_passes(number: int, autojump_clock: MockClock, logged: Lines) -> None:
    shortage = listeners.Shortage()
    await listeners.PatientListener(FullListener(0.05, number), shortage).accept()
    assert shortage.counts == {errno.errorcode[number]: 1}
    assert ["hint" in line for line in logged] == [number in (errno.EMFILE, errno.ENFILE)]


async def test_any_other_error_does_not(autojump_clock: MockClock, logged: Lines) -> None:
    listener = listeners.PatientListener(FullListener(1, errno.EINVAL), listeners.Shortage())
    with pytest.raises(OSError, match="Invalid argument"):
        await listener.accept()
    assert logged == []


async def test_it_closes_what_it_stands_before() -> None:
    full = FullListener(0)
    await listeners.PatientListener(full, listeners.Shortage()).aclose()
    assert full.closed
