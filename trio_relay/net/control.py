"""The control line: calls of NIP-86 over a Unix socket, unsigned, from whoever owns the relay's process on its machine.

It is HTTP, as on the public address, for commands such as `trio-relay delete`, which have the relay itself do what its
caches, live clients and workers have to know of. Who may open the file could read the store as well: its mode lets in
the relay's own user alone, and root.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import msgspec
import structlog
import trio
from msgspec import Meta

from trio_relay.net.addresses import UNIX
from trio_relay.net.admin.api import AdminApi
from trio_relay.net.http import Request, converse
from trio_relay.net.http_responses import Response
from trio_relay.net.listeners import MOST_PATH_BYTES, AddressRefused, UnixListener, open_unix
from trio_relay.net.lobby import Lobby
from trio_relay.private_files import FILE_MODE

log = structlog.get_logger("trio_relay.net")

_UNIX: Final = "unix:"
_OFF: Final = "off"
_SUFFIX: Final = ".sock"
_MOST_CONNECTIONS: Final = 8
_REQUEST_SECONDS: Final = 10.0
"""For a call to come in, and for its answer to be taken; what lies between takes as long as it takes."""
_ATTEMPTS: Final = 10
_AGAIN_SECONDS: Final = 0.1
"""Relays that start in one folder at the same time open their sockets one after another."""
_PEER: Final = getattr(socket, "SO_PEERCRED", None)
_CREDENTIALS: Final = struct.Struct("3i")
"""Process, user and group (unix(7))."""
ROOT: Final = 0
"""Who may do everything anyway."""


class ControlOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How commands on the same machine speak with the running relay."""

    listen: Annotated[
        str,
        Meta(
            pattern="^(off|unix:.+)?$",
            description=(
                "Unix socket by which commands of the relay's own user, such as `trio-relay delete`, have the running"
                " relay act. Empty: beside the SQLite file, its path with .sock behind it, and none for other stores;"
                " off: none."
            ),
            extra={"unit": "unix:/path or off"},
        ),
    ] = ""

    def place(self, backend: str, path: str) -> Path | None:
        """Where the socket is; None if there is none.

        Args:
            backend: the store's.
            path: the store's, if it is a file.
        """
        if self.listen:
            return None if self.listen == _OFF else Path(self.listen.removeprefix(_UNIX))
        return Path(f"{Path(path)}{_SUFFIX}") if backend == "sqlite" else None


@asynccontextmanager
async def control_line(place: Path | None, api: AdminApi) -> AsyncIterator[None]:
    """Answer calls at this socket while the context lasts, then remove it; what is still worked on is cancelled.

    Where it cannot be opened, that is logged, and the relay does without.

    Args:
        place: of the socket; None: there is none.
        api: carries out the calls.
    """
    listener = None if place is None else await _opened(place)
    if listener is None:
        yield
        return
    lobby = Lobby(_MOST_CONNECTIONS, 0, lambda _peer: None)
    async with listener, trio.open_nursery() as serving:
        serving.start_soon(trio.serve_listeners, partial(_serve, api, lobby), [listener])
        yield
        serving.cancel_scope.cancel(reason="the relay has stopped")


async def _opened(place: Path) -> UnixListener | None:
    if len(os.fsencode(place)) > MOST_PATH_BYTES:
        hint = f"a path of {MOST_PATH_BYTES} bytes at most (control.listen)"
        log.warning("no control line: the path of its socket is too long", path=str(place), hint=hint)
        return None
    for left in reversed(range(_ATTEMPTS)):
        try:
            return open_unix(place, FILE_MODE)
        except AddressRefused as refused:
            if not left:
                log.warning("no control line", reason=str(refused))
        await trio.sleep(_AGAIN_SECONDS)
    return None


async def _serve(api: AdminApi, lobby: Lobby, stream: trio.SocketStream) -> None:
    if not _is_own(stream.socket):
        log.warning("somebody else's process has opened the control line", hint="its folder lets others in")
        return
    if not lobby.has_room(UNIX):
        return
    try:
        with lobby.visit(stream, UNIX) as visit:
            answer = visit.served(partial(_answer, api, stream))
            await converse(visit, answer, _REQUEST_SECONDS, lambda _headers: UNIX, takes_body=lambda _request: True)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # who asked has gone
    except Exception:
        log.exception("a call by the control line failed")


def _is_own(peer: trio.socket.SocketType) -> bool:
    """True if the process at the other end is of our user or root's; where the system does not tell, the mode says."""
    if _PEER is None:
        return True
    _, user, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, _PEER, _CREDENTIALS.size))
    return user in (ROOT, os.geteuid())


async def _answer(api: AdminApi, stream: trio.SocketStream, request: Request) -> Response:
    """Carry out a call, unless who has made it goes away before it is done.

    Raises:
        trio.BrokenResourceError: they have.
    """
    if request.method != "POST":
        return Response(405, b"POST only: calls of NIP-86\n", headers=[("Allow", "POST")])
    async with trio.open_nursery() as working:
        working.start_soon(_cancel_if_gone, stream.socket, working.cancel_scope)
        response = await api.answer_operator(request)
        working.cancel_scope.cancel(reason="the call is carried out")
        return response
    raise trio.BrokenResourceError("nobody waits for the answer")


async def _cancel_if_gone(peer: trio.socket.SocketType, work: trio.CancelScope) -> None:
    try:
        is_there = await peer.recv(1, socket.MSG_PEEK)  # the next request stays where it is
    except OSError:
        is_there = b""
    if not is_there:
        work.cancel(reason="who has called has gone")
