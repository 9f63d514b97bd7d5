"""The supervisor: keeps a number of worker processes running, and ends with none of them left.

run
├─ the end           waits for `stop`; who has not ended some seconds later is killed
└─ a slot a worker   starts it, and starts it again when it has ended unasked
   └─ one life       the process, its conversation, and its deadline for being ready
"""

from __future__ import annotations

import signal
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

import structlog
import trio

log = structlog.get_logger("trio_relay.workers")

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
"""Between the end of a worker and its next start; it doubles from one to the other."""
_MOST_CRASHES: Final = 5
_CRASH_WINDOW_SECONDS: Final = 60.0
"""So many crashes within this time, over all workers, are no accident. Who has lived for so long starts afresh."""
_AFTER_LINK_SECONDS: Final = 5.0
"""How long a worker may go on when its conversation has ended, and a conversation when its worker has."""
_REAPING_SECONDS: Final = 5.0
"""How long a killed process may take to be gone: an instant, unless the kernel has it wait for a disk."""


class WorkersFailed(Exception):
    """The workers do not run, and starting them again does not help; the message says why. For the operator."""


class Process(Protocol):
    """A running process, as `trio.Process` and `spawning.Child` are."""

    @property
    def pid(self) -> int:
        """Its number."""
        ...

    async def wait(self) -> int:
        """Wait for its end, and reap it; gives its exit code, or minus the number of the signal that ended it."""
        ...

    def terminate(self) -> None:
        """Send it SIGTERM, if it has not been reaped."""
        ...

    def kill(self) -> None:
        """Send it SIGKILL, if it has not been reaped."""
        ...


Start: TypeAlias = Callable[[int, socket.socket], Awaitable[Process]]
Converse: TypeAlias = Callable[[int, trio.abc.Stream], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class WorkerStatistics:
    """A worker that is alive: its process, whether it serves, and the seconds since it was started."""

    pid: int
    is_ready: bool
    age: float


@dataclass(frozen=True, slots=True)
class SupervisorStatistics:
    """The workers that are alive, by their numbers; how often one was started again; how many have crashed."""

    workers: dict[int, WorkerStatistics]
    restarts: int
    crashes: int


@dataclass(slots=True)
class _Life:
    """One process of a worker, from its start to its end."""

    process: Process
    began: float
    is_ready: bool = False
    lived: float = 0.0
    killed_for: str = ""
    over: trio.Event = field(default_factory=trio.Event)

    def kill(self, reason: str) -> None:
        self.killed_for = self.killed_for or reason
        self.process.kill()


class Supervisor:
    """Keeps `workers` processes running, numbered from 1.

    Each is started with one end of a socket pair, and the other end is spoken with for as long as the connection lasts.
    A worker that ends unasked is started again, after a pause that grows while it keeps ending. It has crashed unless
    it had been ready and ended with exit code 0, or SIGTERM was its end: then somebody has stopped this one alone.

    Args:
        workers: how many; at least 1.
        start: starts a worker by its number, with its end of the socket pair inherited; the supervisor closes its own
            copy. Returns a process or leaves none behind; an OSError counts as a crash.
        converse: speaks with the worker of this number, and calls `ready` once it serves. Returns when the worker has
            closed its end, or raises that the connection is broken; what else it raises ends the whole. Cancelled, if
            ever, some seconds after the worker's end.
        ready_seconds: for a worker to become ready in.
        grace_seconds: for workers to end by themselves in, once `stop` is set.
    """

    def __init__(
        self,
        workers: int,
        start: Start,
        converse: Converse,
        *,
        ready_seconds: float = 30.0,
        grace_seconds: float = 10.0,
    ) -> None:
        self._numbers = range(1, workers + 1)
        self._start = start
        self._converse = converse
        self._ready_seconds = ready_seconds
        self.grace_seconds = grace_seconds
        """See above; may change at any time."""
        self._lives: dict[int, _Life] = {}
        self._unready = set(self._numbers)
        """Who has not been ready even once."""
        self._all_ready = trio.Event()
        self._failure = ""
        self._restarts = 0
        self._crashes = 0
        self._recent: deque[float] = deque(maxlen=_MOST_CRASHES)
        """When the latest of them were."""

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the workers until `stop` is set and all have ended; none is left then, nor after a cancellation.

        Args:
            stop: from then on nobody is started. The caller tells the workers, through their links, to end; who does
                not within `grace_seconds` is killed. Who is not ready yet may not hear it, and gets SIGTERM.
            task_status: started once every worker has been ready, or `stop` is set.

        Raises:
            WorkersFailed: five have crashed within a minute, or not all were ready in time at the start.
            ExceptionGroup: what a conversation has raised.
        """
        async with trio.open_nursery() as ending:
            ending.start_soon(self._end, stop)
            async with trio.open_nursery() as slots:
                for number in self._numbers:
                    slots.start_soon(self._keep, number, stop, slots.cancel_scope)
                with trio.move_on_after(self._ready_seconds) as patience:
                    await self._all_ready.wait()
                if patience.cancelled_caught:
                    missing = ", ".join(map(str, sorted(self._unready)))
                    self._fail(
                        f"not ready within {self._ready_seconds:g} seconds: worker {missing}", slots.cancel_scope
                    )
                else:
                    task_status.started()
            ending.cancel_scope.cancel(reason="all workers have ended")
        if self._failure:
            raise WorkersFailed(self._failure)

    def _fail(self, reason: str, slots: trio.CancelScope) -> None:
        """End all, and `run` by this reason."""
        self._failure = reason
        slots.cancel(reason=reason)

    async def _end(self, stop: trio.Event) -> None:
        """See the workers off, once `stop` is set."""
        await stop.wait()
        self._all_ready.set()
        for life in self._lives.values():
            if not life.is_ready:
                life.process.terminate()
        await trio.sleep(self.grace_seconds)
        for life in self._lives.values():
            life.kill(f"did not end within {self.grace_seconds:g} seconds")

    def ready(self, number: int) -> None:
        """Note that this worker serves; sync, to be called while it is conversed with."""
        self._lives[number].is_ready = True
        self._unready.discard(number)
        if not self._unready:
            self._all_ready.set()

    def kill(self, number: int, reason: str) -> None:
        """Kill a worker, one that does not answer say; it is started again. Nothing happens if it is not alive.

        Args:
            number: of the worker.
            reason: for the log: `did not answer for 30 seconds`.
        """
        if (life := self._lives.get(number)) is not None:
            life.kill(reason)

    def statistics(self) -> SupervisorStatistics:
        """Who is alive, and who was."""
        now = trio.current_time()
        alive = {
            number: WorkerStatistics(life.process.pid, life.is_ready, now - life.began)
            for number, life in sorted(self._lives.items())
            if not life.over.is_set()
        }
        return SupervisorStatistics(alive, self._restarts, self._crashes)

    async def _keep(self, number: int, stop: trio.Event, slots: trio.CancelScope) -> None:
        """Keep one worker running until `stop` is set."""
        pause = _FIRST_PAUSE_SECONDS
        while not stop.is_set():
            began = trio.current_time()
            crash = await self._live(number, stop)
            if crash is not None:
                self._count(f"worker {number} {crash}", slots)
            if trio.current_time() - began >= _CRASH_WINDOW_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            # A pause even for one that was stopped: where SIGTERM goes to all processes at once, our own comes first.
            with trio.move_on_after(pause):
                await stop.wait()
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            self._restarts += not stop.is_set()

    def _count(self, crash: str, slots: trio.CancelScope) -> None:
        """Count a crash, and end all if it is one too many."""
        self._crashes += 1
        now = trio.current_time()
        self._recent.append(now)
        if len(self._recent) == _MOST_CRASHES and now - self._recent[0] < _CRASH_WINDOW_SECONDS:
            self._fail(f"{_MOST_CRASHES} crashes of workers within a minute; the last: {crash}", slots)

    async def _live(self, number: int, stop: trio.Event) -> str | None:
        """Start a worker, and see it through to its end.

        Returns:
            How it has crashed: `ended with exit code 1`; None if it has not, or was asked to end.
        """
        near, far = socket.socketpair()
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(near))
        async with stream:
            try:
                with far:
                    process = await self._start(number, far)
            except OSError as error:
                if stop.is_set():  # what it was to inherit may be closed by now
                    return None
                log.error("worker not started", worker=number, error=str(error))
                return f"could not be started: {error}"
            async with self._alive(number, process) as life, trio.open_nursery() as nursery:
                if stop.is_set():
                    life.kill("started too late")
                nursery.start_soon(self._speak, number, life, stream)
                if self._all_ready.is_set():  # at the start there is one deadline for all
                    nursery.start_soon(self._hurry, life)
                code = await process.wait()
                life.lived = trio.current_time() - life.began
                life.over.set()
                nursery.cancel_scope.deadline = trio.current_time() + _AFTER_LINK_SECONDS
            return _note_end(number, life, code, stop.is_set())

    @asynccontextmanager
    async def _alive(self, number: int, process: Process) -> AsyncIterator[_Life]:
        """A process that is in the table, and that is killed and reaped when the context ends before it."""
        life = self._lives[number] = _Life(process, trio.current_time())
        try:
            log.info("worker started", worker=number, pid=process.pid)
            yield life
        finally:
            if not life.over.is_set():
                process.kill()
                with trio.move_on_after(_REAPING_SECONDS, shield=True) as patience:
                    await process.wait()
                if patience.cancelled_caught:
                    log.error("worker killed, and not gone", worker=number, pid=process.pid)
            del self._lives[number]

    async def _speak(self, number: int, life: _Life, stream: trio.SocketStream) -> None:
        """Converse to the end of the connection, which has to be the end of the worker."""
        try:
            await self._converse(number, stream)
        except* trio.BrokenResourceError:
            pass  # one that is killed before it has read everything leaves no end of file, but a broken connection
        await stream.aclose()
        with trio.move_on_after(_AFTER_LINK_SECONDS):
            await life.over.wait()
        if not life.over.is_set():
            life.kill("went on without its link")

    async def _hurry(self, life: _Life) -> None:
        """Kill a worker that does not become ready."""
        with trio.move_on_after(self._ready_seconds):
            await life.over.wait()
        if not life.is_ready and not life.over.is_set():
            life.kill(f"not ready within {self._ready_seconds:g} seconds")


def _note_end(number: int, life: _Life, code: int, stopping: bool) -> str | None:
    """Log how a worker has ended; gives that in words if it is a crash."""
    facts: dict[str, object] = {"worker": number, "pid": life.process.pid, "lived_seconds": round(life.lived, 1)}
    facts |= {"exit_code": code} if code >= 0 else {"signal": _name(-code)}
    if life.killed_for:
        facts["killed_for"] = life.killed_for
    was_asked = life.is_ready if code == 0 else code == -signal.SIGTERM and not life.killed_for
    if was_asked or (stopping and not life.is_ready):
        log.info("worker has ended", **facts)
        return None
    log.error("worker has crashed", **facts)
    if stopping:
        return None
    way = f"ended with exit code {code}" if code >= 0 else f"was ended by {_name(-code)}"
    return f"{way} after {life.lived:.1f} seconds"


def _name(number: int) -> str:
    """Return a signal's name; those for real time have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
