"""Other relays, for tests of this relay as their client: one of ours, or one that says what the test has it say."""

from __future__ import annotations

import contextlib
import json
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from hashlib import sha1, sha256
from typing import Any, TypeAlias

import msgspec
import trio
import trio.testing
import trio_websocket

from tests.support.keys import NOW
from tests.support.server import Door, MemoryListener
from trio_relay.nostr import signer as signing
from trio_relay.peers import dialing, options, peer

NAME = "wss://relay.example/"
"""As which `named_relay.open_named` is known."""
ALICE_SIGNS = signing.Signer(sha256(b"alice").digest())
"""With the key of `keys.ALICE`."""

Script: TypeAlias = Callable[["Actor"], Awaitable[None]]


class Actor:
    """A relay's end of a connection, which says what a test has it say."""

    def __init__(self, connection: trio_websocket.WebSocketConnection, freeze: Callable[[], None]) -> None:
        self.connection = connection
        self.freeze = freeze
        """Answer nothing from now on, not even pings."""
        self.heard: list[list[Any]] = []

    async def say(self, *message: object) -> None:
        """Send one message."""
        await self.connection.send_message(msgspec.json.encode(message).decode())

    async def hear(self) -> list[Any]:
        """The next message."""
        message: list[Any] = json.loads(await self.connection.get_message())
        self.heard.append(message)
        return message

    async def listen(self) -> None:
        """Hear everything, and answer nothing."""
        while True:
            await self.hear()


def dial_door(door: Door) -> dialing.Dial:
    """Makes connections to a relay of ours."""

    async def dial(_url: dialing.RelayUrl) -> trio.abc.Stream:
        return await door.listener.connect()

    return dial


def peer_of(
    door: Door, *, signer: signing.Signer | None = None, settings: options.PeerOptions | None = None
) -> AbstractAsyncContextManager[peer.Peer]:
    """A relay of ours as another relay sees it."""
    return peer.open_peer(NAME, signer=signer, options=settings, clock=lambda: door.relay.now(), dial=dial_door(door))


@asynccontextmanager
async def acted(
    script: Script, *, signer: signing.Signer | None = None, settings: options.PeerOptions | None = None
) -> AsyncIterator[peer.Peer]:
    """A peer at whose other end this script runs, once for each connection; its end closes the connection."""
    async with streamed(_websocket(script), signer=signer, settings=settings) as one:
        yield one


def _websocket(script: Script) -> Callable[[trio.abc.Stream], Awaitable[None]]:
    async def serve(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery, trio.open_nursery() as library:
            request = await trio_websocket.wrap_server_stream(library, stream)
            nursery.start_soon(act, Actor(await request.accept(), library.cancel_scope.cancel))

    async def act(actor: Actor) -> None:
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            await script(actor)
        await actor.connection.aclose()

    return serve


async def shake(stream: trio.abc.Stream) -> None:
    """Answer the handshake of a client in bytes, so that anything can be sent after it."""
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += await stream.receive_some()
    key = re.search(rb"(?i)sec-websocket-key: (\S+)", request)
    assert key is not None
    accept = b64encode(sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    head = b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    await stream.send_all(head + accept + b"\r\n\r\n")


@asynccontextmanager
async def streamed(
    serve: Callable[[trio.abc.Stream], Awaitable[None]],
    *,
    signer: signing.Signer | None = None,
    settings: options.PeerOptions | None = None,
) -> AsyncIterator[peer.Peer]:
    """The same over bytes: what serves need not speak WebSocket."""
    listener = MemoryListener()

    async def dial(_url: dialing.RelayUrl) -> trio.abc.Stream:
        return await listener.connect()

    async def serve_one() -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await serve(await listener.accept())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_one)
        async with peer.open_peer(NAME, signer=signer, options=settings, clock=lambda: NOW, dial=dial) as one:
            yield one
        nursery.cancel_scope.cancel()
