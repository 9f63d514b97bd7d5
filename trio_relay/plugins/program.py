"""A program of others while it runs: how it is started, what leads to it, and how it is ended with all that it started.

It has a process group of its own, so Ctrl-C is the relay's alone, and what it has started ends with it. On Linux the
kernel kills it when the relay is gone, however that went; elsewhere it sees its standard input end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

import trio

_LEASH: Final = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG; exec leaves it as it is
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)  # Python ignores them, and so would the program
signal.pthread_sigmask(signal.SIG_SETMASK, [])
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"cannot be started: {error}")
"""
"""Becomes the program. A function that `subprocess` calls between fork and exec could wait for a lock that a thread of
ours had, for ever."""


class Running(Protocol):
    """A program that was started, until it has been waited for."""

    @property
    def pid(self) -> int:
        """Its number."""

    @property
    def stdin(self) -> trio.abc.SendStream:
        """Where it reads."""

    @property
    def stdout(self) -> trio.abc.ReceiveStream:
        """What it answers."""

    @property
    def stderr(self) -> trio.abc.ReceiveStream:
        """What it says besides."""

    async def wait(self) -> int:
        """Wait for its end; gives its exit code, or minus the number of the signal that ended it."""

    def terminate(self) -> None:
        """Ask it to end, by SIGTERM, if it has not ended."""

    def kill(self) -> None:
        """End it, by SIGKILL, if it has not ended."""


class ProgramRun:
    """One process of a program.

    Args:
        words: the program and its arguments.

    Raises:
        OSError: the system has no room for one more process.
    """

    def __init__(self, words: Sequence[str]) -> None:
        pipes = [os.pipe() for _ in range(3)]
        (to_read, to_write), (out, printed), (complaints, complained) = pipes
        try:
            # On this thread: the kernel takes the end of the thread that started a process for its parent's. It takes
            # 0.6 ms of CPU, since nothing of our memory is copied and the program is looked for later.
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid()), *words],
                stdin=to_read,
                stdout=printed,
                stderr=complained,
                start_new_session=True,
            )
        except BaseException:
            for fd in (to_write, out, complaints):
                os.close(fd)
            raise
        finally:
            for fd in (to_read, printed, complained):
                os.close(fd)
        self.pid = self._popen.pid
        self.stdin = trio.lowlevel.FdStream(to_write)
        self.stdout = trio.lowlevel.FdStream(out)
        self.stderr = trio.lowlevel.FdStream(complaints)

    async def wait(self) -> int:
        if self._popen.returncode is None:
            ended = os.pidfd_open(self.pid)
            try:
                await trio.lowlevel.wait_readable(ended)
            finally:
                os.close(ended)
            self.kill()  # what it has left behind; its number is its own until it has been waited for
        return self._popen.wait()

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._popen.returncode is None:
            with suppress(ProcessLookupError, PermissionError):  # not its own group yet; macOS: of one that has ended
                os.killpg(self.pid, number)
