"""Wires without a network: memory streams into the real doors, a client that nobody here wrote on their other end."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
import pytest
import trio
import trio.testing
import trio_websocket

from tests.support.keys import NOW
from trio_relay import (
    AdminApi,
    Endpoints,
    Event,
    Judges,
    Limits,
    MemoryStore,
    NetOptions,
    Relay,
    RelayOptions,
    Rules,
    Server,
    Site,
    Store,
    SyncOptions,
    WebOptions,
    open_relay,
    open_site,
)
from trio_relay.net import admin, clients, vitals
from trio_relay.net.listeners import PLAIN, Preamble
from trio_relay.net.tls import Tls
from trio_relay.scoreboard import Scoreboard

T = TypeVar("T")

Pair = Callable[[], tuple[trio.abc.Stream, trio.abc.Stream]]
"""Makes the two ends of a connection; `trio.testing.lockstep_stream_pair` makes one that buffers nothing."""


def socket_pair(buffer_bytes: int = 0) -> tuple[trio.abc.Stream, trio.abc.Stream]:
    """Both ends of a connection over sockets of the kernel, which hold about so many bytes, or what is usual."""
    near, far = socket.socketpair()
    if buffer_bytes:
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
    streams = [trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in (near, far)]
    return streams[0], streams[1]


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """A listener without sockets: `connect` gives the client's end of a new connection."""

    def __init__(self, preamble: Preamble = PLAIN) -> None:
        self.preamble = preamble
        self._arrivals_in, self._arrivals = trio.open_memory_channel[trio.abc.Stream](100)
        self.closed = False

    async def connect(self, pair: Pair = trio.testing.memory_stream_pair) -> trio.abc.Stream:
        near, far = pair()
        await self._arrivals_in.send(far)
        return near

    async def accept(self) -> trio.abc.Stream:
        return await self._arrivals.receive()

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


class Door:
    """A running relay with its door, for tests: `async with door.client() as client`."""

    def __init__(self, relay: Relay, server: Server, listener: MemoryListener, stop: trio.Event) -> None:
        self.relay = relay
        self.server = server
        self.listener = listener
        self.stop = stop

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Talker]:
        """A WebSocket client, by trio-websocket; its connection is dropped at the end."""
        async with trio.open_nursery() as nursery:
            stream = await self.listener.connect()
            connection = await trio_websocket.wrap_client_stream(
                nursery,
                stream,  # type: ignore[arg-type]  # any stream will do
                "memory",
                "/",
            )
            yield Talker(connection)
            nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(stream)


class Talker:
    """Speaks Nostr in Python values; each wait has a deadline of a minute, which is virtual where the clock is."""

    def __init__(self, connection: trio_websocket.WebSocketConnection) -> None:
        self.connection = connection

    async def send(self, *message: object) -> None:
        """Send one message, events as they are."""
        await self.send_text(msgspec.json.encode(message).decode())

    async def send_text(self, text: str) -> None:
        """Send any text."""
        await self.connection.send_message(text)

    async def receive(self) -> list[Any]:
        """The next message."""
        with trio.fail_after(60):
            message: list[Any] = json.loads(await self.connection.get_message())
            return message

    async def publish(self, event: Event) -> list[Any]:
        """Send an event, and give the next message: its OK, if nothing else is on its way."""
        await self.send("EVENT", event)
        return await self.receive()

    async def ask(self, sub_id: str, *filters: dict[str, Any]) -> list[Any]:
        """Send a REQ, and give its events up to EOSE."""
        await self.send("REQ", sub_id, *filters)
        found = []
        while (message := await self.receive())[0] != "EOSE":
            assert message[:2] == ["EVENT", sub_id], message
            found.append(message[2])
        return found

    async def count(self, sub_id: str, *filters: dict[str, Any]) -> int:
        """Send a COUNT, and give its answer, if nothing else is on its way."""
        await self.send("COUNT", sub_id, *filters)
        answer = await self.receive()
        assert answer[:2] == ["COUNT", sub_id], answer
        assert answer[2].keys() == {"count"}
        number: int = answer[2]["count"]
        return number

    async def expect_silence(self) -> None:
        """Nothing more was sent, and the connection still answers; only where nothing but the clock makes events."""
        await trio.testing.wait_all_tasks_blocked()
        assert await self.ask("silence", {"limit": 0}) == []
        await self.send("CLOSE", "silence")
        await trio.testing.wait_all_tasks_blocked()


def plain(event: Event) -> dict[str, Any]:
    """An event as a client reads it."""
    value: dict[str, Any] = msgspec.to_builtins(event)
    return value


@asynccontextmanager
async def open_door(
    store: Store | None = None,
    rules: Rules | None = None,
    *,
    limits: Limits | None = None,
    sync: SyncOptions | None = None,
    options: RelayOptions | None = None,
    net: NetOptions | None = None,
    has_search: bool = True,
    clock: Callable[[], float] = lambda: NOW,
    scoreboard: Scoreboard | None = None,
    preamble: Preamble = PLAIN,
    tls: Tls | None = None,
    judges: Judges | None = None,
    web: WebOptions | None = None,
    back_up: admin.sight.BackUpNow | None = None,
) -> AsyncIterator[Door]:
    """A whole relay on a memory listener; leaving stops it as the first signal does.

    Args:
        store: an empty one in memory unless another is given.
        rules: those of a relay without a name, with `limits` and search or not, unless others are given.
        clock: its time of day, seconds since 1970.
        scoreboard: makes it one of several workers.
        preamble: what connections to it begin with.
        tls: what it speaks TLS by.
        judges: plugins and hooks, if any.
        web: what browsers are shown; None: a line of text, and nobody keeps how it did.
        back_up: makes backups, if anything does.
    """
    judges = judges or Judges()
    store, rules = store or MemoryStore(), rules or Rules(limits or Limits(), has_search=has_search)
    async with open_relay(
        store, options, rules=rules, sync=sync, clock=clock, scoreboard=scoreboard, judges=judges
    ) as relay:
        table = clients.Clients(relay.now)

        async def look() -> vitals.Look:
            return vitals.look_at(clock(), relay.statistics(), server.statistics(), 0.0, 0)

        kept = vitals.Vitals(look, relay.count_stored)
        api = AdminApi(relay, admin.sight.OwnSight(relay, table, None if web is None else kept, back_up))
        site = None if web is None else await open_site(relay, web, api, kept)
        server = served(relay, net, scoreboard, tls, site, api, table)
        listener, stop = MemoryListener(preamble), trio.Event()
        async with trio.open_nursery() as looking:
            if site is not None:
                looking.start_soon(kept.run)
            async with trio.open_nursery() as nursery:
                await nursery.start(server.serve, [listener], stop)
                yield Door(relay, server, listener, stop)
                stop.set()
            looking.cancel_scope.cancel()


def served(
    relay: Relay,
    net: NetOptions | None = None,
    scoreboard: Scoreboard | None = None,
    tls: Tls | None = None,
    site: Site | None = None,
    api: AdminApi | None = None,
    table: clients.Clients | None = None,
) -> Server:
    """One more way to a relay."""
    net = net or NetOptions()
    urls, judge = (*relay.rules.names, *net.paths), relay.judges.connections
    table = table or clients.Clients(relay.now)
    management = api or AdminApi(relay, admin.sight.OwnSight(relay, table))
    front = Endpoints(relay.document, relay.check, "hello\n", management, urls, relay.degraded, judge, site)
    return Server(relay, front, net, scoreboard=scoreboard, tls=tls, clients=table)


def run_threads_inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let work for threads run in the loop: a virtual clock cannot see that a thread is busy, and would jump on."""

    async def run_sync(work: Callable[..., T], *args: object, **_options: object) -> T:
        await trio.lowlevel.checkpoint()
        return work(*args)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
