"""One mirror over time: connect, compare, stay; and begin anew whenever it fails, after a wait that grows.

Nothing that another relay does comes out of here: it is a reason why the link was lost, and that is logged once until
the link is live again, however often it is tried.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import structlog
import trio

from trio_relay.nostr.signer import Signer
from trio_relay.nostr.urls import bare_url
from trio_relay.peers.authentication import read_signer
from trio_relay.peers.catching_up import catch_up
from trio_relay.peers.echoes import RecentIds
from trio_relay.peers.mirror_options import MirrorOptions
from trio_relay.peers.mirrored import MirroredEvents
from trio_relay.peers.options import PeerOptions
from trio_relay.peers.outcomes import LinkTally
from trio_relay.peers.peer import Peer
from trio_relay.peers.retrying import Backoff
from trio_relay.peers.standing import StandingLink
from trio_relay.peers.waiting import PeerLost
from trio_relay.pipeline.relay import Relay
from trio_relay.pipeline.statistics import MirrorStatistics
from trio_relay.store.base import Store

log = structlog.get_logger("trio_relay.peers")

_STUCK_SECONDS: Final = 3_600
"""After so long without an event that one side lacked, a comparison has come to nothing: millions take minutes."""


class Connect(Protocol):
    """Connects to another relay, see `peer.open_peer`."""

    def __call__(
        self, url: str, *, signer: Signer | None, options: PeerOptions
    ) -> AbstractAsyncContextManager[Peer]: ...


class MirrorLink:
    """One mirror.

    Args:
        relay: this one.
        store: its own.
        options: of the mirror, checked.
        connect: opens a connection.
        passing: ephemeral events that any link has brought lately.
        chance: gives a number from 0 to below 1, for waits.
    """

    def __init__(
        self,
        relay: Relay,
        store: Store,
        options: MirrorOptions,
        connect: Connect,
        passing: RecentIds,
        chance: Callable[[], float],
    ) -> None:
        self.options = options
        self.label = bare_url(options.url)
        """What it is called: what may be shown of the URL."""
        self.scope = trio.CancelScope()
        """Ends it."""
        self._relay = relay
        self._store = store
        self._connect = connect
        self._passing = passing
        self._events = MirroredEvents(options, relay.rules.private_kinds)
        self._tally = LinkTally(relay.now)
        self._tries = Backoff(options.retry_seconds, chance)
        self._comparisons = Backoff(options.retry_seconds, chance)
        self._log = log.bind(mirror=self.label, direction=options.direction)
        self._standing: StandingLink | None = None
        self._state, self._since = "connecting", relay.now()
        self._fault: str | None = None
        self._out_since: int | None = relay.now()
        """When it was live last, or began; None while it is live."""
        self._is_told = False
        """True once it was logged that it is away."""
        self._catch_ups = self._retries = 0

    async def run(self) -> None:
        """Keep the link up until `scope` is cancelled."""
        with self.scope:
            while True:
                began, before = trio.current_time(), self._gains
                try:
                    fault = await self._stand()
                except Exception as error:  # a fault of ours, which must end neither the relay nor other links
                    self._log.exception("mirror failed")
                    fault = f"{type(error).__name__}: {error}"
                self._lose(fault)
                stood = trio.current_time() - began if self._gains > before else 0.0
                await trio.sleep(self._tries.wait(stood))
                self._retries += 1

    @property
    def _gains(self) -> int:
        """How much it was good for so far: a link that stood, and brought nothing to an end, was not."""
        return self._catch_ups + self._tally.moved

    async def _stand(self) -> str:
        """Connect, and stay connected; returns why that is over."""
        options = PeerOptions(
            idle_seconds=self.options.silence_seconds / 2,
            max_message_bytes=max(PeerOptions().max_message_bytes, self._relay.limits.max_message_length),
        )
        try:
            signer = await self._signer()
            async with self._connect(self.options.url, signer=signer, options=options) as peer:
                return await self._serve(peer)
        except (PeerLost, ValueError) as error:  # the latter of a key file
            return str(error)

    async def _signer(self) -> Signer | None:
        if not self.options.key_file:
            return None
        return await trio.to_thread.run_sync(read_signer, Path(self.options.key_file), abandon_on_cancel=True)

    async def _serve(self, peer: Peer) -> str:
        standing = StandingLink(self._relay, self._store, peer, self.options, self._events, self._passing, self._tally)
        self._standing = standing
        try:
            fault = await standing.serve(partial(self._stay_even, standing))
            return f"{fault} (it said: {peer.remarks[-1]})" if peer.remarks else fault
        finally:
            self._standing = None

    async def _stay_even(self, standing: StandingLink) -> None:
        """Compare both relays, and do so again whenever something was left for later."""
        while True:
            self._turn("catching up")
            before = self._tally.outcomes.copy()
            await catch_up(standing.ends())
            await standing.settled()
            self._be_live(self._tally.outcomes - before)
            began = trio.current_time()
            await standing.is_behind.wait()
            await trio.sleep(self._comparisons.wait(trio.current_time() - began))

    def _turn(self, state: str) -> None:
        self._state, self._since = state, self._relay.now()

    def _be_live(self, moved: dict[str, int]) -> None:
        if self._out_since is not None:
            self._log.info("mirror is live", taken=moved.get("taken", 0), given=moved.get("given", 0))
        self._out_since, self._is_told = None, False
        self._catch_ups += 1
        self._turn("live")

    def _lose(self, fault: str) -> None:
        self._turn("away")
        self._fault = fault
        if self._out_since is None:
            self._out_since = self._relay.now()
        if not self._is_told:
            self._is_told = True
            self._log.warning("mirror is away", reason=fault, hint="it is tried again until it is there")

    def _stuck_since(self) -> int | None:
        """Since when nothing has come of the comparison that goes on, if that is long ago."""
        since = max(self._since if self._out_since is None else self._out_since, self._tally.moved_at)
        return since if self._relay.now() - since >= _STUCK_SECONDS else None

    def statistics(self) -> MirrorStatistics:
        """How it is."""
        return MirrorStatistics(
            self._state,
            self._since,
            self._fault,
            dict(self._tally.outcomes),
            self._catch_ups,
            self._retries,
            0 if self._standing is None else self._standing.waiting,
            self._stuck_since() if self._state == "catching up" else self._out_since,
        )
