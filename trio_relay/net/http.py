"""HTTP/1.1 on one connection, by h11: requests are answered in turn, until one of them asks for something else.

Knows nothing of Nostr; `front` says what there is to be had. What comes is bounded before h11 parses it, and of bodies
nothing is read that nobody wants: who sends one all the same is answered, and the connection ends.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import h11
import trio

from trio_relay.net.addresses import UNKNOWN
from trio_relay.net.http_responses import Response, StreamedResponse, refuse, render, see_out, send, send_pieces
from trio_relay.net.request_head import bad_request, end_of_head, has_body, parse_head, plain_head
from trio_relay.turns import Turn

_READ_BYTES: Final = 16_384
_BODY_BYTES: Final = 65_536
_PIECE_BYTES: Final = 4_096
"""Of a body, given to the parser at a time."""
_MOST_PIECES: Final = 512
"""Of a body, chunks too, which h11 takes about 15 µs each to read."""
_MOST_REQUESTS: Final = 1_000
"""On one connection; the last one's answer closes it."""
_EAGER_READS: Final = 16
"""Of one request; after so many it is read `1 / _CRUMB_SECONDS` times a second."""
_CRUMB_SECONDS: Final = 0.05
_CLOSE: Final = ("Connection", "close")
_ABSOLUTE: Final = re.compile("[a-z][a-z0-9+.-]*://[^/?#]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names in lower case, repeated headers joined by commas.

    Attributes:
        body: empty where it was not wanted.
        client: the address of whoever sent it, without a port; behind a trusted proxy, the one that the proxy tells.
    """

    method: str
    path: str
    headers: dict[str, str]
    raw_headers: list[tuple[str, str]]
    target: str
    body: bytes = b""
    client: str = UNKNOWN
    http_version: str = "1.1"

    @property
    def wants_websocket(self) -> bool:
        """True if this is the start of a WebSocket handshake (RFC 6455, section 4.1), never by HTTP/1.0."""
        return self.method == "GET" and self.http_version == "1.1" and self.lists("upgrade", "websocket")

    def lists(self, name: str, token: str) -> bool:
        """Return True if a header, a list of words in any case (RFC 9110, section 5.6.1), has this one among them.

        Args:
            name: of the header, in lower case.
            token: the word, in lower case.
        """
        listed = self.headers.get(name, "").lower()
        return listed == token or token in [word.strip(" \t") for word in listed.split(",")]


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The conversation goes on in another protocol; `rest` is what has been read of it already."""

    request: Request
    rest: bytes


ClientOf: TypeAlias = Callable[[Mapping[str, str]], str]
"""Tells who sent a request, from its headers."""

Respond: TypeAlias = Callable[[Request], Awaitable[Response | None]]
"""Answers a request; None hands the connection over as an `Upgrade`."""

TakesBody: TypeAlias = Callable[[Request], bool]
"""Tells from its head whether the body of a request is wanted."""

NoteRefusal: TypeAlias = Callable[[str, int, str], object]
"""Is told the address, the status and the reason of a request that was not understood."""


def _nobody(_headers: Mapping[str, str]) -> str:
    return UNKNOWN


def _pass_over(_address: str, _status: int, _reason: str) -> None:
    pass


def _never(_request: Request) -> bool:
    return False


async def converse(
    stream: trio.abc.Stream,
    answer: Respond,
    request_seconds: float,
    client_of: ClientOf = _nobody,
    note_refusal: NoteRefusal = _pass_over,
    takes_body: TakesBody = _never,
) -> Upgrade | None:
    """Answer requests until the client disconnects, breaks the rules, is too slow, or becomes a WebSocket.

    Args:
        stream: closed by the caller.
        answer: says what to answer.
        request_seconds: what one request may take to arrive, counted from the end of the one before.
        client_of: who sent a request; by default nobody is known.
        note_refusal: told of requests that break the rules or are too slow.
        takes_body: whether a body is to be read; else the request is answered without it, and the connection closed.

    Raises:
        trio.BrokenResourceError: the client went away in the middle.
    """
    arrivals = _Arrivals(stream)
    for left in reversed(range(_MOST_REQUESTS)):
        exchange: _Exchange | None = None
        refusal: tuple[int, str] | None = None
        try:
            with trio.CancelScope(relative_deadline=request_seconds) as patience:
                exchange = await _read_request(arrivals, client_of, takes_body)
        except h11.RemoteProtocolError as error:
            refusal = error.error_status_hint, str(error)
        if patience.cancelled_caught:
            refusal = 408, "the request took too long to arrive"
        if refusal is not None:
            if not (arrivals.is_idle and left < _MOST_REQUESTS - 1):  # who was answered need not ask again
                note_refusal(client_of({}), *refusal)
            # No body: what was refused may be a HEAD, whose answer must not have one, and the status says it all.
            await refuse(stream, refusal[0], request_seconds)
            return None
        if exchange is None:
            return None
        response = await answer(exchange.request)
        if response is None and not exchange.leaves_body:
            return Upgrade(exchange.request, bytes(arrivals.waiting))
        if response is None:
            note_refusal(exchange.request.client, 400, "a handshake with a body")
            response = Response(400, b"a handshake has no body\n")
        if not await _respond(stream, exchange, response, request_seconds, is_last=left == 0):
            return None
    return None


class _Arrivals:
    """What the client has sent and nobody has read yet."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.waiting = bytearray()
        self.is_idle = True
        """True until something of the next request has come."""
        self._reads = 0

    def begin_request(self) -> None:
        """What is read from now on belongs to the next request."""
        self.is_idle = not self.waiting
        self._reads = 0

    async def more(self) -> bool:
        """Wait for more; False at the end of the stream."""
        if self._reads >= _EAGER_READS:  # crumbs: a moment later there are more of them in one read
            await trio.sleep(_CRUMB_SECONDS)
        data = await self.stream.receive_some(_READ_BYTES)
        self.waiting += data
        self._reads += 1
        self.is_idle = False
        return bool(data)

    def take(self, most: int) -> bytes:
        """Take up to so many of the bytes that wait."""
        taken = bytes(self.waiting[:most])
        del self.waiting[:most]
        return taken


class _Exchange:
    """A request and what writes its response.

    Args:
        request: to be answered.
        head: of the request, as it came.
        connection: has read that; None: it is to read it if there is a response to be written.
        leaves_body: the request has a body that is not wanted.
    """

    __slots__ = ("_connection", "_head", "leaves_body", "request")

    def __init__(
        self, request: Request, head: bytes, connection: h11.Connection | None = None, *, leaves_body: bool = False
    ) -> None:
        self.request = request
        self.leaves_body = leaves_body
        self._head = head
        self._connection = connection

    @property
    def connection(self) -> h11.Connection:
        """What writes the response."""
        if self._connection is None:
            self._connection, _ = parse_head(self._head)
            self._connection.next_event()  # the end of the message
        return self._connection


async def _read_request(arrivals: _Arrivals, client_of: ClientOf, takes_body: TakesBody) -> _Exchange | None:
    """The next request, with its body if that is wanted; None if the client has left."""
    arrivals.begin_request()
    if not arrivals.waiting:
        if not await arrivals.more():
            return None
        if (exchange := _plain_handshake(arrivals, client_of)) is not None:
            return exchange
    known = 0
    while not (size := end_of_head(arrivals.waiting, known)):
        known = len(arrivals.waiting)
        if not await arrivals.more():
            return None
    taken = arrivals.take(size)
    connection, head = parse_head(taken)
    request = _request(head, client_of)
    if not has_body(head):
        connection.next_event()  # the end of the message
        return _Exchange(request, taken, connection)
    if not takes_body(request):
        return _Exchange(request, taken, connection, leaves_body=True)
    if int(request.headers.get("content-length", "0")) > _BODY_BYTES:
        raise bad_request(413, "body too large")
    body = await _read_body(connection, arrivals)
    return None if body is None else _Exchange(replace(request, body=body), taken, connection)


def _plain_handshake(arrivals: _Arrivals, client_of: ClientOf) -> _Exchange | None:
    """The handshake that has come in one piece, in the usual form; None if it is anything else.

    Nearly all connections begin so, and get no response by h11, which would take most of the time that opening takes.
    """
    plain = plain_head(bytes(arrivals.waiting))
    if plain is None:
        return None
    head, target, raw = plain
    request = _of_headers("GET", target, raw, "1.1", client_of)
    if not request.wants_websocket:
        return None
    arrivals.take(len(head))
    return _Exchange(request, head)


async def _read_body(connection: h11.Connection, arrivals: _Arrivals) -> bytes | None:
    """The body of a request; None if the client has left. Its pieces are bounded as its bytes are: each costs time."""
    body, pieces, received, turn = bytearray(), 0, 0, Turn()
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Data):
            body += event.data
            pieces += 1
        elif not arrivals.waiting:
            if connection.they_are_waiting_for_100_continue:  # whether to send it at all (RFC 9110, section 10.1.1)
                await arrivals.stream.send_all(_go_on(connection))
            if not await arrivals.more():
                return None
        else:
            received += len(piece := arrivals.take(_PIECE_BYTES))
            connection.receive_data(piece)
        if len(body) > _BODY_BYTES or received > 2 * _BODY_BYTES or pieces > _MOST_PIECES:
            raise bad_request(413, "body too large, or in too many pieces")
        if turn.is_over:
            await turn.give()
    arrivals.waiting[:0] = connection.trailing_data[0]  # of the next request
    return bytes(body)


def _go_on(connection: h11.Connection) -> bytes:
    return connection.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")) or b""


def _request(head: h11.Request, client_of: ClientOf) -> Request:
    raw = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
    target, version = head.target.decode("latin-1"), head.http_version.decode("ascii")
    return _of_headers(head.method.decode("ascii"), target, raw, version, client_of)


def _of_headers(method: str, target: str, raw: list[tuple[str, str]], version: str, client_of: ClientOf) -> Request:
    headers: dict[str, str] = {}
    for name, value in raw:
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return Request(method, _path(target), headers, raw, target, b"", client_of(headers), version)


def _path(target: str) -> str:
    """The path of a request target; a proxy may send the absolute form (RFC 9112, section 3.2.2)."""
    if not target.startswith("/") and (absolute := _ABSOLUTE.match(target)) is not None:
        target = target[absolute.end() :]
    return target.partition("?")[0] or "/"


async def _respond(
    stream: trio.abc.Stream, exchange: _Exchange, response: Response, seconds: float, *, is_last: bool
) -> bool:
    """Send a response; False if nothing can follow it."""
    is_last = is_last or exchange.leaves_body
    if is_last and _CLOSE not in response.headers:
        response = replace(response, headers=[*response.headers, _CLOSE])
    pieces = response.pieces if isinstance(response, StreamedResponse) else None
    if pieces is not None and exchange.request.method != "HEAD":
        sent = await send_pieces(stream, exchange.connection, response, pieces, seconds)
    else:
        sent = await send(stream, render(exchange.connection, response, exchange.request.method == "HEAD"), seconds)
    if not sent:
        return False
    if is_last:
        await see_out(stream)
        return False
    return exchange.connection.our_state is h11.DONE
