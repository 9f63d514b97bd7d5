"""Mirrors as the program runs them: loaded once there are any, and by their tables as they are at the moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

import trio

from trio_relay.peers.mirror_options import MirrorOptions
from trio_relay.pipeline.relay import Relay
from trio_relay.store.base import Store

TakeMirrors: TypeAlias = Callable[[Sequence[MirrorOptions]], None]
"""Has the mirrors go by these options from now on; sync."""


@asynccontextmanager
async def open_mirrors(
    relay: Relay, store: Store, options: Sequence[MirrorOptions], stop: trio.Event
) -> AsyncIterator[TakeMirrors]:
    """Keep links to other relays while the context lasts, and until the relay is to stop.

    Args:
        relay: this one; its pipeline has to outlast the context.
        store: its own.
        options: of each mirror, checked.
        stop: set once the relay is to stop: then the links end, before its clients are seen off.

    Returns:
        What has them go by other options.
    """
    wanted, changed = options, trio.Event()

    def take(options: Sequence[MirrorOptions]) -> None:
        nonlocal wanted
        if tuple(options) != tuple(wanted):
            wanted = options
            changed.set()

    async def run() -> None:
        nonlocal changed
        while not wanted:
            await changed.wait()
            changed = trio.Event()
        from trio_relay.peers.mirrors import mirroring  # most relays have none, and need no WebSocket client

        async with mirroring(relay, store, wanted, stop) as mirrors:
            while True:
                await changed.wait()
                changed = trio.Event()
                mirrors.take(wanted)

    async with trio.open_nursery() as running:
        running.start_soon(run)
        yield take
        running.cancel_scope.cancel(reason="the relay has stopped")
