"""Calls to the running relay over its control line (`net.control`), as commands make them."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, RemoteDisconnected
from pathlib import Path
from typing import Any, Final

from trio_relay.config import Config
from trio_relay.net.admin.api import CONTENT_TYPE
from trio_relay.net.admin.calls import CallRefused, result_in, written_call

_TOO_LONG: Final = 413


class NoLine(Exception):
    """No relay answers at the control line; the message says where it would be."""


class LineShut(NoLine):
    """There may be one, and this user may not reach it."""


class UnixConnection(HTTPConnection):
    """HTTP over a Unix socket.

    Args:
        path: of the socket.
        seconds: for each step; None: for ever, until somebody interrupts it.
    """

    def __init__(self, path: Path, seconds: float | None) -> None:
        super().__init__("localhost")
        self._path = path
        self._seconds = seconds

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self._seconds)
        self.sock.connect(str(self._path))


def call_relay(config: Config, method: str, params: Sequence[object]) -> Any:
    """Have the running relay carry out a method of NIP-86, however long that takes; returns what it answers.

    It is cancelled there if this is interrupted.

    Raises:
        NoLine: no relay is there.
        CallRefused: it has refused, or ended in between.
    """
    place = config.control.place(config.store.backend, config.store.path)
    if place is None:
        raise NoLine("there is no control line (control.listen)")
    connection = UnixConnection(place, None)
    try:
        connection.connect()
    except PermissionError:
        connection.close()
        raise LineShut(f"{place} cannot be reached: it is for the relay's own user, and root") from None
    except OSError as error:
        connection.close()
        raise NoLine(f"no relay answers at {place}: {error.strerror or error}") from None
    try:
        return _asked(connection, written_call(method, params))
    except RemoteDisconnected:
        raise CallRefused("the relay has ended before it answered, or has too many calls to answer") from None
    except (OSError, HTTPException) as error:
        raise CallRefused(f"the relay did not answer: {error}") from error
    finally:
        connection.close()


def _asked(connection: UnixConnection, body: bytes) -> Any:
    connection.request("POST", "/", body, {"Content-Type": CONTENT_TYPE, "Connection": "close"})
    response = connection.getresponse()
    if response.status == _TOO_LONG:
        raise CallRefused("the call is too long: 64 KiB at most")
    return result_in(response.read(), response.status)
