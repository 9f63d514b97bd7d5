"""The manager's end of systemd's protocol: a socket that hears what services tell of themselves."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from tests.support.program import PATIENCE


class Notices:
    """What was told, each notice as its lines; `address` is where."""

    def __init__(self, bound: trio.socket.SocketType) -> None:
        self._bound = bound
        name = bound.getsockname()
        self.address = f"@{os.fsdecode(name[1:])}" if isinstance(name, bytes) else name
        self.heard: list[list[str]] = []

    async def next(self) -> list[str]:
        """The next one."""
        with trio.fail_after(PATIENCE):
            self.heard.append((await self._bound.recv(4_096)).decode().split("\n"))
        return self.heard[-1]

    async def until(self, line: str) -> list[str]:
        """The next one that has this line."""
        while line not in (notice := await self.next()):
            pass
        return notice


@contextmanager
def hearing(path: Path | None = None) -> Iterator[Notices]:
    """A manager that hears notices, at this path; without one, at an abstract address that the system chooses."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bound.bind(b"" if path is None else os.fspath(path))
    with trio.socket.from_stdlib_socket(bound) as manager:
        yield Notices(manager)
