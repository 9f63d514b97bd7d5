"""Browsers that have the relay's console open: they log in by a link, and listen to its numbers."""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Final
from urllib.parse import urlencode, urlsplit

from perf.plan import Failed
from perf.servers import Command, Server, filled_in

_PATIENCE: Final = 30.0
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


@contextmanager
def watching(server: Server, command: Command) -> Iterator[None]:
    """As many browsers as the command says look at the console meanwhile, each over a connection of its own.

    Raises:
        Failed: the relay does not let them in.
    """
    with ExitStack() as open_ones:
        for _ in range(command.browsers):
            connection = open_ones.enter_context(closing(HTTPConnection("127.0.0.1", server.port, timeout=_PATIENCE)))
            try:
                response = _listen(connection, _cookie(connection, _token(server, command)))
            except (OSError, HTTPException, ValueError) as error:
                raise Failed(server.reason(f"a browser was not let into the console: {error}")) from error
            threading.Thread(target=_read, args=(response,), daemon=True).start()
        yield


def _token(server: Server, command: Command) -> str:
    """What a new link carries, as the command on the relay's machine makes it."""
    environment = os.environ | filled_in(command.environment, server.port, str(server.folder))
    program = [*shlex.split(command.command), "admin-link"]
    link = subprocess.run(program, env=environment, capture_output=True, check=False, text=True, timeout=_PATIENCE)
    if link.returncode:
        raise ValueError(link.stderr.strip())
    return urlsplit(link.stdout.strip()).query.removeprefix("token=")


def _cookie(connection: HTTPConnection, token: str) -> str:
    connection.request("POST", "/admin/enter", urlencode({"token": token}), _FORM)
    response = connection.getresponse()
    response.read()
    cookie, _, _ = response.headers.get("Set-Cookie", "").partition(";")
    if not cookie:
        raise ValueError(f"status {response.status}")
    return cookie


def _listen(connection: HTTPConnection, cookie: str) -> HTTPResponse:
    connection.request("GET", "/admin/live", headers={"Cookie": cookie})
    response = connection.getresponse()
    if response.status != 200 or not response.readline().startswith(b"data: "):
        raise ValueError(f"status {response.status}")
    return response


def _read(response: HTTPResponse) -> None:
    """Read until the connection is closed, by whichever side."""
    with suppress(OSError, HTTPException, ValueError, AttributeError):
        while response.readline():
            pass
