"""The relay's program in a process that tells how long its event loop is held: `python driver.py SOCKET [ARGUMENT]...`.

Everything is as `python -m trio_relay ARGUMENT...` has it, but that `trio.run` gets an instrument and a heartbeat. A
thread of its own answers on a Unix socket: for each line that comes, a line of JSON about the time since the one
before. The file imports nothing of this project but the program, so that any Python that has some version of the relay
can run it.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, Final

import trio

Clock = Callable[[], float]

BEAT: Final = 0.002
"""Seconds between two beats of the heart, if nothing holds the loop."""
LONG: Final = 0.01
"""Seconds of a step from which on it is looked where the loop is."""
_LOOK: Final = 0.005


class Holds:
    """The longest holds of the loop since they were last taken; seconds.

    A hold is a step: what one task does before it lets others run, told in CPU of the loop's thread and in wall time.
    It misses what other threads do while they keep the interpreter's lock, so there are beats too: a gap between two of
    them during which the process used CPU, which other processes on the machine do not lengthen.
    """

    def __init__(self) -> None:
        self.cpu = 0.0
        self.wall = 0.0
        self.gap = 0.0
        self.task = ""
        self.place = ""

    def step(self, cpu: float, wall: float, task: str, place: str) -> None:
        """Note a step of a task, and where in it the loop was found."""
        self.wall = max(self.wall, wall)
        if cpu > self.cpu:
            self.cpu, self.task, self.place = cpu, task, place

    def beat(self, wall: float, cpu: float) -> None:
        """Note the time since the last beat: wall, and CPU of all threads."""
        self.gap = max(self.gap, min(wall, cpu) - BEAT)


class Meter(trio.abc.Instrument):
    """Measures each step of each task; `place` is where the loop was last seen in the step of now.

    Args:
        cpu: tells the CPU of its thread, in seconds.
        wall: tells the time.
    """

    def __init__(self, cpu: Clock = time.thread_time, wall: Clock = time.perf_counter) -> None:
        self.holds = Holds()
        self.began: float | None = None
        self.place = ""
        self._tell_cpu = cpu
        self._tell_wall = wall
        self._cpu = 0.0
        self._wall = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task goes on."""
        self.place = ""
        self._cpu = self._tell_cpu()
        self.began = self._wall = self._tell_wall()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """It lets others run."""
        cpu, wall = self._tell_cpu() - self._cpu, self._tell_wall() - self._wall
        self.began = None
        self.holds.step(cpu, wall, task.name, self.place)

    def take(self) -> Holds:
        """Give what was measured, and begin anew; any thread may call it."""
        taken, self.holds = self.holds, Holds()
        return taken

    async def beat(self) -> None:
        """Wake up again and again, and see how late."""
        wall, cpu = time.perf_counter(), time.process_time()
        while True:
            await trio.sleep(BEAT)
            then, used = wall, cpu
            wall, cpu = time.perf_counter(), time.process_time()
            self.holds.beat(wall - then, cpu - used)


class Telling(threading.Thread):
    """Answers on the socket, and between answers looks where the loop is if it is held."""

    def __init__(self, path: str, meter: Meter) -> None:
        super().__init__(daemon=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(1)
        self._meter = meter
        self._loop = threading.get_ident()

    def run(self) -> None:
        """Serve whoever connects, one after another."""
        while True:
            client, _ = self._listener.accept()
            with client:
                while self._wait(client) and client.recv(1):
                    client.sendall(self._line())

    def _wait(self, client: socket.socket) -> bool:
        while not select.select([client], [], [], _LOOK)[0]:
            began = self._meter.began
            if began is not None and time.perf_counter() - began > LONG:
                self._meter.place = place_of(sys._current_frames().get(self._loop))
        return True

    def _line(self) -> bytes:
        holds = self._meter.take()
        told = {
            "used": time.process_time(),
            "cpu": holds.cpu,
            "wall": holds.wall,
            "gap": holds.gap,
            "task": holds.task,
            "place": holds.place,
        }
        return json.dumps(told).encode() + b"\n"


def place_of(frame: FrameType | None) -> str:
    """Name the innermost function of the relay in a stack, as module and name; empty if there is none."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith("trio_relay."):
            return f"{module.removeprefix('trio_relay.')}.{frame.f_code.co_name}"
        frame = frame.f_back
    return ""


def measured(run: Callable[..., Any], meter: Meter) -> Callable[..., Any]:
    """Give a `trio.run` that is measured."""

    async def beside(main: Callable[..., Awaitable[Any]], *arguments: object) -> object:
        trio.lowlevel.spawn_system_task(meter.beat)
        return await main(*arguments)

    def run_measured(main: Callable[..., Awaitable[Any]], *arguments: object, **options: Any) -> Any:
        return run(beside, main, *arguments, instruments=[meter], **options)

    return run_measured


def main() -> None:
    """Run the program."""
    del sys.path[0]  # of this file, whose neighbours are no modules of the program's
    path = sys.argv.pop(1)
    meter = Meter()
    Telling(path, meter).start()
    trio.run = measured(trio.run, meter)  # type: ignore[assignment]  # which the program finds there
    from trio_relay.cli import main as program

    program(prog_name="trio-relay")


if __name__ == "__main__":
    main()
