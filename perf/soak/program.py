"""The relay as its command starts it, kept alive as a service manager would: started again whenever it has ended."""

from __future__ import annotations

import math
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import trio

from perf.plan import Failed
from perf.servers import children_of, free_port, pids_of_session, rss_of_session
from perf.soak.clock.sitecustomize import AHEAD, VARIABLE
from perf.soak.tally import Tally

_STARTING: Final = 60.0
_STOPPING: Final = 45.0
"""Seconds for a start and a graceful stop, on a machine that has others to serve."""
_DYING: Final = 15.0
"""Seconds in which all other processes must follow the first one that was killed."""
_LOOK: Final = 0.5
_MOMENT: Final = 0.02
_MOST_STARTS: Final = 5
_READY: Final = b"listening on ws://"


class Sample(NamedTuple):
    """What all processes of the relay have at a time: seconds, bytes, open files."""

    at: float
    rss: int
    descriptors: int


class _Told:
    """What a process has printed: that it listens, or no more at all."""

    def __init__(self) -> None:
        self.is_listening = False
        self.enough = trio.Event()

    async def hear(self, stream: trio.abc.ReceiveStream) -> None:
        """Read to the end."""
        printed = b""
        async for chunk in stream:
            printed += bytes(chunk)
            if _READY in printed:
                self.is_listening = True
                self.enough.set()
        self.enough.set()


class Program:
    """The relay's processes, one life after another, always on the same port.

    Args:
        command: what starts it, such as `python -m trio_relay`.
        settings: `section.key` to its value, TOML or plain text.
        folder: for its store, its log and its clock; made.
        tally: of faults.
    """

    def __init__(self, command: Sequence[str], settings: Mapping[str, str], folder: Path, tally: Tally) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.folder = folder
        self.log = folder / "relay.log"
        self.clock = folder / "clock"
        self.samples: list[Sample] = []
        self.lives = 0
        self.may_refuse_until = -math.inf
        """Until then it need not start: what it needs is away, or was a moment ago."""
        self._command = command
        self._settings = {"net.listen": f'["127.0.0.1:{self.port}"]', **settings}
        self._tally = tally
        self._process: trio.Process | None = None
        self._is_expected = False
        """Its next end is the weather's doing."""
        self._down = 0.0
        """Seconds until it is started again after that."""
        self._is_over = False
        self._up = trio.Event()
        self._seen: set[int] = set()
        """Programs of others that this life has asked, and that must end with it."""

    @property
    def pid(self) -> int:
        """Of its first process."""
        assert self._process is not None
        return self._process.pid

    @property
    def pids(self) -> list[int]:
        """Of all its processes, the first one's first; empty while it is down."""
        if self._process is None or self._process.returncode is not None:
            return []
        return pids_of_session(self.pid)

    @property
    def plugins(self) -> list[int]:
        """Processes of programs that it asks, each of which leads a session of its own."""
        own = self.pids
        return [pid for pid in children_of(own) if pid not in own]

    def environment(self) -> dict[str, str]:
        """Of its processes: ours, its settings, and its clock."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TRIO_RELAY_")}
        path = [str(Path(__file__).with_name("clock")), *filter(None, [inherited.get("PYTHONPATH")])]
        chosen = {f"TRIO_RELAY_{key.replace('.', '__').upper()}": value for key, value in self._settings.items()}
        return inherited | chosen | {"PYTHONPATH": os.pathsep.join(path), VARIABLE: str(self.clock)}

    def set_clock(self, ahead: float) -> None:
        """Set its clock so many seconds ahead of the system's."""
        with self.clock.open("r+b" if self.clock.exists() else "wb") as file:
            file.write(AHEAD.pack(ahead))

    async def live(self) -> None:
        """Start it, and again whenever it has ended, until `finish`; killed if cancelled.

        Raises:
            Failed: it does not start again and again.
        """
        self.set_clock(0)
        try:
            while not self._is_over:
                await self._one_life()
                await trio.sleep(self._down)
                self._down = 0.0
        finally:
            self._kill_all()

    async def _one_life(self) -> None:
        failures = 0
        while failures < _MOST_STARTS:
            async with trio.open_nursery() as reading:
                process = await self._start(reading)
                if process is not None:
                    self._up.set()
                    code = await process.wait()
                    if not self._is_expected:
                        self._up = trio.Event()
                        self._tally.fault("ended by itself", f"with code {code}: {self._last_line()}")
                    self._is_expected = False
                    await self._bury(process.pid)
                reading.cancel_scope.cancel()
            if process is not None:
                return
            failures += trio.current_time() > self.may_refuse_until
        raise Failed(f"the relay doesn't start: {self._last_line()}")

    async def _start(self, reading: trio.Nursery) -> trio.Process | None:
        """A process that listens; None if it has ended before, as it may where what it needs is away."""
        process = await trio.lowlevel.open_process(
            list(self._command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env=self.environment(),
            start_new_session=True,
        )
        self._process = process
        self.lives += 1
        assert process.stdout is not None
        assert process.stderr is not None
        told = _Told()
        reading.start_soon(self._keep, process.stderr)
        reading.start_soon(told.hear, process.stdout)
        with trio.move_on_after(_STARTING):
            await told.enough.wait()
        if told.is_listening and process.poll() is None:
            return process
        if not self._is_expected and trio.current_time() > self.may_refuse_until:
            sort = "does not start" if told.enough.is_set() else f"does not start within {_STARTING:g} s"
            self._tally.fault(sort, self._last_line())
        self._kill_all()
        await process.wait()
        self._is_expected = False
        await trio.sleep(_LOOK)
        return None

    async def _keep(self, stream: trio.abc.ReceiveStream) -> None:
        with self.log.open("ab", 0) as log:
            async for chunk in stream:
                log.write(chunk)

    async def _bury(self, session: int) -> None:
        """Wait until all processes of a session have ended, whose first one has."""
        with trio.move_on_after(_DYING):
            while pids_of_session(session) + self._left():  # noqa: ASYNC110  # no children of ours: nobody tells
                await trio.sleep(_MOMENT)
            self._seen.clear()
            return
        left = pids_of_session(session) + self._left()
        self._tally.fault("processes left", f"{left}, {_DYING:g} s after the first one's end")
        self._kill_all()

    def _left(self) -> list[int]:
        """Programs that it asked, and that still run."""
        return [pid for pid in self._seen if self._is_ours(pid)]

    def _is_ours(self, pid: int) -> bool:
        try:
            has_ended = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
            return not has_ended and str(self.clock).encode() in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False

    def _kill_all(self) -> None:
        if self._process is not None:
            for pid in [*pids_of_session(self._process.pid), *self._left()]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
                    os.kill(pid, signal.SIGKILL)

    async def is_up(self) -> None:
        """Wait until it listens."""
        await self._up.wait()

    async def kill(self, down: float) -> None:
        """End its first process by SIGKILL; returns when it is up again, so many seconds later."""
        await self.is_up()
        self._is_expected, self._down, self._up = True, down, trio.Event()
        assert self._process is not None
        self._process.kill()
        await self.is_up()

    async def stop(self, down: float, *, over: bool = False) -> None:
        """End it by SIGTERM, gracefully; returns when it is up again, so many seconds later.

        Args:
            down: seconds until it is started again.
            over: it is not.
        """
        await self.is_up()
        process, self._is_expected, self._down, self._is_over = self._process, True, down, over
        self._up = trio.Event()
        assert process is not None
        process.terminate()
        with trio.move_on_after(_STOPPING):
            code = await process.wait()
            if code != 0:
                self._tally.fault("not stopped well", f"code {code}: {self._last_line()}")
        if process.poll() is None:
            self._tally.fault("not stopped in time", f"{_STOPPING:g} s: {self._last_line()}")
            self._kill_all()
            await process.wait()
        if not over:
            await self.is_up()

    def sample(self) -> Sample:
        """What it has now."""
        return Sample(trio.current_time(), rss_of_session(self.pid), count_descriptors(self.pids))

    async def watch(self) -> None:
        """Look at memory and open files again and again, until cancelled."""
        while True:
            if self.pids:
                self.samples.append(self.sample())
                self._seen.update(self.plugins)
            await trio.sleep(_LOOK)

    def _last_line(self) -> str:
        if not self.log.exists():
            return "it said nothing"
        return (self.log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1][:500]


def count_descriptors(pids: Sequence[int]) -> int:
    """Open files of these processes."""
    count = 0
    for pid in pids:
        with suppress(OSError):  # it has ended meanwhile
            count += len(os.listdir(f"/proc/{pid}/fd"))
    return count


@asynccontextmanager
async def alive(programs: Sequence[Program]) -> AsyncIterator[None]:
    """All of them up and watched while the context lasts; nothing of them outlives that."""
    async with trio.open_nursery() as nursery:
        for program in programs:
            nursery.start_soon(program.live)
            nursery.start_soon(program.watch)
        for program in programs:
            await program.is_up()
        yield
        nursery.cancel_scope.cancel()
