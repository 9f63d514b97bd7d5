"""How a worker is started: a Python of its own that runs the same code, holds one end of its link, and hears no Ctrl-C.

**Ctrl-C** goes to every process of the terminal's foreground group, and only the keeper is to take it for its own. A
worker is born with SIGINT blocked, which no moment of its start leaves open, and never unblocks it. A process group or
a session of its own would keep Ctrl-C off as well, but Ctrl-Z would then stop the keeper and let its workers wait for
it, `stty tostop` would stop workers that log, and who closes the terminal would end one process of many. In one group
they are stopped, continued and hung up on together.

**SIGTERM** is the worker's own: it ends this one, which is then started again. A service manager that sends it to all
(systemd's `KillMode=control-group`, the default) has them all end, since the keeper stops by it, too. The supervisor
waits a moment before it starts a worker again, and has heard by then.

**Files.** All that Python opens is close-on-exec, and the rest is closed before the program starts, so a worker has its
own end of its own link and what was passed on purpose: when the keeper is gone, however it went, every link ends.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import trio

MODULE: Final = "trio_relay.workers.worker"
_STDERR: Final = 2


class Child:
    """A process that was started here, until it has been waited for (Linux: by a file descriptor of it)."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self.pid: Final = popen.pid

    async def wait(self) -> int:
        """Wait for its end, and reap it; gives its exit code, or minus the number of the signal that ended it."""
        if self._popen.poll() is None:
            ended = os.pidfd_open(self.pid)
            try:
                await trio.lowlevel.wait_readable(ended)
            finally:
                os.close(ended)
        return self._popen.wait()

    def terminate(self) -> None:
        """Send it SIGTERM, if it has not been reaped."""
        self._popen.terminate()

    def kill(self) -> None:
        """Send it SIGKILL, if it has not been reaped."""
        self._popen.kill()


async def spawn(number: int, link: socket.socket, also: Sequence[int] = ()) -> Child:
    """Start a worker.

    Args:
        number: of the worker; its first argument.
        link: its end of the socket pair. It inherits that under the same number, which is its second argument.
        also: more file descriptors that it inherits under their numbers: listeners, shared memory.

    Raises:
        OSError: the system has no room for one more process.
    """
    return await start_process(command(number, link.fileno()), environment(os.environ), (link.fileno(), *also))


def command(number: int, link: int) -> list[str]:
    """Return the command that runs a worker.

    `-P`: what lies in the current folder must not take the place of a module.
    """
    return [sys.executable, "-P", "-m", MODULE, str(number), str(link)]


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a worker: this one, in which it finds the package where this process has found it.

    That goes without saying, except where it was found beside the script or in the current folder, for which `-P` has
    the worker not look (`python -m trio_relay` in a checkout).
    """
    variables = dict(inherited)
    home = Path(__file__).resolve().parents[2]
    if not sys.flags.safe_path and Path(sys.path[0]).resolve() == home:
        before = variables.get("PYTHONPATH")
        variables["PYTHONPATH"] = os.pathsep.join([str(home), *([before] if before else [])])
    return variables


async def start_process(arguments: Sequence[str], variables: Mapping[str, str], inherited: Sequence[int]) -> Child:
    """Start a process that hears no Ctrl-C; its standard input is empty, and whatever it prints goes into our log.

    Args:
        arguments: the command and its arguments.
        variables: its environment.
        inherited: the file descriptors that it gets besides, under the same numbers.
    """
    # In a thread, since the program is looked for on a disk; nothing waits between the start and the return, so that
    # none is lost to a cancellation.
    return Child(await trio.to_thread.run_sync(partial(_start, arguments, variables, inherited)))


def _start(arguments: Sequence[str], variables: Mapping[str, str], inherited: Sequence[int]) -> subprocess.Popen[bytes]:
    # A process inherits the mask of the thread that starts it; other threads of ours go on hearing the signal.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return subprocess.Popen(arguments, env=variables, stdin=subprocess.DEVNULL, stdout=_STDERR, pass_fds=inherited)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
