"""Relays in memory that mirror each other, and others that say what a test has them say; some may be away."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import trio
import trio.testing
import trio_websocket

from tests.support.keys import NOW
from tests.support.other_relays import Actor, Script
from tests.support.server import Door, MemoryListener, open_door
from trio_relay import Event, MemoryStore, Store
from trio_relay.nostr import signer
from trio_relay.peers import dialing, mirror_options, mirrors, options, peer


def now() -> float:
    """The time of day of all relays, by a virtual clock: `NOW` when the test began."""
    return NOW + trio.current_time()


class Neighbourhood:
    """Knows where each name leads."""

    def __init__(self) -> None:
        self.doors: dict[str, Door] = {}
        self.stores: dict[Door, Store] = {}
        self.scripts: dict[str, Script] = {}
        self.away: set[str] = set()
        """Names that nobody can connect to now."""
        self.broken: set[str] = set()
        """Names on which this relay itself fails."""
        self.tries: list[tuple[str, float]] = []
        """Whom somebody tried to connect to, and when, by Trio's clock."""
        self.signers: list[signer.Signer | None] = []
        self._streams: dict[str, list[trio.abc.Stream]] = {}
        self._nursery: trio.Nursery

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Neighbourhood]:
        """Let those who act by a script act while the context lasts; a lone failure comes out of all nurseries bare."""
        try:
            async with trio.open_nursery() as self._nursery:
                yield self
                self._nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            found: BaseException = group
            while isinstance(found, BaseExceptionGroup) and len(found.exceptions) == 1:
                found = found.exceptions[0]
            raise found from None

    @asynccontextmanager
    async def relay(self, name: str, store: Store | None = None, **parts: Any) -> AsyncIterator[Door]:
        """A relay of ours of this name, over an empty store unless another is given; `parts`: see `open_door`."""
        store = store or MemoryStore()
        async with open_door(store, clock=now, **parts) as door:
            self.doors[name], self.stores[door] = door, store
            yield door

    def connect(
        self, url: str, *, signer: signer.Signer | None, options: options.PeerOptions
    ) -> AbstractAsyncContextManager[peer.Peer]:
        """What mirrors connect by."""
        self.signers.append(signer)
        return peer.open_peer(url, signer=signer, options=options, clock=now, dial=self._dial)

    async def _dial(self, url: dialing.RelayUrl) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.tries.append((url.host, trio.current_time()))
        if url.host in self.broken:
            raise RuntimeError("a fault of ours")
        if url.host in self.away:
            raise OSError("away")
        stream = await self._reach(url.host)
        self._streams.setdefault(url.host, []).append(stream)
        return stream

    async def _reach(self, name: str) -> trio.abc.Stream:
        if name in self.doors:
            return await self.doors[name].listener.connect()
        listener = MemoryListener()
        self._nursery.start_soon(_act, listener, self.scripts[name])
        return await listener.connect()

    async def cut(self, name: str) -> None:
        """Break all connections to this one."""
        for stream in self._streams.pop(name, []):
            await trio.aclose_forcefully(stream)

    def mirroring(
        self,
        door: Door,
        *tables: mirror_options.MirrorOptions,
        stop: trio.Event | None = None,
    ) -> AbstractAsyncContextManager[mirrors.Mirrors]:
        """Mirrors of this relay; chance always takes the longest wait."""
        return mirrors.mirroring(
            door.relay,
            self.stores[door],
            tables,
            trio.Event() if stop is None else stop,
            connect=self.connect,
            chance=lambda: 1.0,
        )


@asynccontextmanager
async def two(**parts: Any) -> AsyncIterator[tuple[Neighbourhood, Door, Door]]:
    """Two relays of ours, called here and there; `parts`: see `open_door`."""
    async with (
        Neighbourhood().open() as near,
        near.relay("here", **parts) as here,
        near.relay("there", **parts) as there,
    ):
        yield near, here, there


async def _act(listener: MemoryListener, script: Script) -> None:
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async with trio.open_nursery() as library:
            request = await trio_websocket.wrap_server_stream(library, await listener.accept())
            actor = Actor(await request.accept(), library.cancel_scope.cancel)
            with contextlib.suppress(trio_websocket.ConnectionClosed):
                await script(actor)
            await actor.connection.aclose()


def table(name: str, direction: Any = "down", **more: Any) -> mirror_options.MirrorOptions:
    """A table [[mirror]] for the relay of this name."""
    return mirror_options.MirrorOptions(url=f"ws://{name}/", direction=direction, **more)


async def stored(door: Door) -> set[str]:
    """The ids of all that a relay has."""
    return {json[7:71].decode() async for page in door.relay.stored() for json in page}


async def publish(door: Door, *events: Event) -> None:
    """Have a client publish these, each answered before the next."""
    async with door.client() as client:
        for one in events:
            assert (await client.publish(one))[2:] == [True, ""], one


async def until(is_so: Callable[[], bool] | Callable[[], Awaitable[bool]], seconds: float = 120.0) -> None:
    """Wait until something is so, with looks a tenth of a second apart; time is virtual."""
    with trio.fail_after(seconds):
        while True:
            found = is_so()
            if found if isinstance(found, bool) else await found:
                return
            await trio.sleep(0.1)


def outcomes(found: mirrors.Mirrors) -> dict[str, int]:
    """What came of the events of its only link, without what never came about."""
    (one,) = found.statistics().values()
    return {name: number for name, number in one.outcomes.items() if number}


def state(found: mirrors.Mirrors) -> str | None:
    """Of its only link."""
    (one,) = found.statistics().values()
    return one.state
