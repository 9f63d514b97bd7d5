"""HTTP/1.1 on one connection, by h11: requests are answered in turn, until one of them asks for something else.

Knows nothing of Nostr; `front` says what there is to be had. Bodies are read and capped here, since h11 caps neither
them nor a head that arrives in one read.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, TypeAlias

import h11
import trio

from trio_relay.net.addresses import UNKNOWN
from trio_relay.version import __version__

_READ_BYTES: Final = 16_384
_HEAD_BYTES: Final = 16_384
_BODY_BYTES: Final = 65_536
_ABSOLUTE: Final = re.compile("[a-z][a-z0-9+.-]*://[^/?#]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names in lower case, repeated headers joined by commas.

    Attributes:
        client: the address of whoever sent it, without a port; behind a trusted proxy, the one that the proxy tells.
    """

    method: str
    path: str
    headers: dict[str, str]
    raw_headers: list[tuple[str, str]]
    target: str
    body: bytes = b""
    client: str = UNKNOWN

    @property
    def wants_websocket(self) -> bool:
        """True if this is the start of a WebSocket handshake (RFC 6455, section 4.1)."""
        return self.method == "GET" and self.lists("upgrade", "websocket")

    def lists(self, name: str, token: str) -> bool:
        """Return True if a header, a list of words in any case (RFC 9110, section 5.6.1), has this one among them.

        Args:
            name: of the header, in lower case.
            token: the word, in lower case.
        """
        return token in (word.strip(" \t") for word in self.headers.get(name, "").lower().split(","))


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The conversation goes on in another protocol; `rest` is what has been read of it already."""

    request: Request
    rest: bytes


ClientOf: TypeAlias = Callable[[Mapping[str, str]], str]
"""Tells who sent a request, from its headers."""

Respond: TypeAlias = Callable[[Request], Awaitable[Response | None]]
"""Answers a request; None hands the connection over as an `Upgrade`."""


NoteRefusal: TypeAlias = Callable[[str, int, str], object]
"""Is told the address, the status and the reason of a request that was not understood."""


def _nobody(_headers: Mapping[str, str]) -> str:
    return UNKNOWN


def _pass_over(_address: str, _status: int, _reason: str) -> None:
    pass


async def converse(
    stream: trio.abc.Stream,
    answer: Respond,
    request_seconds: float,
    client_of: ClientOf = _nobody,
    note_refusal: NoteRefusal = _pass_over,
) -> Upgrade | None:
    """Answer requests until the client disconnects, breaks the rules, is too slow, or becomes a WebSocket.

    Args:
        stream: closed by the caller.
        answer: says what to answer.
        request_seconds: what one request may take to arrive, counted from the end of the one before.
        client_of: who sent a request; by default nobody is known.
        note_refusal: told of requests that break the rules or are too slow.

    Raises:
        trio.BrokenResourceError: the client went away in the middle.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
    has_asked = False
    while True:
        request: Request | None = None
        try:
            with trio.CancelScope(relative_deadline=request_seconds) as patience:
                request = await _read_request(connection, stream, client_of)
        except h11.RemoteProtocolError as error:
            note_refusal(client_of({}), error.error_status_hint, str(error))
            await _refuse(connection, stream, error.error_status_hint, request_seconds)
            return None
        if patience.cancelled_caught:
            if not (has_asked and _is_between_requests(connection)):
                note_refusal(client_of({}), 408, "the request took too long to arrive")
            await _refuse(connection, stream, 408, request_seconds)
            return None
        if request is None:
            return None
        response = await answer(request)
        if response is None:
            return Upgrade(request, connection.trailing_data[0])
        with trio.move_on_after(request_seconds) as patience:
            await stream.send_all(_render(connection, response, request.method == "HEAD"))
        if patience.cancelled_caught or connection.our_state is not h11.DONE:
            return None
        connection.start_next_cycle()
        has_asked = True


def _is_between_requests(connection: h11.Connection) -> bool:
    """Return True if nothing of a next request has come: who was answered need not ask again."""
    return connection.their_state is h11.IDLE and not connection.trailing_data[0]


async def _read_request(connection: h11.Connection, stream: trio.abc.Stream, client_of: ClientOf) -> Request | None:
    """The next request with its body; None if the client has left."""
    head: h11.Request | None = None
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if head is not None and connection.they_are_waiting_for_100_continue:
                await stream.send_all(_go_on(connection, head))
            connection.receive_data(bytes(await stream.receive_some(_READ_BYTES)))
        elif isinstance(event, h11.Request):
            if sum(len(name) + len(value) for name, value in event.headers) > _HEAD_BYTES:
                raise h11.RemoteProtocolError("head too large", error_status_hint=431)
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > _BODY_BYTES:
                raise h11.RemoteProtocolError("body too large", error_status_hint=413)
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return _request(head, body, client_of)
        else:  # ConnectionClosed
            return None


def _go_on(connection: h11.Connection, head: h11.Request) -> bytes:
    """What makes a client send its body that asks first whether to (RFC 9110, section 10.1.1).

    Raises:
        h11.RemoteProtocolError: it shall not.
    """
    if head.method != b"POST":
        raise h11.RemoteProtocolError("no other request here needs a body", error_status_hint=417)
    if any(name == b"content-length" and int(value) > _BODY_BYTES for name, value in head.headers):
        raise h11.RemoteProtocolError("body too large", error_status_hint=413)
    return connection.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")) or b""


def _request(head: h11.Request, body: bytes, client_of: ClientOf) -> Request:
    headers: dict[str, str] = {}
    raw = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
    for name, value in raw:
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    target = head.target.decode("latin-1")
    return Request(head.method.decode("ascii"), _path(target), headers, raw, target, body, client_of(headers))


def _path(target: str) -> str:
    """The path of a request target; a proxy may send the absolute form (RFC 9112, section 3.2.2)."""
    if not target.startswith("/") and (absolute := _ABSOLUTE.match(target)) is not None:
        target = target[absolute.end() :]
    return target.partition("?")[0] or "/"


def _render(connection: h11.Connection, response: Response, head_only: bool = False) -> bytes:
    headers = [("Server", f"trio-relay/{__version__}"), *response.headers]
    if response.status != HTTPStatus.NO_CONTENT:  # which has neither (RFC 9110, section 8.6)
        headers += [("Content-Type", response.content_type), ("Content-Length", str(len(response.body)))]
    start = h11.Response(status_code=response.status, headers=headers, reason=HTTPStatus(response.status).phrase)
    parts = [connection.send(start)]
    if not head_only:
        parts.append(connection.send(h11.Data(data=response.body)))
    parts.append(connection.send(h11.EndOfMessage()))
    return b"".join(part for part in parts if part)


async def _refuse(connection: h11.Connection, stream: trio.abc.SendStream, status: int, seconds: float) -> None:
    """Say what was wrong with a request; nothing has been said to it yet."""
    # No body: what was refused may be a HEAD, whose answer must not have one, and the status says it all.
    response = Response(status, headers=[("Connection", "close")])
    with trio.move_on_after(seconds):
        await stream.send_all(_render(connection, response))
