"""Listeners: TCP, Unix sockets, and what becomes of those that the system has no room for.

An address to listen on is `host:port`, `[host]:port` for IPv6, `*:port` for IPv4 and IPv6, or `unix:` and a path. In
front of it may stand what connections to it begin with: `proxy:`, `tls:`, or `proxy:tls:`.

Workers accept from the same sockets, which their keeper opens once and closes (decision 31): there is one queue for
all of them, one port, and one who removes the file of a Unix socket.
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
import socket
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import structlog
import trio

from trio_relay.private_files import set_mode

log = structlog.get_logger("trio_relay.net")

_UNIX: Final = "unix:"
_PROXY: Final = "proxy:"
_TLS: Final = "tls:"
MOST_PATH_BYTES: Final = 107
"""Of the path of a Unix socket, which is Linux's limit (unix(7))."""
_MODE: Final = 0o660
"""Of a Unix socket: its owner and its group may connect."""
_NEAR: Final = {"": "localhost", "*": "localhost", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
"""Where this machine reaches what listens everywhere."""
BACKLOG: Final = 1_024
"""Connections that may wait to be accepted, as far as net.core.somaxconn lets them."""
_NO_IPV6: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
_NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What accept(2) says when the process or the system has no room for one more connection."""
_NO_FILES: Final = frozenset({"EMFILE", "ENFILE"})
_FEWER_FILES: Final = "raise the limit of open files (LimitNOFILE), or lower net.max_connections"
_HEAD_START_SECONDS: Final = 0.001
"""More than a loop without work takes to accept; one that is busy for longer loses its turn, as it should."""
_RETRY_SECONDS: Final = 0.1
_TELL_SECONDS: Final = 60.0


class AddressRefused(Exception):
    """An address cannot be listened on; the message says which and why. For the operator."""


class UnixListener(trio.abc.Listener[trio.SocketStream]):
    """A listener on a Unix socket, whose file goes when it is closed, unless another has taken its place.

    Args:
        listener: of the socket, bound to `path`.
        path: of the file.
    """

    def __init__(self, listener: trio.SocketListener, path: Path) -> None:
        self.socket = listener.socket
        self._listener = listener
        self._path = path
        self._file: tuple[int, int] | None = _identity(path)

    async def accept(self) -> trio.SocketStream:
        return await self._listener.accept()

    async def aclose(self) -> None:
        with suppress(OSError):
            if self._file == _identity(self._path):
                self._path.unlink()
        self._file = None  # from now on another may get the same number
        await self._listener.aclose()


class SharedListener(trio.abc.Listener[trio.SocketStream]):
    """A listener on a socket from which other processes accept too; who has more clients lets others go first.

    A connection wakes all that wait for one, and only one gets it. Left to that race, one of four processes had less
    than half of its share of 200 clients in most runs (decision 31).

    Args:
        listener: of the socket; its file, if it has one, is another's to remove.
        is_ahead: tells whether this process has more clients than the others, who then have a moment's start.
    """

    def __init__(self, listener: trio.SocketListener, is_ahead: Callable[[], bool]) -> None:
        self.socket = listener.socket
        self._listener = listener
        self._is_ahead = is_ahead

    async def accept(self) -> trio.SocketStream:
        while True:
            await trio.lowlevel.wait_readable(self.socket)
            if self._is_ahead():
                await trio.sleep(_HEAD_START_SECONDS)
                if not self.socket.is_readable():  # another has taken it
                    continue
            return await self._listener.accept()

    async def aclose(self) -> None:
        await self._listener.aclose()


@dataclass(frozen=True, slots=True)
class Preamble:
    """What connections to an address begin with, before HTTP.

    Attributes:
        proxy: the header of the PROXY protocol (`net.proxy_header`).
        tls: a handshake.
    """

    proxy: bool = False
    tls: bool = False


PLAIN: Final = Preamble()


class EntryListener(trio.abc.Listener[trio.SocketStream]):
    """A listener whose connections do not begin with HTTP.

    Args:
        listener: of the same socket; closed with this one.
        preamble: what they begin with.
    """

    def __init__(self, listener: trio.SocketListener | UnixListener | SharedListener, preamble: Preamble) -> None:
        self.socket = listener.socket
        self.preamble = preamble
        self._listener = listener

    async def accept(self) -> trio.SocketStream:
        return await self._listener.accept()

    async def aclose(self) -> None:
        await self._listener.aclose()


BoundListener: TypeAlias = trio.SocketListener | UnixListener | SharedListener | EntryListener


def preamble_of(listener: trio.abc.Listener[trio.abc.Stream]) -> Preamble:
    """What connections to a listener begin with, if it tells."""
    preamble: Preamble = getattr(listener, "preamble", PLAIN)
    return preamble


def with_preamble(listener: trio.SocketListener | UnixListener | SharedListener, preamble: Preamble) -> BoundListener:
    """The same listener, whose connections begin with this."""
    return listener if preamble == PLAIN else EntryListener(listener, preamble)


def split_preamble(text: str) -> tuple[Preamble, str]:
    """What connections to an address begin with, and the address itself."""
    address = text.removeprefix(_PROXY)
    plain = address.removeprefix(_TLS)
    return Preamble(proxy=address != text, tls=plain != address), plain


def check_address(text: str) -> None:
    """Check that an address to listen on is written as one.

    Raises:
        ValueError: it is not; the message says so.
    """
    preamble, address = split_preamble(text)
    if address.startswith(_UNIX):
        if preamble.tls:
            raise ValueError(f"{text!r}: TLS is not spoken on a Unix socket")
        path = address.removeprefix(_UNIX)
        if not path or "\0" in path or len(os.fsencode(path)) > MOST_PATH_BYTES:
            raise ValueError(f"{address!r} is not unix: and a path of at most {MOST_PATH_BYTES} bytes")
        return
    host, _, port = address.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and int(port) < 65_536):
        raise ValueError(f"{text!r} is not host:port")


async def open_listeners(text: str) -> list[BoundListener]:
    """Listen on an address; a name may have several, and gets a listener for each.

    Raises:
        AddressRefused: the address is in use, not of this machine, or needs rights.
    """
    preamble, address = split_preamble(text)
    return [with_preamble(listener, preamble) for listener in await _open(address)]


async def _open(address: str) -> Sequence[trio.SocketListener | UnixListener]:
    if address.startswith(_UNIX):
        return [open_unix(Path(address.removeprefix(_UNIX)), _MODE)]
    host, _, port = address.rpartition(":")
    try:
        if host == "*":
            return await _open_everywhere(int(port))
        return await trio.open_tcp_listeners(int(port), host=host.strip("[]") or None, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:  # the latter of a name that cannot be one
        reason = error.strerror if isinstance(error, OSError) else "no such name"
        raise AddressRefused(f"cannot listen on {address}: {reason}") from error


def inherited_listener(fd: int, is_ahead: Callable[[], bool]) -> SharedListener:
    """Accept from a socket that another process has opened and listens on.

    Args:
        fd: of the socket, inherited; it is the listener's from now on.
        is_ahead: tells whether this process has more clients than those that it shares the socket with.

    Raises:
        ValueError: it is nothing that can be accepted from.
    """
    bound: socket.socket | None = None
    try:
        bound = socket.socket(fileno=fd)
        return SharedListener(trio.SocketListener(trio.socket.from_stdlib_socket(bound)), is_ahead)
    except (OSError, ValueError) as error:
        if bound is not None:
            bound.close()
        raise ValueError(f"file descriptor {fd} is of no listening socket") from error


async def _open_everywhere(port: int) -> list[trio.SocketListener]:
    """Listen on every address of the machine, IPv6 included where it has that, on one port for both."""
    listeners = await trio.open_tcp_listeners(port, host="0.0.0.0", backlog=BACKLOG)
    port = listeners[0].socket.getsockname()[1]
    try:
        return listeners + await trio.open_tcp_listeners(port, host="::", backlog=BACKLOG)
    except OSError as error:
        if error.errno in _NO_IPV6:
            return listeners
        for listener in listeners:
            listener.socket.close()
        raise


def open_unix(path: Path, mode: int) -> UnixListener:
    """Listen on a Unix socket of this mode; one that a dead relay has left is replaced.

    Raises:
        AddressRefused: something else lies there, or it cannot be made.
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _alone_in(path.parent):
            _clear(path)
            bound.bind(os.fspath(path))
            set_mode(path, mode)  # before it is listened on: until then nobody can connect
            bound.listen(BACKLOG)
            return UnixListener(trio.SocketListener(trio.socket.from_stdlib_socket(bound)), path)
    except (OSError, AddressRefused) as error:
        bound.close()
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise AddressRefused(f"cannot listen on {_UNIX}{path}: {reason}") from error


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other relays from opening a socket in this folder meanwhile: two could both find a dead one, and replace it.

    Raises:
        AddressRefused: another is opening one.
    """
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AddressRefused("another relay is opening a socket in the same folder") from None
        yield
    finally:
        os.close(opened)


def _clear(path: Path) -> None:
    """Remove a socket that nobody listens on.

    Raises:
        AddressRefused: somebody does, or it is no socket.
    """
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise AddressRefused("there is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a living one whose queue is full must not hold us up
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
    raise AddressRefused("somebody listens on it already")


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def reached(address: str) -> str:
    """Return the address, a host and a port, at which this machine reaches what listens on another such as `*:7777`."""
    host, _, port = address.rpartition(":")
    return f"{_NEAR.get(host, host)}:{port}"


def bound_address(listener: BoundListener) -> str:
    """`host:port` of a listener, with the port that it really got, or `unix:` and its path, `@` if it is abstract."""
    name = listener.socket.getsockname()
    if isinstance(name, bytes):
        return f"{_UNIX}@{os.fsdecode(name[1:])}"
    if isinstance(name, str):
        return f"{_UNIX}{name}"
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Shortage:
    """Counts the connections that could not be accepted, and says so in one line a minute at most."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """How often, by the name of the error."""
        self._untold: Counter[str] = Counter()
        self._told = -math.inf

    def note(self, error: OSError, now: float) -> None:
        """One attempt has failed, at this of Trio's times."""
        name = errno.errorcode[error.errno or 0]
        self.counts[name] += 1
        self._untold[name] += 1
        self.tell(now)

    def tell(self, now: float) -> None:
        """Say what was not said yet, unless the last line is younger than a minute; to be called now and then."""
        if self._untold and now - self._told >= _TELL_SECONDS:
            self._told = now
            hint = {"hint": _FEWER_FILES} if self._untold.keys() & _NO_FILES else {}
            log.error("connections not accepted", attempts=self._untold.total(), errors=dict(self._untold), **hint)
            self._untold.clear()


class PatientListener(trio.abc.Listener[trio.abc.Stream]):
    """A listener that tries again where there is no room for a connection, which is noted.

    `trio.serve_listeners` would too, with a traceback each time.
    """

    def __init__(self, listener: trio.abc.Listener[trio.abc.Stream], shortage: Shortage) -> None:
        self._listener = listener
        self._shortage = shortage

    async def accept(self) -> trio.abc.Stream:
        while True:
            try:
                return await self._listener.accept()
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self._shortage.note(error, trio.current_time())
                await trio.sleep(_RETRY_SECONDS)

    async def aclose(self) -> None:
        await self._listener.aclose()
