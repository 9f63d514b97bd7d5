"""The start and the end of a relay: its stages run while a context lasts, and then let through what was accepted."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
import trio

from trio_relay.moderation.followed import Owner
from trio_relay.nostr.limits import Limits
from trio_relay.pipeline.options import RelayOptions, SyncOptions
from trio_relay.pipeline.relay import Relay
from trio_relay.plugins.judges import NO_JUDGES, Judges
from trio_relay.policy.rules import Rules
from trio_relay.scoreboard import Scoreboard
from trio_relay.store.base import Store

log = structlog.get_logger("trio_relay.pipeline")


@asynccontextmanager
async def open_relay(
    store: Store,
    options: RelayOptions | None = None,
    limits: Limits | None = None,
    *,
    rules: Rules | None = None,
    sync: SyncOptions | None = None,
    clock: Callable[[], float] = time.time,
    scoreboard: Scoreboard | None = None,
    owner: Owner | None = None,
    judges: Judges = NO_JUDGES,
) -> AsyncIterator[Relay]:
    """Run the pipeline over a store while the context lasts.

    Leaving it lets what was accepted go through all stages, `drain_seconds` at most. A stage that fails cancels the
    body and comes out of here in an `ExceptionGroup`.

    Args:
        store: must stay open for longer than this context.
        options: how wide the pipeline is.
        limits: what events and requests are held to.
        rules: that, and all else that is asked of them; then `limits` plays no part.
        sync: bounds of syncs; `rules` say whether there are any.
        clock: seconds since 1970.
        scoreboard: of the workers that are one relay with this process; None: it is alone.
        owner: another process, which decides what operators do here; None: this one does.
        judges: plugins and hooks, from `open_judges`; must stay open for longer than this context.

    Raises:
        ImportError: the signature backend that the options force is not there.
        StoreError: what operators have decided could not be read.
    """
    options = options or RelayOptions()
    relay = Relay(
        store, options, sync or SyncOptions(), rules or Rules(limits or Limits()), clock, scoreboard, owner, judges
    )
    await relay.moderation.state.recall()
    async with trio.open_nursery() as background:
        relay.start_background(background)
        async with trio.open_nursery() as stages:
            relay.stages.start(stages)
            try:
                yield relay
            finally:
                relay.close_intake()
                stages.cancel_scope.deadline = trio.current_time() + relay.drain_seconds
        background.cancel_scope.cancel()
    if stages.cancel_scope.cancelled_caught:
        log.warning("stopped before all that was accepted was stored", seconds=relay.drain_seconds)
