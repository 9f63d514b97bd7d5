"""Responses of HTTP/1.1, whole or piece by piece, and how a connection ends behind its last one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import h11
import trio

from trio_relay.version import __version__

_READ_BYTES: Final = 16_384
_SEE_OUT_SECONDS: Final = 1.0
_SEE_OUT_READS: Final = 16
_CLOSE: Final = ("Connection", "close")


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StreamedResponse(Response):
    """What goes back piece by piece, behind the body, until there are no more pieces or the client leaves.

    Attributes:
        pieces: makes them; it is closed in any case.
    """

    pieces: Callable[[], AsyncGenerator[bytes, None]] | None = None


def reason_of(response: Response) -> str:
    """What a refusal says in words; of a page for people, what its status means."""
    if response.content_type.startswith("text/html"):
        return HTTPStatus(response.status).phrase
    return response.body.decode()


async def send(stream: trio.abc.Stream, data: bytes, seconds: float) -> bool:
    """Send this; False if the client takes longer than that."""
    with trio.move_on_after(seconds) as patience:
        await stream.send_all(data)
    return not patience.cancelled_caught


async def send_pieces(
    stream: trio.abc.Stream,
    connection: h11.Connection,
    response: Response,
    pieces: Callable[[], AsyncGenerator[bytes, None]],
    seconds: float,
) -> bool:
    """Send a response in chunks, each within so many seconds; False if the client takes longer for one."""
    start = _start(response, [("Transfer-Encoding", "chunked")])
    parts = [connection.send(start), connection.send(h11.Data(data=response.body))]
    if not await send(stream, b"".join(part for part in parts if part), seconds):
        return False
    async with aclosing(pieces()) as following:
        async for piece in following:
            if not await send(stream, connection.send(h11.Data(data=piece)) or b"", seconds):
                return False
    return await send(stream, connection.send(h11.EndOfMessage()) or b"", seconds)


def _start(response: Response, framing: list[tuple[str, str]]) -> h11.Response:
    headers = [("Server", f"trio-relay/{__version__}"), *response.headers]
    if response.status != HTTPStatus.NO_CONTENT:  # which has neither (RFC 9110, section 8.6)
        headers += [("Content-Type", response.content_type), *framing]
    return h11.Response(status_code=response.status, headers=headers, reason=HTTPStatus(response.status).phrase)


def render(connection: h11.Connection, response: Response, head_only: bool = False) -> bytes:
    """The bytes of a whole response; of one to a HEAD, its head alone."""
    parts = [connection.send(_start(response, [("Content-Length", str(len(response.body)))]))]
    if not head_only:
        parts.append(connection.send(h11.Data(data=response.body)))
    parts.append(connection.send(h11.EndOfMessage()))
    return b"".join(part for part in parts if part)


async def refuse(stream: trio.abc.Stream, status: int, seconds: float, body: bytes = b"") -> None:
    """Say what was wrong with a request to which nothing has been said yet, and that nothing more comes.

    Args:
        stream: closed by the caller.
        status: of the answer.
        seconds: for the client to take it.
        body: of it, in words.
    """
    rendered = render(h11.Connection(h11.SERVER), Response(status, body, headers=[_CLOSE]))
    with trio.move_on_after(seconds) as patience:
        await stream.send_all(rendered)
    if not patience.cancelled_caught:
        await see_out(stream)


async def see_out(stream: trio.abc.Stream) -> None:
    """Say that nothing more comes, and for a moment pass over what the client still sends, without reading it.

    Closing with input unread makes the kernel reset the connection, and the client loses what it was told (RFC 9112,
    section 9.6).
    """
    if not isinstance(stream, trio.abc.HalfCloseableStream):
        return
    with trio.move_on_after(_SEE_OUT_SECONDS), suppress(trio.BrokenResourceError):
        await stream.send_eof()
        for _ in range(_SEE_OUT_READS):
            if not await stream.receive_some(_READ_BYTES):
                return
