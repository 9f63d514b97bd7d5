"""Mirrors as the program runs them: loaded once there are any, and by their tables in the configuration as it is now.

The tables are read again when somebody asks for that, by SIGHUP. What is wrong in the file changes nothing and is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

import structlog
import trio

from trio_relay.peers.mirror_options import MirrorOptions
from trio_relay.pipeline.relay import Relay
from trio_relay.store.base import Store

log = structlog.get_logger("trio_relay.app")

TakeMirrors: TypeAlias = Callable[[Sequence[MirrorOptions]], None]
"""Has the mirrors go by these options from now on; sync."""


class MirrorTables:
    """Reads the tables again when it is asked to.

    Args:
        read: reads the whole configuration, in a thread, and gives its mirrors; raises ValueError.
    """

    def __init__(self, read: Callable[[], Sequence[MirrorOptions]]) -> None:
        self._read = read
        self._asked = trio.Event()

    def ask(self) -> None:
        """Have the tables read again at once, and have it said what came of it."""
        self._asked.set()

    async def run(self, take: TakeMirrors) -> None:
        """Read them whenever somebody asks; for ever.

        Args:
            take: gets what they are then.
        """
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            try:
                options = await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)
            except ValueError as error:
                log.error("mirrors stay as they are", error=str(error))
            else:
                take(options)
                log.info("mirrors read again", mirrors=len(options))


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


@asynccontextmanager
async def rereading(tables: MirrorTables | None, take: TakeMirrors) -> AsyncIterator[Sequence[Callable[[], None]]]:
    """Have these tables read again, while the context lasts, by whoever calls what it gives."""
    if tables is None:
        yield ()
        return
    async with trio.open_nursery() as reading:
        reading.start_soon(tables.run, take)
        yield (tables.ask,)
        reading.cancel_scope.cancel(reason="the relay has stopped")
