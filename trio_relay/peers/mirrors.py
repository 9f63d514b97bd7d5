"""All mirrors of a relay: a task for each, in a nursery that ends before the relay does, and changes while it runs."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import structlog
import trio

from trio_relay.peers.echoes import RecentIds
from trio_relay.peers.mirror_link import Connect, MirrorLink
from trio_relay.peers.mirror_options import MirrorOptions
from trio_relay.peers.peer import open_peer
from trio_relay.pipeline.relay import Relay
from trio_relay.pipeline.statistics import MirrorStatistics, longest_away
from trio_relay.store.base import Store

log = structlog.get_logger("trio_relay.peers")


class Mirrors:
    """Follows and feeds other relays; from `mirroring`.

    Args:
        relay: this one.
        store: its own.
        nursery: has the links.
        connect: opens a connection.
        chance: gives a number from 0 to below 1, for waits.
    """

    def __init__(
        self,
        relay: Relay,
        store: Store,
        nursery: trio.Nursery,
        connect: Connect,
        chance: Callable[[], float],
    ) -> None:
        self._relay = relay
        self._store = store
        self._nursery = nursery
        self._connect = connect
        self._chance = chance
        self._passing = RecentIds()
        self._links: list[MirrorLink] = []
        self._is_stopping = False

    def take(self, wanted: Sequence[MirrorOptions]) -> None:
        """Go by these options from now on: links that they have go on as they are, others end or begin; sync.

        Args:
            wanted: checked; no two of the same relay in the same direction.
        """
        if self._is_stopping:
            return
        kept = [link for link in self._links if link.options in wanted]
        for link in self._links:
            if link not in kept:
                link.scope.cancel(reason="it is configured no more")
        there = [link.options for link in kept]
        begun = [self._begin(options) for options in wanted if options not in there]
        if self._links:
            log.info("mirrors changed", kept=len(kept), ended=len(self._links) - len(kept), begun=len(begun))
        self._links = sorted([*kept, *begun], key=lambda link: wanted.index(link.options))

    def _begin(self, options: MirrorOptions) -> MirrorLink:
        link = MirrorLink(self._relay, self._store, options, self._connect, self._passing, self._chance)
        self._nursery.start_soon(link.run)
        return link

    def stop(self) -> None:
        """End all links, and begin none."""
        self._is_stopping = True
        for link in self._links:
            link.scope.cancel(reason="the relay stops")

    def statistics(self) -> dict[tuple[str, str], MirrorStatistics]:
        """How each link is, by the other relay's bare URL and the direction."""
        return {(link.label, link.options.direction): link.statistics() for link in self._links}

    def degraded(self) -> str | None:
        """Which relay is away for the longest time, if any is for a minute."""
        return longest_away(self.statistics(), self._relay.now())


@asynccontextmanager
async def mirroring(
    relay: Relay,
    store: Store,
    options: Sequence[MirrorOptions],
    stop: trio.Event,
    *,
    connect: Connect = open_peer,
    chance: Callable[[], float] = random.random,
) -> AsyncIterator[Mirrors]:
    """Keep links to other relays while the context lasts, and until the relay is to stop.

    Args:
        relay: this one; its pipeline has to outlast the context.
        store: its own.
        options: of each mirror, checked.
        stop: set once the relay is to stop: then the links end, before its clients are seen off.
        connect: opens a connection.
        chance: gives a number from 0 to below 1, for waits.
    """
    async with trio.open_nursery() as watching:
        async with trio.open_nursery() as nursery:
            mirrors = relay.neighbours = Mirrors(relay, store, nursery, connect, chance)
            watching.start_soon(_stop_with, stop, mirrors)
            mirrors.take(options)
            try:
                yield mirrors
            finally:
                relay.neighbours = None
                mirrors.stop()
        watching.cancel_scope.cancel()


async def _stop_with(stop: trio.Event, mirrors: Mirrors) -> None:
    await stop.wait()
    mirrors.stop()
