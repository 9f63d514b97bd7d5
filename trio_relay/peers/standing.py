"""A mirror while its connection stands: what comes goes into the pipeline, what is stored here goes out.

What comes live is subscribed on both sides before the sets are compared, so that nothing falls between the two. All of
it goes on in one nursery, which ends with the first thing that goes wrong.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from trio_relay.nostr.errors import Rejected
from trio_relay.nostr.event import Event, decode
from trio_relay.peers.catching_up import LinkEnds
from trio_relay.peers.echoes import Echoes, RecentIds
from trio_relay.peers.feeding import MirrorFeed
from trio_relay.peers.intake import MirrorIntake
from trio_relay.peers.messages import Ending
from trio_relay.peers.mirror_options import MirrorOptions
from trio_relay.peers.mirrored import MirroredEvents
from trio_relay.peers.outcomes import LinkTally
from trio_relay.peers.peer import Peer
from trio_relay.peers.rising import RisingEvents
from trio_relay.peers.waiting import PeerLost, PeerRefused
from trio_relay.pipeline.relay import Relay
from trio_relay.store.base import Store, StoreError

_SETTLING_SECONDS: Final = 10.0
"""How long what a lost link has brought may take to be answered before the link is tried again."""


class StandingLink:
    """What goes on over one connection.

    Args:
        relay: this one.
        store: its own.
        peer: the other relay.
        options: of the mirror.
        events: of the mirror.
        passing: ephemeral events that any link has brought lately.
        tally: counts what becomes of events.
    """

    def __init__(
        self,
        relay: Relay,
        store: Store,
        peer: Peer,
        options: MirrorOptions,
        events: MirroredEvents,
        passing: RecentIds,
        tally: LinkTally,
    ) -> None:
        self.is_behind = trio.Event()
        """Set once something was left for the next comparison."""
        self._relay = relay
        self._store = store
        self._peer = peer
        self._options = options
        self._events = events
        self._tally = tally
        self._follows = trio.Event()
        """Set once what comes there live is on its way here."""
        self._over = trio.Event()
        self._fault = ""
        echoes = Echoes()
        self._takes, goes = options.direction != "up", options.direction != "down"
        self._taken = MirrorIntake(relay, events, echoes, passing, tally, self._put_off, self._fail)
        self._rising = RisingEvents(events, echoes, tally, lingers=self._takes) if goes else None
        self._given = MirrorFeed(peer, events, echoes, tally, relay.now, self._put_off, self._fail) if goes else None

    @property
    def waiting(self) -> int:
        """Events that are still to be given."""
        return 0 if self._rising is None else len(self._rising)

    def ends(self) -> LinkEnds:
        """Both ends, for a comparison that begins now; what is left for the next one from here on makes `is_behind`."""
        self.is_behind = trio.Event()
        seconds = self._options.catch_up_seconds
        since = self._relay.now() - seconds if seconds else None
        return LinkEnds(self._store, self._peer, self._events, since, self._taken, self._takes, self._given)

    async def settled(self) -> None:
        """Wait until all that has been taken and given is answered."""
        await self._taken.settle()
        if self._given is not None:
            await self._given.settled()

    async def serve(self, compare: Callable[[], Awaitable[None]]) -> str:
        """Let live events pass in both directions, and compare beside that, until something goes wrong.

        Args:
            compare: begins once live events pass; for ever.

        Returns:
            What went wrong, for the operator.
        """
        rising = self._rising
        if rising is not None and (refusal := self._relay.subscribe(rising.subscription)) is not None:
            return str(refusal)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch)
                if self._given is not None:
                    nursery.start_soon(self._given.run)
                    nursery.start_soon(self._guarded, self._feed)
                if self._takes:
                    nursery.start_soon(self._guarded, self._follow)
                else:
                    self._follows.set()
                nursery.start_soon(self._guarded, partial(self._compare, compare))
                await self._over.wait()
                nursery.cancel_scope.cancel(reason="the link is lost")
            with trio.move_on_after(_SETTLING_SECONDS):  # what this connection has brought, the next must not give back
                await self._taken.settle()
        finally:
            if rising is not None:
                self._relay.unsubscribe(rising.subscription)
        return self._fault

    async def _watch(self) -> None:
        self._fail(str(await self._peer.until_lost()))

    async def _follow(self) -> None:
        # One stored event of each filter, since some relays take a limit of 0 for none; older live ones are wanted.
        wanted = [{**filter_, "limit": 1} for filter_ in self._events.sources]
        async with self._peer.subscribe(wanted) as subscription:
            self._follows.set()
            async for heard in subscription:
                if isinstance(heard, Event):
                    await self._taken.take(heard)
                elif isinstance(heard, Ending):
                    raise PeerLost(f"it closed the subscription: {heard.reason or 'it gave no reason'}")

    async def _compare(self, compare: Callable[[], Awaitable[None]]) -> None:
        await self._follows.wait()
        await compare()

    async def _feed(self) -> None:
        rising, given = self._rising, self._given
        while rising is not None and given is not None:
            event = await rising.next()
            if event is None:
                self._put_off()
            else:
                await given.give(decode(event))

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do what ends the link if another relay has it fail, or this one's store."""
        try:
            await work()
        except (PeerLost, PeerRefused, Rejected, StoreError) as error:
            self._fail(str(error))

    def _put_off(self) -> None:
        self.is_behind.set()

    def _fail(self, reason: str) -> None:
        if not self._over.is_set():
            self._fault = reason
            self._over.set()
