"""What a service manager tells a process that it starts, and is told by it: systemd's protocol, without its library.

At the start the environment says which sockets were opened for this process (sd_listen_fds(3)), where it may say how it
is (sd_notify(3)), and how often it has to show that it is alive (sd_watchdog_enabled(3)). All of that is taken out of
the environment, so that nothing which this process starts believes itself meant.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog
import trio

log = structlog.get_logger("trio_relay.app")

FIRST_SOCKET: Final = 3
"""SD_LISTEN_FDS_START."""
_MOST_SOCKETS: Final = 1_024
_NAMELESS: Final = "unknown"
"""What systemd calls a socket that has no name."""
_OF_SOCKETS: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_OF_NOTICES: Final = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
_SEND_SECONDS: Final = 2.0
"""How long a notice may take: the manager reads them one after another, and has other services."""
_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class HandedSocket:
    """A socket that was opened for this process: its file descriptor, and how the manager calls it."""

    fd: int
    name: str = _NAMELESS


def take_sockets(environ: MutableMapping[str, str], pid: int) -> list[HandedSocket]:
    """Take what the environment says of sockets out of it, and return those that are for this process.

    They are no child's from now on.

    Args:
        environ: changed.
        pid: of this process.

    Raises:
        ValueError: it says something that systemd never does; for the operator.
    """
    sockets = sockets_in(_taken(environ, _OF_SOCKETS), pid)
    for one in sockets:
        try:
            os.set_inheritable(one.fd, False)
        except OSError as error:
            raise ValueError(f"LISTEN_FDS: file descriptor {one.fd}: {error.strerror}") from error
    return sockets


def sockets_in(said: Mapping[str, str], pid: int) -> list[HandedSocket]:
    """Return which sockets the variables speak of, if they are for the process of this pid; pure.

    Raises:
        ValueError: as `take_sockets`.
    """
    if "LISTEN_FDS" not in said or said.get("LISTEN_PID") != str(pid):
        return []
    count = _number("LISTEN_FDS", said["LISTEN_FDS"])
    if count > _MOST_SOCKETS:
        raise ValueError(f"LISTEN_FDS: more than {_MOST_SOCKETS} sockets")
    names = said["LISTEN_FDNAMES"].split(":") if "LISTEN_FDNAMES" in said else [_NAMELESS] * count
    if count and len(names) != count:
        raise ValueError(f"LISTEN_FDNAMES: {len(names)} names of {count} sockets")
    return [HandedSocket(fd, name) for fd, name in enumerate(names[:count], FIRST_SOCKET)]


class Notifier:
    """Tells the service manager how this process is. Whatever becomes of a notice, nothing fails, nor waits for long.

    Args:
        address: of the manager's socket: a path, or `@` and a name; empty: nobody wants to know.
        watchdog_seconds: the manager ends a process from which it has heard nothing for so long; None: it does not.
    """

    def __init__(self, address: str = "", watchdog_seconds: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_seconds: Final = watchdog_seconds
        self._status: str | None = None
        """What it said when it became ready; None before that, and from when it stops."""

    async def ready(self, status: str) -> None:
        """This process serves: it listens, and its store is open.

        Args:
            status: for people, a line.
        """
        self._status = status
        await self._send("READY=1", f"STATUS={status}")

    async def starting(self, status: str, most_seconds: float | None = None) -> None:
        """It has begun something on its way to being ready.

        Args:
            status: for people, a line.
            most_seconds: it may take so long, before the manager gives up; None: as long as anything may.
        """
        await self._send(f"STATUS={status}", *_extension(most_seconds))

    async def stopping(self, status: str, most_seconds: float) -> None:
        """It has been asked to end, or wants to.

        Args:
            status: for people, a line.
            most_seconds: when it has ended at the latest.
        """
        self._status = None
        await self._send("STOPPING=1", f"STATUS={status}", *_extension(most_seconds))

    @asynccontextmanager
    async def reloading(self) -> AsyncIterator[None]:
        """It reads its configuration while the context lasts; then it is ready again, whatever came of that.

        Nothing is told of it before it is ready for the first time, and once it is stopping.
        """
        if self._status is None:
            yield
            return
        # The manager compares the time with that of its own signal (Type=notify-reload), by the same clock.
        now = time.monotonic_ns() // 1_000
        await self._send("RELOADING=1", f"MONOTONIC_USEC={now}", "STATUS=reading the configuration again")
        try:
            yield
        finally:
            if self._status is not None:
                with trio.CancelScope(shield=True, relative_deadline=_SEND_SECONDS):
                    await self.ready(self._status)

    async def watch(self, answers: Callable[[], Awaitable[object]]) -> None:
        """Show, twice in the time that the manager waits, that this process is alive; for ever, or not at all.

        Args:
            answers: returns once everything has shown that it works; while it does not, nothing is told.
        """
        if self.watchdog_seconds is None:
            return
        pause = self.watchdog_seconds / 2
        while True:
            await answers()
            await self._send("WATCHDOG=1")
            await trio.sleep(pause)

    async def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with trio.move_on_after(_SEND_SECONDS) as patience:
            try:
                # A socket for each: whoever reads them may have been started anew.
                with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                    await manager.connect(self._address)  # connected, it is writable only while the other has room
                    # UTF-8, as sd_notify(3) has it; a path in it may be anything else.
                    await manager.send("\n".join(lines).encode(errors="backslashreplace"))
            except OSError as error:
                log.warning("the service manager was not told", notice=lines[0], error=error.strerror or str(error))
        if patience.cancelled_caught:
            log.warning("the service manager was not told", notice=lines[0], error="it does not read")


def take_notifier(environ: MutableMapping[str, str], pid: int) -> Notifier:
    """Take what the environment says of notices out of it, and return what sends them.

    Args:
        environ: changed.
        pid: of this process.

    Raises:
        ValueError: it says something that systemd never does; for the operator.
    """
    said = _taken(environ, _OF_NOTICES)
    address = said.get("NOTIFY_SOCKET", "")
    if address and address[0] not in "/@":
        raise ValueError(f"NOTIFY_SOCKET: {address!r} is no path, nor @ and a name")
    return Notifier(address, watchdog_in(said, pid))


def watchdog_in(said: Mapping[str, str], pid: int) -> float | None:
    """Return how long the manager waits for a sign of life of the process of this pid; None if for ever; pure.

    Raises:
        ValueError: as `take_notifier`.
    """
    if "WATCHDOG_USEC" not in said or said.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    return _number("WATCHDOG_USEC", said["WATCHDOG_USEC"]) / _MICROSECONDS or None


def _taken(environ: MutableMapping[str, str], names: Sequence[str]) -> dict[str, str]:
    return {name: value for name in names if (value := environ.pop(name, None)) is not None}


def _extension(seconds: float | None) -> list[str]:
    return [] if seconds is None else [f"EXTEND_TIMEOUT_USEC={round(seconds * _MICROSECONDS)}"]


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name}: {text!r} is no number")
    return int(text)
