"""A server of HTTP on a socket of this machine, that does as a test says."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import h11
import trio


@dataclass(frozen=True, slots=True)
class Heard:
    """One request as it came over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Answering: TypeAlias = Callable[[Heard], Awaitable[bytes]]
"""Gives the JSON of the answer."""


@dataclass(slots=True)
class HttpServer:
    """Where it is, what it heard, and how many connections to it are open."""

    url: str
    heard: list[Heard] = field(default_factory=list)
    connections: int = 0
    more: trio.Event = field(default_factory=trio.Event)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something of this is so."""
        while not condition():
            await self.more.wait()

    def tell(self) -> None:
        """Something has changed."""
        self.more.set()
        self.more = trio.Event()


@asynccontextmanager
async def serving(answer: Answering, tls: ssl.SSLContext | None = None) -> AsyncIterator[HttpServer]:
    """A server while the context lasts."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        server = HttpServer(f"{'https' if tls else 'http'}://localhost:{port}")
        nursery.start_soon(partial(trio.serve_listeners, partial(_serve, server, answer, tls), [listener]))
        yield server
        nursery.cancel_scope.cancel()


async def _serve(server: HttpServer, answer: Answering, tls: ssl.SSLContext | None, stream: trio.SocketStream) -> None:
    server.connections += 1
    try:
        wire: trio.abc.Stream = stream
        if tls is not None:
            wire = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        await _converse(server, answer, wire)
    except (trio.BrokenResourceError, h11.RemoteProtocolError):
        pass  # the client has gone
    finally:
        server.connections -= 1
        server.tell()
        await trio.aclose_forcefully(stream)


async def _converse(server: HttpServer, answer: Answering, wire: trio.abc.Stream) -> None:
    state = h11.Connection(h11.SERVER)
    while (heard := await _request(state, wire)) is not None:
        server.heard.append(heard)
        server.tell()
        body = await answer(heard)
        headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
        for event in (h11.Response(status_code=200, headers=headers), h11.Data(body), h11.EndOfMessage()):
            await wire.send_all(state.send(event) or b"")
        state.start_next_cycle()


async def _request(state: h11.Connection, wire: trio.abc.Stream) -> Heard | None:
    """The next request; None once the client has gone."""
    request, body = None, b""
    while True:
        match event := state.next_event():
            case h11.NEED_DATA:
                state.receive_data(bytes(await wire.receive_some()))
            case h11.Request():
                request = event
            case h11.Data():
                body += event.data
            case h11.EndOfMessage():
                assert request is not None
                headers = {name.decode(): value.decode() for name, value in request.headers}
                return Heard(request.method.decode(), request.target.decode(), headers, body)
            case _:
                return None
