"""A relay whose loop is measured: started with `driver`, and what that tells."""

from __future__ import annotations

import shlex
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from perf import generator
from perf.plan import Plan
from perf.servers import OURS, Server, running

_DRIVER: Final = Path(__file__).with_name("driver.py")
_PATIENCE: Final = 60.0
"""Seconds that the thread which tells may be kept from it, by whatever holds the interpreter's lock."""
STORED: Final = 4_000
_WINDOW: Final = 0.02
_BUSY: Final = 0.08
"""Share of a core that work takes at least, even on a machine that many others use; what is below that is idleness."""
_MOST_WAITING: Final = 20.0


class Look(msgspec.Struct, frozen=True):
    """The longest holds since the look before; seconds. See `driver.Holds`.

    Attributes:
        used: CPU of all threads since the process has begun.
        cpu: of the loop's thread in the longest step.
        wall: of the longest step.
        gap: CPU of the process between two beats.
        task: whose step the longest was.
        place: where in it the loop was seen last.
    """

    used: float
    cpu: float = 0
    wall: float = 0
    gap: float = 0
    task: str = ""
    place: str = ""

    def after(self, before: Look) -> Look:
        """Both as one."""
        longest = self if self.cpu >= before.cpu else before
        return Look(
            self.used,
            longest.cpu,
            max(self.wall, before.wall),
            max(self.gap, before.gap),
            longest.task,
            longest.place,
        )


class Gauge:
    """Looks at the loop of a relay that `driver` runs; `server` is that.

    Args:
        server: runs already.
        path: of the socket on which it tells.
    """

    def __init__(self, server: Server, path: Path) -> None:
        self.server = server
        self.idle = 0.0
        """CPU seconds that a second without work takes."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_PATIENCE)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")

    def close(self) -> None:
        """Look no more."""
        self._lines.close()
        self._socket.close()

    def look(self) -> Look:
        """What happened since the last look."""
        self._socket.sendall(b"\n")
        return msgspec.json.decode(self._lines.readline(), type=Look)

    def calibrate(self, seconds: float = 1.0) -> None:
        """Learn what idleness costs, while there is nothing to do."""
        began, before = time.perf_counter(), self.look()
        time.sleep(seconds)
        self.idle = (self.look().used - before.used) / (time.perf_counter() - began)

    def settle(self) -> Look:
        """Wait until the relay has nothing to do any more, for some seconds at most; what happened meanwhile."""
        end = time.perf_counter() + _MOST_WAITING
        seen, quiet = self.look(), 0
        then = time.perf_counter()
        while quiet < 2 and then < end:
            time.sleep(_WINDOW)
            now, look = time.perf_counter(), self.look()
            share = (look.used - seen.used) / (now - then)
            quiet = quiet + 1 if share < self.idle + _BUSY else 0
            seen, then = look.after(seen), now
        return seen


@contextmanager
def gauged(python: str, stored: int = STORED) -> Iterator[Gauge]:
    """A relay with so many stored events, by the Python that has it; ended with the context.

    Raises:
        Failed: it doesn't start, or takes no events.
    """
    command = f"{shlex.quote(python)} {shlex.quote(str(_DRIVER))} {{folder}}/gauge"
    with running(replace(OURS, command=command)) as server:
        publish = Plan(load="publish", port=server.port, corpus=stored, count=stored, connections=10, window=100)
        generator.run(publish, _nothing, _nothing)
        with closing(Gauge(server, server.folder / "gauge")) as gauge:
            gauge.settle()
            gauge.calibrate()
            yield gauge


def _nothing() -> None:
    """Nobody looks."""
