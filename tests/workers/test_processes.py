"""Real workers, small ones: killed, deaf, hopeless, and left behind."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import structlog
import trio

from tests.support.program import PATIENCE
from tests.workers.foreman import SAYS_READY, WAITS_FOR_ITS_END, keeping
from trio_relay.workers import Supervisor, WorkersFailed

pytestmark = pytest.mark.slow


@asynccontextmanager
async def at_work(workers: int) -> AsyncIterator[tuple[Supervisor, trio.MemoryReceiveChannel[int]]]:
    """Real workers, all ready, and the numbers of those that get ready later; at the end none of them is left."""
    tell, told = trio.open_memory_channel[int](workers + 1)
    supervisor = keeping(workers, WAITS_FOR_ITS_END, tell=tell.send_nowait)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run, trio.Event())
            assert sorted([await told.receive() for _ in range(workers)]) == [*range(1, workers + 1)]
            yield supervisor, told
            pids = [worker.pid for worker in supervisor.statistics().workers.values()]
            nursery.cancel_scope.cancel()
    assert len(pids) == workers
    assert [pid for pid in pids if is_there(pid)] == []


def is_there(pid: int) -> bool:
    """Whether there is such a process, a zombie included."""
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def test_one_that_is_killed_is_started_again(logged: list[structlog.typing.EventDict]) -> None:
    async with at_work(2) as (supervisor, told):
        first, second = [worker.pid for worker in supervisor.statistics().workers.values()]
        os.kill(second, signal.SIGKILL)
        assert await told.receive() == 2
        assert supervisor.statistics().workers[1].pid == first
        assert supervisor.statistics().workers[2].pid != second
        assert not is_there(second)
    [line] = [line for line in logged if line["event"] == "worker has crashed"]
    assert (line["worker"], line["pid"], line["signal"]) == (2, second, "SIGKILL")


async def test_one_that_is_stopped_like_a_terminal_stops_processes_can_be_killed() -> None:
    async with at_work(1) as (supervisor, told):
        pid = supervisor.statistics().workers[1].pid
        os.kill(pid, signal.SIGSTOP)
        supervisor.kill(1, "did not answer")
        assert await told.receive() == 1
        assert not is_there(pid)


async def test_one_that_hears_nothing_is_killed_after_its_time_of_grace() -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SAYS_READY + "time.sleep(60)"
    supervisor, stop = keeping(2, deaf, grace_seconds=0.1), trio.Event()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run, stop)
            pids = [worker.pid for worker in supervisor.statistics().workers.values()]
            for pid in pids:
                os.kill(pid, signal.SIGTERM)
            stop.set()
    assert [pid for pid in pids if is_there(pid)] == []


async def test_those_that_cannot_run_are_given_up(logged: list[structlog.typing.EventDict]) -> None:
    with trio.fail_after(PATIENCE), pytest.raises(WorkersFailed, match=r"worker [12] ended with exit code 7 after"):
        await keeping(2, "raise SystemExit(7)").run(trio.Event())
    crashed = [line for line in logged if line["event"] == "worker has crashed"]
    assert len(crashed) >= 5
    assert {line["exit_code"] for line in crashed} == {7}
    assert [line["pid"] for line in crashed if is_there(int(line["pid"]))] == []


@pytest.mark.parametrize("restarts", [0, 1])
async def test_all_see_the_end_of_a_parent_that_is_killed(restarts: int) -> None:
    """None of them holds an end of another's link, one that was started later neither."""
    with trio.fail_after(PATIENCE):
        command = [sys.executable, "-m", "tests.workers.foreman"]
        foreman = await trio.lowlevel.open_process(command, stderr=subprocess.PIPE)
        said = Said(foreman.stderr)
        await said.grow(3)
        for _ in range(restarts):
            os.kill(said.pid_of(2), signal.SIGKILL)
        await said.grow(3 + restarts)
        foreman.kill()
        await said.grow(math.inf)
        await foreman.wait()
    assert sorted(re.findall(rb"^(\d) has lost its link$", said.text, re.MULTILINE)) == [b"1", b"2", b"3"]


class Said:
    """What a foreman and its workers have said on their standard error, which ends with the last of them."""

    def __init__(self, stream: trio.abc.ReceiveStream | None) -> None:
        assert stream is not None
        self._stream = stream
        self.text = b""

    async def grow(self, starts: float) -> None:
        """Read until so many workers have started, or to the end."""
        while len(re.findall(rb"^\d is \d+$", self.text, re.MULTILINE)) < starts:
            if not (more := await self._stream.receive_some()):
                await self._stream.aclose()
                return
            self.text += more

    def pid_of(self, number: int) -> int:
        """The latest process of this worker."""
        return int(re.findall(rb"^%d is (\d+)$" % number, self.text, re.MULTILINE)[-1])
