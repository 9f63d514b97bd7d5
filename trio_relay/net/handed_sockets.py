"""Sockets that a service manager has opened for the relay: which of them is for which address of the settings.

Such a socket listens whether the relay runs or not. Connections that come while it is restarted wait in the kernel, and
nobody is refused. What is closed here is our descriptor of it: the socket goes on, and the file of a Unix socket stays.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, TypeAlias

import trio

from trio_relay.net.listeners import AddressRefused, BoundListener, open_listeners, split_preamble, with_preamble
from trio_relay.systemd import HandedSocket

CLIENTS: Final = "net.listen"
"""The setting whose addresses clients connect to."""
_UNIX: Final = "unix:"
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
_EVERYWHERE: Final = ("0.0.0.0", "::")
_FREE: Final = 0
"""The port of an address that leaves it to the system."""

_Name: TypeAlias = tuple[str, int] | str
"""What a socket is bound to: host and port, or the path of a file; other kinds, as the system calls them."""


class HandedSockets:
    """Sockets by the setting and the address that they are for; made by `assigned`."""

    def __init__(self, places: Mapping[tuple[str, str], Sequence[HandedSocket]] | None = None) -> None:
        self._places = dict(places or {})

    def take(self, setting: str, text: str) -> list[BoundListener]:
        """Return what accepts from the sockets for an address; empty if there is none, and it is still to be bound.

        Args:
            setting: `net.listen`.
            text: the address as it stands there.
        """
        preamble, _ = split_preamble(text)
        return [with_preamble(_listener(one.fd), preamble) for one in self._places.pop((setting, text), ())]


async def assigned(sockets: Sequence[HandedSocket], settings: Mapping[str, Sequence[str]]) -> HandedSockets:
    """Find out which socket is for which address: the one that it is bound to.

    Where that cannot tell, the name of the socket does (FileDescriptorName= in its unit), which is then the name of the
    setting: for a Unix socket that has another path here, and for an address that leaves its port to the system, if
    the setting has one such address.

    Args:
        sockets: all that were handed over.
        settings: the addresses of each, by its name.

    Raises:
        AddressRefused: a socket is for none of them, or is none that connections are accepted from.
    """
    places: dict[tuple[str, str], list[HandedSocket]] = {}
    bound = [(one, _name_of(one)) for one in sockets]
    addresses = [(setting, text) for setting, all_ in settings.items() for text in all_] if bound else []
    meant = {place: await _names(split_preamble(place[1])[1]) for place in addresses}
    for one, name in bound:
        found = [place for place, names in meant.items() if name in names]
        named = [place for place, names in meant.items() if place[0] == one.name and _may_be(name, names)]
        if not found and len(named) == 1:
            found = named
        if not found:
            raise AddressRefused(
                f"{_shown(name)} was handed over as {one.name!r}, and no setting has that address: {_hint(settings)}"
            )
        places.setdefault(found[0], []).append(one)
    return HandedSockets(places)


@asynccontextmanager
async def listening(
    addresses: Sequence[str], handed: HandedSockets | None = None, setting: str = CLIENTS
) -> AsyncIterator[list[BoundListener]]:
    """Listen on these addresses for as long as the context lasts.

    Args:
        addresses: as they stand in the setting.
        handed: sockets that are taken instead of being bound; None: there are none.
        setting: that has the addresses.

    Raises:
        AddressRefused: one cannot be listened on.
    """
    async with AsyncExitStack() as opened:
        yield [
            await opened.enter_async_context(listener)
            for address in addresses
            for listener in (handed and handed.take(setting, address)) or await open_listeners(address)
        ]


def _hint(settings: Mapping[str, Sequence[str]]) -> str:
    has = "; ".join(f"{setting} has {', '.join(all_) or 'none'}" for setting, all_ in settings.items())
    return f"{has}. Change one of these, or ListenStream= in the socket's unit"


def _may_be(name: _Name, names: Sequence[_Name]) -> bool:
    """Whether the socket of this name may be meant by an address with these, as far as that tells."""
    if isinstance(name, str):
        return any(isinstance(other, str) for other in names)
    return (name[0], _FREE) in names


async def _names(address: str) -> list[_Name]:
    """What a socket for this address is bound to.

    Raises:
        AddressRefused: there is no such name.
    """
    if address.startswith(_UNIX):
        return [_file(address.removeprefix(_UNIX))]
    host, _, port = address.rpartition(":")
    if host == "*":
        return [(everywhere, int(port)) for everywhere in _EVERYWHERE]
    try:
        found = await trio.socket.getaddrinfo(
            host.strip("[]") or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise AddressRefused(f"cannot listen on {address}: no such name") from error
    return [(str(sockaddr[0]), int(port)) for *_, sockaddr in found]


def _name_of(one: HandedSocket) -> _Name:
    """What a socket is bound to.

    Raises:
        AddressRefused: it is none that connections are accepted from.
    """
    try:
        bound = socket.socket(fileno=one.fd)
    except OSError:
        raise AddressRefused(f"what was handed over as {one.name!r} is no socket") from None
    try:
        name = bound.getsockname()
        is_stream = bound.family in _FAMILIES and bound.type == socket.SOCK_STREAM
        if not (is_stream and bound.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)):
            raise AddressRefused(
                f"what was handed over as {one.name!r} is not listened on: its unit needs ListenStream= and Accept=no"
            )
    finally:
        bound.detach()
    if isinstance(name, tuple):
        return str(name[0]), int(name[1])
    return _file(name) if isinstance(name, str) else f"@{os.fsdecode(name[1:])}"


def _file(path: str) -> str:
    """The path of a file without links on its way: one file has one."""
    return os.path.realpath(path)


def _listener(fd: int) -> trio.SocketListener:
    return trio.SocketListener(trio.socket.from_stdlib_socket(socket.socket(fileno=fd)))


def _shown(name: _Name) -> str:
    if isinstance(name, str):
        return f"{_UNIX}{name}"
    host, port = name
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
