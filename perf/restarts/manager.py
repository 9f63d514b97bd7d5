"""The least that a service manager is: sockets that stay open, processes that get them, and notices of these processes.

It speaks systemd's protocol (sd_listen_fds(3), sd_notify(3)), without systemd: nothing else of a service is here.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio

_SAFE_FD: Final = 100
"""From here on no descriptor is one of those that a process finds its sockets at."""
_START: Final = """
import json, os, sys
said = json.loads(sys.argv[1])
for place, fd in enumerate(said["sockets"], 3):
    os.dup2(fd, place)
    os.set_inheritable(fd, False)
for name, value in said["environ"].items():
    os.environ[name] = value.replace("{pid}", str(os.getpid()))
os.execvp(sys.argv[2], sys.argv[2:])
"""


class Notices:
    """What processes tell of themselves, each notice as its lines; `address` is where."""

    def __init__(self, bound: trio.socket.SocketType) -> None:
        self._bound = bound
        name = bound.getsockname()
        self.address = f"@{os.fsdecode(name[1:])}" if isinstance(name, bytes) else name
        self.heard: list[list[str]] = []

    async def next(self) -> list[str]:
        """The next one."""
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


class HeldSockets:
    """Sockets that are listened on as long as this is there, whoever accepts from them.

    Args:
        sockets: bound, and listened on.
        names: of each, as units have them by FileDescriptorName=.
    """

    def __init__(self, sockets: Sequence[socket.socket], names: Sequence[str]) -> None:
        self._names = names
        self.fds: Final = tuple(fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, _SAFE_FD) for one in sockets)
        """To be inherited by whatever runs a command of `command`."""

    def command(
        self, command: Sequence[str], notices: Notices | None = None, environ: Mapping[str, str] | None = None
    ) -> list[str]:
        """Return what hands the sockets over to a command, and becomes it.

        Args:
            command: what is started, and its arguments.
            notices: is told how it is.
            environ: is added to its environment; `{pid}` stands for its pid.
        """
        handed = {"LISTEN_PID": "{pid}", "LISTEN_FDS": f"{len(self.fds)}", "LISTEN_FDNAMES": ":".join(self._names)}
        said = {
            **(handed if self.fds else {}),
            **({} if notices is None else {"NOTIFY_SOCKET": notices.address}),
            **(environ or {}),
        }
        return [sys.executable, "-ISc", _START, json.dumps({"sockets": self.fds, "environ": said}), *command]

    def close(self) -> None:
        """Listen no more."""
        for fd in self.fds:
            os.close(fd)


@contextmanager
def held(*sockets: socket.socket, names: Sequence[str] | None = None) -> Iterator[HeldSockets]:
    """Keep sockets open while the context lasts.

    Args:
        sockets: bound; they are listened on from now on, and closed at the end.
        names: of each; by default the one that systemd gives to one without a name.
    """
    for one in sockets:
        one.listen(socket.SOMAXCONN)
    holder = HeldSockets(sockets, names or ["trio-relay.socket"] * len(sockets))
    try:
        yield holder
    finally:
        holder.close()
        for one in sockets:
            one.close()


def tcp(host: str = "127.0.0.1", port: int = 0, *, is_dual: bool = False) -> socket.socket:
    """A socket that is bound to an address, as ListenStream= makes it; a port of 0 is one that the system chooses.

    Args:
        host: a number; one with a colon is of IPv6.
        port: its port.
        is_dual: True: for IPv4, too, as systemd's are that are of every address (`ListenStream=80`).
    """
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ":" in host:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not is_dual)
    bound.bind((host, port))
    return bound


def unix(path: Path) -> socket.socket:
    """A socket that is bound to a path."""
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(os.fspath(path))
    return bound
