"""One HTTP request over a stream that is open: to an address of the relay, to its control line.

What comes back is bounded; a deadline is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h11
import trio

from trio_relay.net.admin.api import CONTENT_TYPE
from trio_relay.net.admin.calls import CallRefused, result_in, written_call
from trio_relay.version import __version__

_READ_BYTES: Final = 65_536
_MOST_BODY: Final = 2**22
"""Bytes of an answer: a list of 500 clients has less."""
_AGENT: Final = f"trio-relay-doctor/{__version__}"


class NoAnswer(Exception):
    """Nothing that can be read has come back; the message says why."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer over HTTP: its status, its headers by their names in lower case, its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def ask(
    stream: trio.abc.Stream, authority: str, target: str, *, accept: str = "*/*", body: bytes = b"", kind: str = ""
) -> Answered:
    """Send a request, and read its answer to the end. The stream is used up then.

    Args:
        stream: open, and nothing said on it yet.
        authority: for the header Host.
        target: path and query.
        accept: for the header Accept.
        body: makes it a POST; empty: a GET.
        kind: of the body.

    Raises:
        NoAnswer: what came is no answer, or too long, or the connection broke off.
    """
    connection = h11.Connection(h11.CLIENT)
    headers = [("Host", authority), ("User-Agent", _AGENT), ("Accept", accept), ("Connection", "close")]
    if body:
        headers += [("Content-Type", kind), ("Content-Length", str(len(body)))]
    request = h11.Request(method="POST" if body else "GET", target=target, headers=headers)
    parts = [connection.send(request), connection.send(h11.Data(data=body)), connection.send(h11.EndOfMessage())]
    try:
        await stream.send_all(b"".join(part for part in parts if part))
        return await _read(stream, connection)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        raise NoAnswer("the connection broke off") from None
    except h11.RemoteProtocolError as error:
        raise NoAnswer(f"what answers does not speak HTTP ({error})") from None


async def _read(stream: trio.abc.Stream, connection: h11.Connection) -> Answered:
    response: h11.Response | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            data = bytes(await stream.receive_some(_READ_BYTES))
            if not data and response is None and not connection.trailing_data[0]:
                raise NoAnswer("the connection was closed without an answer")
            connection.receive_data(data)
        elif isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > _MOST_BODY:
                raise NoAnswer("the answer is too long")
        elif isinstance(event, h11.EndOfMessage):
            break
    assert response is not None
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
    return Answered(response.status_code, headers, bytes(body))


async def call(place: Path, method: str, params: Sequence[object] = ()) -> Any:
    """Have the running relay carry out a method of NIP-86 by its control line (`net.control`).

    Args:
        place: of the socket.
        method: its name.
        params: of the method.

    Raises:
        NoAnswer: nobody is there, or refuses; the message says which.
    """
    try:
        stream = await trio.open_unix_socket(str(place))
    except OSError as error:
        raise NoAnswer(error.strerror or str(error)) from None
    async with stream:
        answered = await ask(stream, "localhost", "/", body=written_call(method, params), kind=CONTENT_TYPE)
    try:
        return result_in(answered.body, answered.status)
    except CallRefused as refused:
        raise NoAnswer(str(refused)) from None
