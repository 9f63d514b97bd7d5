"""A process that keeps three small workers, for tests that kill it: python -m tests.workers.foreman

Each worker says `N is PID` once it has started and `N has lost its link` when that has ended, all on standard error.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from trio_relay.workers import Child, Supervisor, start_process

SAYS_READY: Final = "import os, signal, sys, time; number, link = map(int, sys.argv[1:]); os.write(link, b'ready'); "
"""What small workers start with: the number of each, and the file descriptor of its link."""
WAITS_FOR_ITS_END: Final = (
    SAYS_READY + "os.write(2, b'%d is %d\\n' % (number, os.getpid()))\n"
    "try:\n    while os.read(link, 100): pass\n"
    "except ConnectionResetError: pass\n"  # it was closed before all that it brought was read
    "os.write(2, b'%d has lost its link\\n' % number)"
)


def small(code: str, number: int, link: socket.socket) -> list[str]:
    """The command of a small worker."""
    return [sys.executable, "-I", "-S", "-c", code, str(number), str(link.fileno())]


async def start(code: str, number: int, link: socket.socket) -> Child:
    """Start a small worker."""
    return await start_process(small(code, number, link), os.environ, [link.fileno()])


def keeping(
    workers: int, code: str, *, grace_seconds: float = 30.0, tell: Callable[[int], object] = lambda _: None
) -> Supervisor:
    """A supervisor of so many small workers.

    Args:
        workers: how many.
        code: what they run.
        grace_seconds: of theirs.
        tell: called with the number of each that is ready.
    """

    async def converse(number: int, stream: trio.abc.Stream) -> None:
        while await stream.receive_some():
            supervisor.ready(number)
            tell(number)

    supervisor = Supervisor(workers, partial(start, code), converse, grace_seconds=grace_seconds)
    return supervisor


if __name__ == "__main__":
    trio.run(keeping(3, WAITS_FOR_ITS_END).run, trio.Event())
